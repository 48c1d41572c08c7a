"""What a comparison says, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boxwright.compare.results.forest import signed
from boxwright.compare.results.results import Comparison
from boxwright.compare.results.statistics import ONE_SEED
from boxwright.report.markup import Markup, text


def answer(comparison: Comparison) -> Markup:
    """Which arm to take and why, in a sentence or two."""
    baseline, found = comparison.baseline.name, comparison.differences
    if not found:
        return Markup(f"Nothing can be said: no arm has runs to compare with those of <b>{text(baseline)}</b>.")
    level = 100 * next(iter(found.values())).level
    better = [name for name, each in found.items() if each.verdict == "better"]
    worse = [name for name, each in found.items() if each.verdict == "worse"]
    one_seed = any(each.seeds == 1 for each in found.values())
    parts: list[str] = [ONE_SEED] if one_seed else []
    if better:
        first = max(better, key=lambda name: found[name].mean)
        best = found[first]
        parts.append(
            f"Take <b>{text(first)}</b>: its AP is <b>{best.mean:.3f}</b> above that of {text(baseline)} "
            f"({level:g} % interval {signed(best.low)} to {signed(best.high)})."
        )
        if len(better) > 1:
            rest = [name for name in better if name != first]
            parts.append(f"{_listed(rest)} {_is(rest)} better too; which of them is best wasn't tested.")
    else:
        parts.append(f"No arm is detectably better than <b>{text(baseline)}</b>, so stay with it.")
        if not one_seed:
            reach = max(each.high - each.mean for each in found.values())
            most = max(0.0, *(each.high for each in found.values()))
            parts.append(
                f"A gain shows here from about {reach:.3f} of AP on; a true one above {most:.3f} is ruled out "
                f"({level:g} % intervals)."
            )
    if worse:
        parts.append(f"{_listed(worse)} {_is(worse)} worse.")
    return Markup(" ".join(parts))


def _listed(names: Sequence[str]) -> str:
    *most, last = (text(name) for name in names)
    return f"{', '.join(most)} and {last}" if most else last


def _is(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def what_moved(arm: str, better: bool, lost: Mapping[str, float], baseline: Mapping[str, float]) -> str:
    """Which kind of error changed most in the direction of an arm's verdict; nothing where none did."""
    changes = {kind: lost[kind] - baseline[kind] for kind in lost}
    moved = {kind: change for kind, change in changes.items() if (change < 0) == better and abs(change) >= 5e-4}
    if not moved:
        return ""
    kind = max(moved, key=lambda name: abs(moved[name]))
    way = ("gains", "fell") if better else ("loses", "rose")
    return (
        f"<b>{text(arm)}</b> {way[0]} most where {text(kind)} errors {way[1]}: "
        f"they cost {lost[kind]:.3f} of AP50 instead of {baseline[kind]:.3f}."
    )

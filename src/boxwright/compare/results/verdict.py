"""A comparison in words: which arm to use, and what each of the others has shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boxwright.compare.results.results import Comparison
    from boxwright.compare.results.statistics import Difference

WORTH_KNOWING = 0.02
"""An arm whose interval allows a larger gain of AP than this is not tested enough."""


@dataclass(frozen=True)
class Finding:
    """Result of one or several arms."""

    arms: Sequence[str]
    words: str

    def __str__(self) -> str:
        return f"{', '.join(self.arms)}: {self.words}"


@dataclass(frozen=True)
class Headline:
    """The answer of a comparison."""

    advice: str
    """Which arm to use."""
    findings: Sequence[Finding]
    """Every arm except the baseline is in one of them."""

    @property
    def lines(self) -> list[str]:
        """Return the advice, then one line per finding."""
        return [self.advice, *map(str, self.findings)]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def headline(comparison: Comparison) -> Headline:
    """Put a comparison into words: which arm to use, and what each arm has shown.

    For an arm that is not detectably better, gains above its interval are ruled out; if that limit is more than
    ``WORTH_KNOWING``, it is not tested enough.
    """
    if not comparison.of_arm(comparison.baseline.name):
        return Headline(f"Nothing can be said: no run of the baseline, {comparison.baseline.name}, has a result.", ())
    return Headline(_advice(comparison), tuple(_findings(comparison)))


def _advice(comparison: Comparison) -> str:
    baseline, found = comparison.baseline.name, comparison.differences
    better = sorted(_with_verdict(found, "better"), key=lambda name: -found[name].mean)
    if comparison.facts.get("tier") == "frozen":
        if better:
            return f"With the backbone frozen, {better[0]} is the best: try it in the full tier."
        return f"With the backbone frozen, no arm is shown to be better than {baseline}: full training may differ."
    if not better:
        return f"Stay with {baseline}: no arm is shown to be better."
    if len(better) == 1:
        return f"Take {better[0]}."
    return f"Take {better[0]}: its gain is the largest. Which of the better arms is best wasn't tested."


def _findings(comparison: Comparison) -> Iterator[Finding]:
    """Describe what each arm has shown, the best first; arms with the same result are together."""
    found = comparison.differences
    for name in sorted(_with_verdict(found, "better"), key=lambda name: -found[name].mean):
        yield Finding([name], f"better by {_size(found[name])}")
    alike = {name: found[name] for name in _with_verdict(found, "no detectable difference")}
    one_seed = [name for name, each in alike.items() if each.seeds == 1]
    same = [name for name, each in alike.items() if each.low == each.high == 0]
    unsure = [name for name, each in alike.items() if each.high > WORTH_KNOWING]
    told = [name for name in alike if name not in (*one_seed, *same, *unsure)]
    if told:
        limit = max(0.001, *(found[name].high for name in told))
        yield Finding(told, f"any gain above {limit:.3f} AP is ruled out")
    if same:
        yield Finding(same, f"the same AP as {comparison.baseline.name} with every seed")
    if unsure:
        reach = max(found[name].high - found[name].mean for name in unsure)
        most = max(found[name].high for name in unsure)
        widest = f"±{reach:.3f}" if len(unsure) == 1 else f"up to ±{reach:.3f}"
        yield Finding(unsure, f"not tested enough ({widest}): a gain of up to {most:.3f} AP is still possible")
    if one_seed:
        yield Finding(one_seed, "not tested: one seed doesn't show the noise between seeds")
    worse = _with_verdict(found, "worse")
    if len(worse) == 1:
        yield Finding(worse, f"worse by {_size(found[worse[0]])}")
    elif worse:
        losses = [-found[name].mean for name in worse]
        yield Finding(worse, f"worse, by {min(losses):.3f} to {max(losses):.3f} AP")
    for arm in comparison.arms:
        if not arm.baseline and arm.name not in found:
            runs = [run for run in comparison.runs if run.arm == arm.name]
            failed = sum(bool(run.failed) for run in runs)
            how_many = "every run" if failed == len(runs) else f"{failed} of its {len(runs)} runs"
            yield Finding([arm.name], f"not compared: {how_many} failed")


def _with_verdict(found: Mapping[str, Difference], verdict: str) -> list[str]:
    return [name for name, each in found.items() if each.verdict == verdict]


def _size(found: Difference) -> str:
    """Format the size of a difference, whatever its sign: ``0.021 AP [0.012, 0.030]``."""
    low, high = sorted((abs(found.low), abs(found.high)))
    return f"{abs(found.mean):.3f} AP [{low:.3f}, {high:.3f}]"


def what_moved(arm: str, better: bool, lost: Mapping[str, float], baseline: Mapping[str, float]) -> str:
    """Name the kind of error that changed most in the direction of an arm's verdict; nothing if none did."""
    changes = {kind: lost[kind] - baseline[kind] for kind in lost}
    moved = {kind: change for kind, change in changes.items() if (change < 0) == better and abs(change) >= 5e-4}
    if not moved:
        return ""
    kind = max(moved, key=lambda name: abs(moved[name]))
    way = ("gains", "fell") if better else ("loses", "rose")
    return (
        f"{arm} {way[0]} most where {kind} errors {way[1]}: "
        f"they cost {lost[kind]:.3f} of AP50 instead of {baseline[kind]:.3f}."
    )

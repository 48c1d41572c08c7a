"""Differences with their intervals: of slices from the rest of the images, and of one source from another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isnan

from boxwright.report.content import Comparison, Difference, Slice
from boxwright.report.markup import Markup, details, signed, small_interval, table, text, track
from boxwright.report.opening import score
from boxwright.text import plural

_CLASS = {"better": "better", "worse": "worse"}


def slices(parts: Mapping[str, Slice]) -> Markup:
    """Show a row per slice, the weakest first: its AP, and the difference from the rest of the images."""
    if not parts:
        return Markup()
    reach = _reach(part.difference for part in parts.values())
    order = sorted(parts, key=lambda name: (isnan(parts[name].AP), parts[name].AP))
    rows = [
        (
            name,
            parts[name].images,
            parts[name].targets,
            Markup(score(parts[name].AP) + small_interval(parts[name].interval)),
            *_cells(parts[name].difference, reach),
        )
        for name in order
    ]
    head = ("slice", "images", "objects", "AP", "less the rest", "", "p", "verdict")
    said = (
        "Less the rest: over the classes that slice and rest both have, with its own 95 % interval; p and verdict are "
        "corrected for the number of slices (Holm)."
    )
    return Markup(f'<p class="dim">{text(said)}</p>{table(head, rows, "tnnnntnt", "stacked sortable differences")}')


def comparison(found: Comparison) -> Markup:
    """Show the relevant rows: all classes together and every row with a verdict; the others are folded."""
    overall, *others = found.families
    rest = {name: each for family in others for name, each in family.items()}
    told = {name: each for name, each in rest.items() if each.verdict in _CLASS}
    untold = {name: each for name, each in rest.items() if name not in told}
    reach = _reach([*overall.values(), *rest.values()])
    said = (
        "95 % intervals, each by itself, on the same draws of the images. p and verdict are corrected for the number "
        "of rows of a kind (Holm); of what is lost to an error, less is better. What training with other seeds would "
        "give isn't in them."
    )
    title = f"{plural(len(untold), 'row')} without a detectable difference"
    folded = details(title, _table(untold, reach)) if untold else Markup()
    return Markup(f'<p class="dim">{text(said)}</p>{_table({**overall, **told}, reach)}{folded}{_deciding(found)}')


def _table(rows: Mapping[str, Difference], reach: float) -> Markup:
    cells = [(name, *_cells(each, reach)) for name, each in rows.items()]
    return table(("", "difference", "", "p", "verdict"), cells, "tntnt", "stacked differences")


def _cells(each: Difference, reach: float) -> tuple[Markup, ...]:
    """Show the value with its ends, the bar, p and the verdict."""
    ends = "" if isnan(each.low) else f'<small class="interval">[{signed(each.low)}, {signed(each.high)}]</small>'
    verdict = Markup(f'<span class="{_CLASS.get(each.verdict, "d")}">{text(each.verdict)}</span>')
    return Markup(signed(each.value) + ends), track(each.low, each.high, reach), score(each.p), verdict


def _reach(rows: Iterable[Difference]) -> float:
    """Return the interval end farthest from 0."""
    ends = [abs(end) for each in rows for end in (each.low, each.high) if not isnan(end)]
    return max(ends, default=0.0)


def _deciding(found: Comparison) -> str:
    if not found.images:
        return ""
    parts = ", ".join(f"{text(name)} {signed(part)}" for name, part in found.images)
    return f'<p class="dim after">Images that decide, and their part in the difference in AP: {parts}</p>'

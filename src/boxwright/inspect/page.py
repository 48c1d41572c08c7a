"""The page of an inspection: the summary, tables and curves, and images to explore."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from boxwright.environment import environment_line
from boxwright.inspect.coverage import (
    COCO_SIDES,
    Group,
    by_class,
    by_coco_size,
    by_level,
    by_side,
    coverage_curve,
    percent,
)
from boxwright.inspect.inspection import Inspection
from boxwright.inspect.payload import payload
from boxwright.inspect.suggest import STRIDES_A_SIDE, Coverage, Suggestion
from boxwright.inspect.supervision import Supervision
from boxwright.inspect.viewer import viewer
from boxwright.inspect.words import glossary, term
from boxwright.recipes import find_detector
from boxwright.report.curves import series_svg
from boxwright.report.history import Series, read_history
from boxwright.report.markup import Markup, details, figures, script_data, section, table, text, write_document
from boxwright.text import plural

_HEAD = (
    "objects",
    term("own anchor", "median best IoU"),
    term("positive", "anchors each"),
    term("forced", "forced alone"),
    "no anchor",
)
_FIRST, _MOST = 12, 1000
"""Number of classes shown initially, and at most."""


def write_page(path: str | Path, inspection: Inspection, *, overwrite: bool = False) -> Path:
    """Write one file that loads nothing from elsewhere; return its path.

    Raises:
        WriteError: If it cannot be written, or boxwright did not write the old file and ``overwrite`` is False.
    """
    recipe, data = inspection.recipe, inspection.dataset
    whose = recipe.detector + ("'s first stage" if find_detector(recipe.detector).two_stage else "")
    title = f"Supervision of {data.root.resolve().name}{f' ({data.split})' if data.split else ''} by {whose}"
    sections = (
        _examples(inspection),
        _objects(inspection),
        _levels(inspection.supervision),
        _curves(inspection.supervision, inspection.suggestion),
        _other_anchors(inspection.suggestion),
        _training(inspection),
        glossary(),
    )
    header = f'<p class="answer">{text(inspection.headline)}</p><p class="advice">{text(inspection.advice)}</p>'
    style = read_style()
    return write_document(Path(path), title, header, sections, environment_line(), style, overwrite=overwrite)


def read_style() -> str:
    """Read the CSS of the inspection's pages, which extends that of all pages."""
    return _read("inspect.css")


def _read(name: str) -> str:
    return files("boxwright.inspect").joinpath(name).read_text(encoding="utf-8")


def _objects(inspection: Inspection) -> Markup:
    found, recipe = inspection.supervision, inspection.recipe
    small, large = COCO_SIDES
    left_out = f" {found.ignored} crowd, difficult and erroneous boxes are no objects." if found.ignored else ""
    left_out += f" Left out for their unknown size: {plural(len(found.unread), 'image')}." if found.unread else ""
    images = plural(len(inspection.dataset), "image")
    note = (
        f"{images} at {recipe.image_size} px ({recipe.resize}), without augmentation; matcher "
        f"{recipe.matcher}, anchors {recipe.anchors}. Sizes are sqrt(width × height) in pixels of the network's input: "
        f"small below {small:.0f}, large from {large:.0f}.{left_out}"
    )
    return section(
        "Objects and their anchors",
        f'<p class="dim">{text(note)}</p>',
        _groups("size", by_coco_size(found)),
        details("In finer steps of size", _groups("size", by_side(found))),
        _classes(by_class(found, inspection.dataset.classes)),
    )


def _classes(groups: list[Group]) -> Markup:
    """List the classes: if many, first those whose objects have the fewest anchors, with the others folded."""
    if len(groups) <= _FIRST:
        return _groups("class", groups)
    groups = sorted((g for g in groups if g.objects), key=lambda g: (-g.unmatched, -g.forced, g.positives))
    rest = groups[_FIRST:_MOST]
    title = f"{plural(len(rest), 'other class')}, better served" + (
        f"; {len(groups) - _MOST:,} more left out" if len(groups) > _MOST else ""
    )
    return Markup(_groups("class", groups[:_FIRST]) + (details(title, _groups("class", rest)) if rest else ""))


def _groups(what: str, groups: Sequence[Group]) -> Markup:
    rows = [
        (
            g.name,
            g.objects,
            _decimals(g.best_iou, 2),
            _decimals(g.positives, 1),
            percent(g.forced),
            percent(g.unmatched),
        )
        for g in groups
    ]
    return table((what, *_HEAD), rows, "tnnnnn")


def _levels(found: Supervision) -> Markup:
    rows = []
    for level in by_level(found):
        shapes = ", ".join(f"{w:.0f} × {h:.0f}" for w, h in level.shapes)
        cells = f"{level.cells[0]} × {level.cells[1]}"
        rows.append((f"stride {level.stride:g}", cells, level.anchors, level.positives, level.objects, shapes))
    head = (
        term("level"),
        "cells",
        "anchors",
        term("positive", "positives"),
        "objects that have some",
        "shapes of a cell, px",
    )
    return section("Levels", table(head, rows, "ttnnnt"))


def _curves(found: Supervision, suggestion: Suggestion) -> Markup:
    if not len(found):
        return Markup()
    sides, (small, large) = found.sides, COCO_SIDES
    sizes = {"small": sides < small, "medium": (sides >= small) & (sides < large), "large": sides >= large}
    curves: dict[str, Series] = {"all": coverage_curve(found.best_iou)}
    curves |= {name: coverage_curve(found.best_iou[where]) for name, where in sizes.items() if where.any()}
    plots = [("Objects whose best IoU reaches a threshold", series_svg(curves, "IoU", "share of objects"))]
    if suggestion.before and suggestion.after:
        pair: dict[str, Series] = {"these anchors": suggestion.before.curve, "k-means": suggestion.after.curve}
        plots.append(("The same for held-out objects", series_svg(pair, "IoU", "share of objects")))
    return section("Coverage", figures(plots))


def _other_anchors(suggestion: Suggestion) -> Markup:
    rule = (
        "K-means on IoU over the objects' sizes after the resize (arXiv:1612.08242). A level takes the objects whose "
        f"side is nearest to {STRIDES_A_SIDE:g} of its strides by ratio, and keeps its number of shapes; with fewer "
        "than ten objects a shape it keeps its shapes too. Fitted to every other image, compared on the rest. Coverage "
        "is no promise of a better AP: train both."
    )
    setting = f"<pre>--set &quot;{text(suggestion.setting)}&quot;</pre>" if suggestion.setting else ""
    compared = ""
    if suggestion.before and suggestion.after:
        rows = [("these anchors", *_coverage(suggestion.before)), ("k-means", *_coverage(suggestion.after))]
        head = ("held-out objects", "mean best IoU", "reach the threshold", "anchors each", "no anchor")
        compared = table(head, rows, "tnnnn")
    return section(
        "Other anchors", f"<p>{text(suggestion.reason)}</p>", setting, compared, f'<p class="note">{text(rule)}</p>'
    )


def _coverage(coverage: Coverage) -> tuple[str, ...]:
    return (
        _decimals(coverage.mean_iou, 3),
        percent(coverage.reached),
        _decimals(coverage.positives, 1),
        percent(coverage.unmatched),
    )


def _training(inspection: Inspection) -> Markup:
    if inspection.run is None:
        return Markup()
    history = read_history(inspection.run.metrics_file)
    plots = []
    if history.shares:
        plots.append(("Hard positives, and the positives' share of the class loss", history.shares, "share"))
    if history.losses:
        plots.append(("Losses", history.losses, "loss"))
    drawn = [(title, series_svg(lines, "step", name, smooth=True)) for title, lines, name in plots]
    note = (
        "hard_positives: share of the positives whose score for their class is below 0.5. positive_share: of the "
        "classification loss that counts, what the positives make; the rest is the negatives'."
    )
    return section("Over the training", figures(drawn), f'<p class="note">{text(note)}</p>') if drawn else Markup()


def _examples(inspection: Inspection) -> Markup:
    if not inspection.examples:
        return Markup()
    content = payload(inspection)
    script = f"{script_data('data', content)}<script>{_read('inspect.js')}</script>"
    return section("One object and its anchors", viewer(inspection, len(content["images"])), script)


def _decimals(value: float, digits: int) -> str:
    return "–" if value != value else f"{value:.{digits}f}"

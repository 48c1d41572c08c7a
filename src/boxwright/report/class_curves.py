"""Curves of each class: precision over recall, and precision, recall and F1 over the score threshold.

Up to ten classes have their own color and dash pattern. With more, only the three best and the three worst have; the
others are pale, and the mean over all is a thick line in the color of the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.report.content import ClassCurve
from boxwright.report.curves import closed, envelope, line_color, thin
from boxwright.report.markup import Markup, figures, text
from boxwright.report.plot import INK, Axis, Line, plot_svg

_MAX_NAMED = 10
_EXTREMES = 3  # with more classes than that, this many of the best and of the worst are named
_DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
_GRID = np.linspace(0, 1, 101)
_THRESHOLDS = np.linspace(0, 1, 201)
_UNIT = (Axis(0, 1.01), Axis(0, 1.03))


class _Line(NamedTuple):
    label: str
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    score: NDArray[np.float64]
    color: str
    dash: tuple[float, ...] | None
    """None: pale, without a name."""
    threshold: float | None


def class_curves(
    curves: Mapping[str, ClassCurve], ap50: Mapping[str, float], thresholds: Mapping[str, float]
) -> Markup:
    """Draw the four figures with a legend, or nothing if no class with objects is detected.

    Args:
        curves: Class -> precision, recall and score (n,) by falling score, at IoU 0.5; recall NaN without objects.
        ap50: Class -> average precision, which selects the best and the worst of many.
        thresholds: Class -> the score to mark on its curves, from which its detections are shown.
    """
    lines = _lines(curves, ap50, thresholds)
    if not any(len(line.score) for line in lines):
        return Markup()
    plots = [("Precision and recall at IoU 0.5", _precision_recall(lines))]
    for place, name in enumerate(("precision", "recall", "F1")):
        plots.append((f"{name.capitalize()} by score threshold", _by_score(lines, place, name)))
    return Markup(_explained(lines, marked=bool(thresholds)) + _legend(lines) + figures(plots))


def at_thresholds(
    precision: NDArray[np.float64], recall: NDArray[np.float64], score: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute precision, recall and F1 (3, 201) of the detections from each threshold 0, .005, ... 1 up.

    Where there are none, precision is NaN and the others are 0.
    """
    count = np.searchsorted(-score, -_THRESHOLDS, side="right")
    some = count > 0
    values = np.zeros((3, len(_THRESHOLDS)))
    values[0] = np.nan
    values[0, some], values[1, some] = precision[count[some] - 1], recall[count[some] - 1]
    total = values[0] + values[1]
    np.divide(2 * values[0] * values[1], total, out=values[2], where=some & (total > 0))
    return values


def _lines(curves: Mapping[str, ClassCurve], ap50: Mapping[str, float], thresholds: Mapping[str, float]) -> list[_Line]:
    shown = [name for name, (_, recall, _) in curves.items() if not np.isnan(recall).any()]
    named = shown
    if len(shown) > _MAX_NAMED:
        order = sorted(shown, key=lambda name: -ap50.get(name, 0.0))
        named = [*order[:_EXTREMES], *order[-_EXTREMES:]]
    styles: list[tuple[str, str, tuple[float, ...] | None]] = [
        (name, line_color(place), _DASHES[place % len(_DASHES)]) for place, name in enumerate(named)
    ]
    styles += [(name, INK, None) for name in shown if name not in named]
    lines = []
    for name, color, dash in styles:
        precision, recall, score = (np.asarray(column, np.float64) for column in curves[name])
        lines.append(_Line(name, precision, recall, score, color, dash, thresholds.get(name)))
    return lines


def _precision_recall(lines: list[_Line]) -> str:
    closed_lines = [closed(line.precision, line.recall) for line in lines]
    envelopes = np.array([envelope(x, y, _GRID) for x, y in closed_lines])
    drawn = [_drawn(line, *thin(x, y)) for line, (x, y) in zip(lines, closed_lines, strict=True)]
    dots = [_dot(line, recall, precision) for line, _, (precision, recall, _) in _marked(lines)]
    above = [*_mean(lines, _GRID, envelopes), *dots]
    return plot_svg([*_pale_first(drawn), *above], "recall", "precision", *_UNIT)


def _by_score(lines: list[_Line], place: int, name: str) -> str:
    values = np.array([at_thresholds(line.precision, line.recall, line.score)[place] for line in lines])
    drawn = [_drawn(line, _THRESHOLDS, y) for line, y in zip(lines, values, strict=True)]
    dots = [_dot(line, threshold, at[place]) for line, threshold, at in _marked(lines)]
    above = [*_mean(lines, _THRESHOLDS, values), *dots]
    return plot_svg([*_pale_first(drawn), *above], "score threshold", name, *_UNIT)


def _marked(lines: list[_Line]) -> Iterator[tuple[_Line, float, tuple[float, float, float]]]:
    """Mark the threshold on named lines where a detection reaches it: the score, and precision, recall and F1 there."""
    for line in lines:
        if line.threshold is None or line.dash is None:
            continue
        if number := int((line.score >= line.threshold).sum()):
            precision, recall = float(line.precision[number - 1]), float(line.recall[number - 1])
            yield line, line.threshold, (precision, recall, 2 * precision * recall / (precision + recall or 1.0))


def _dot(line: _Line, x: float, y: float) -> Line:
    return Line([x], [y], line.color, width=2.4)


def _drawn(line: _Line, x: NDArray[np.float64], y: NDArray[np.float64]) -> Line:
    if line.dash is None:
        return Line(x, y, line.color, width=1, opacity=0.15)
    return Line(x, y, line.color, dash=line.dash)


def _pale_first(lines: list[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.opacity)


def _mean(lines: list[_Line], x: NDArray[np.float64], values: NDArray[np.float64]) -> list[Line]:
    """Average many classes where at least half of them have a value."""
    if len(lines) <= _MAX_NAMED:
        return []
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    mean = np.full(len(x), np.nan)
    np.divide(np.where(defined, values, 0).sum(axis=0), count, out=mean, where=2 * count >= len(lines))
    return [Line(x, mean, width=2.6)]


def _explained(lines: list[_Line], *, marked: bool) -> str:
    sentences = []
    if len(lines) > _MAX_NAMED:
        sentences.append(
            f"Of the {len(lines)} classes the {_EXTREMES} with the best AP50 and the {_EXTREMES} with the worst are "
            "named; the others are pale, and the thick line is the mean of all."
        )
    if marked:
        sentences.append("The dots are the scores from which each class's detections are counted and shown.")
    return f'<p class="dim">{text(" ".join(sentences))}</p>' if sentences else ""


def _legend(lines: list[_Line]) -> str:
    keys = []
    for line in lines:
        if line.dash is not None:
            dash = f' stroke-dasharray="{" ".join(f"{1.8 * length:g}" for length in line.dash)}"' if line.dash else ""
            sample = f'<svg viewBox="0 0 34 8"><path d="M0 4H34" stroke="{line.color}" stroke-width="3"{dash}/></svg>'
            keys.append(f"<li>{sample}{text(line.label)}</li>")
    return f'<ul class="legend">{"".join(keys)}</ul>'

"""The top of the page: one sentence, the headline numbers with their intervals, and a row of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import numpy as np

from boxwright.drawing import draw_detections
from boxwright.report.content import Picture, ReportData
from boxwright.report.markup import Markup, image, small_interval, text
from boxwright.report.pictures import fitted, xyxy

HEADLINE = ("AP", "AP50", "AP75", "voc07")
TITLES = {"voc07": "VOC07 mAP", "voc_area": "VOC area mAP"}

_ROOM = (400, 300)  # width and height, in pixels, that a picture of the row fits into
_RIGHT, _FALSE = (0, 114, 178), (213, 94, 0)  # Okabe and Ito's blue and vermilion, as in the confusion matrix


def opening(data: ReportData) -> Markup:
    """Build the sentence, the numbers, their certainty, the warnings, and the pictures."""
    summary = f'<p class="lead">{text(data.summary)}</p>' if data.summary else ""
    certainty = f"<p>{text(data.certainty)}</p>" if data.certainty else ""
    warnings = "".join(f'<p class="warning">{text(warning)}</p>' for warning in data.warnings)
    return Markup(summary + _cards(data) + certainty + warnings + _row(data.opening, data.classes))


def score(value: float | None) -> Markup:
    """Format with three decimals; a dash if unknown."""
    return text(None) if value is None or isnan(value) else Markup(f"{value:.3f}")


def _cards(data: ReportData) -> str:
    cards = "".join(
        f"<div><b>{score(data.metrics[name])}</b><span>{text(TITLES.get(name, name))}</span>"
        f"{small_interval(data.intervals.get(name))}</div>"
        for name in HEADLINE
        if name in data.metrics
    )
    return f'<div class="cards">{cards}</div>' if cards else ""


def _row(content: Sequence[Picture], classes: Sequence[str]) -> str:
    if not content:
        return ""
    key = (
        '<p class="outcomes"><i class="right"></i>found <i class="false"></i>false <i class="missed"></i>missed: '
        "a few typical images, then the worst</p>"
    )
    figures = "".join(_figure(picture, classes) for picture in content)
    return f'{key}<div class="glance">{figures}</div>'


def _figure(picture: Picture, classes: Sequence[str]) -> str:
    pixels, scale = fitted(picture.image, _ROOM)
    right, false = (np.asarray(mask, np.bool_) for mask in (picture.right, picture.false))
    judged = np.flatnonzero(right | false)  # detections on ignored objects are neither
    drawn = draw_detections(
        pixels,
        (xyxy(picture.boxes) * scale)[judged],
        np.asarray(picture.labels)[judged],
        None,
        classes,
        targets=xyxy(picture.missed) * scale,
        colors=[_RIGHT if hit else _FALSE for hit in right[judged].tolist()],
    )
    counts = f"{right.sum()} found, {false.sum()} false, {len(xyxy(picture.missed))} missed"
    caption = f"<b>{text(picture.name)}</b> {counts}"
    return f"<figure>{image(drawn, f'{picture.name}: {counts}', fine=True)}<figcaption>{caption}</figcaption></figure>"

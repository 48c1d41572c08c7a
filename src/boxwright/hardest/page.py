"""The page for reviewing labels: one file that loads nothing, works by keyboard and prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright.data import DetectionDataset
from boxwright.drawing import draw_detections
from boxwright.environment import environment_line
from boxwright.errors import DataError
from boxwright.evaluate import DetectionColumns
from boxwright.hardest.corrections import Correction, Corrections
from boxwright.hardest.ranking import KINDS, Suspects
from boxwright.report.markup import Markup, bar, details, image, script_data, table, text, write_document
from boxwright.text import plural

_PANEL = (400, 314)  # width and height, in pixels, that each picture fits into
_AROUND = 0.8  # margin on each side, as a share of the box's longer side
_LEAST_AROUND = 24  # the same in pixels, at least

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Witness:
    """The detector whose detections speak against the labels, and how far it can be trusted."""

    run: str
    score: float
    """Lowest score of the detections that are drawn; that of a suspect itself is always drawn."""
    confirmed: int
    """Number of labels confirmed by a detection that is more probably right than not."""
    labels: int
    """Number of labels judged."""
    unseen: dict[str, str] = field(default_factory=dict)
    """Images that could not be read, and why: their labels are not judged."""

    @property
    def doubt(self) -> str:
        """Why the list is unreliable; empty if it is reliable.

        A label is suspected because the detector does not confirm it. If it confirms only a few labels, that is the
        detector's fault.
        """
        if 2 * self.confirmed >= self.labels:
            return ""
        return (
            f"Train longer first: the run finds {self.confirmed:,} of {plural(self.labels, 'label')}, fewer than half, "
            "so most of what it doubts is what it hasn't learned yet."
        )


def write_page(
    path: Path,
    suspects: Suspects,
    dataset: DetectionDataset,
    detections: DetectionColumns,
    corrections: Corrections,
    witness: Witness,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the page on ``suspects``, which ``corrections`` lists in the same order.

    Raises:
        WriteError: If it cannot be written, or boxwright did not write the old file and ``overwrite`` is False.
    """
    pictures = _pictures(suspects, dataset, detections, witness.score)
    cards = "".join(
        _card(place, item, picture)
        for place, (item, picture) in enumerate(zip(corrections.corrections, pictures, strict=True))
    )
    data = script_data("list", msgspec.to_builtins(corrections))
    script = files("boxwright.hardest").joinpath("page.js").read_text(encoding="utf-8")
    sections = (
        _controls(corrections),
        f'<div class="suspects">{cards}</div>',
        f"{data}<script>{script}</script>",
    )
    title = f"Labels to look at: {dataset.root.resolve().name}"
    return write_document(
        path, title, _header(len(suspects), dataset, witness), sections, environment_line(), overwrite=overwrite
    )


def _header(count: int, dataset: DetectionDataset, witness: Witness) -> Markup:
    doubt = f"<p class='doubt'><strong>{text(witness.doubt)}</strong></p>" if witness.doubt else ""
    unseen = table(("image", "why"), witness.unseen.items(), "tt")
    title = f"{plural(len(witness.unseen), 'image')} couldn't be looked at; nothing is said of their labels"
    return Markup(
        f"{doubt}<p>The {plural(count, 'label')} of {text(dataset.split or 'the data set')} that are most probably "
        f"wrong, by the detections of run {text(witness.run)}. Left are the labels, right what was found, in both the "
        "one in question drawn solid. The score is how probably the label is wrong.</p>"
        f"{details(title, unseen) if witness.unseen else ''}"
    )


def _controls(corrections: Corrections) -> Markup:
    """Build filters and the button that saves what was accepted; all of it needs the script."""
    kinds = [kind for kind in KINDS if any(item.kind == kind for item in corrections.corrections)]
    return Markup(
        '<section class="controls"><form id="controls">'
        f"{_choice('kind', 'Fault', kinds)}{_choice('class', 'Class', corrections.classes)}"
        '<span id="count" role="status"></span>'
        '<button type="button" id="save">Save the accepted corrections</button></form>'
        '<p class="dim">Accept what is right with the boxes below the pictures. Then '
        "<code>boxwright hardest DATA --apply corrections.json</code> writes the annotations anew, as COCO JSON.</p>"
        "</section>"
    )


def _choice(name: str, title: str, values: list[str]) -> str:
    options = "".join(f'<option value="{text(value)}">{text(value)}</option>' for value in values)
    return f'<label>{title} <select name="{name}"><option value="">all</option>{options}</select></label>'


def _card(place: int, item: Correction, picture: Markup | None) -> str:
    """Show one suspect; without a ``picture`` nothing can be decided."""
    accept = f'<label><input type="checkbox" value="{place}"> {text(_proposal(item))}</label>' if picture else ""
    where = item.file if item.box is None else f"{item.file} box {item.box}"
    classes = " ".join(dict.fromkeys(name for name in (item.class_name, item.suggested_class) if name))
    return (
        f'<article data-kind="{item.kind}" data-class="{text(item.class_name or item.suggested_class)}" '
        f'data-other="{text(item.suggested_class or item.class_name)}">'
        f"<h2>{place + 1}. {item.kind} <small>{text(classes)}</small> {bar(item.score)}</h2>"
        f"<div>{picture or '<p>The image can no longer be read.</p>'}</div>"
        f"<p>{text(item.reason)}</p><p class='d'>{text(item.image)}; {text(where)}</p>{accept}</article>"
    )


def _proposal(item: Correction) -> str:
    if item.suggested_class is None:
        return f"Remove this {item.class_name}"
    if item.class_name is None:
        return f"Add this {item.suggested_class}"
    return f"Call it {item.suggested_class}" if item.class_name != item.suggested_class else "Move the box"


def _pictures(
    suspects: Suspects, dataset: DetectionDataset, detections: DetectionColumns, score: float
) -> Iterator[Markup | None]:
    """Draw each suspect in order, None where that fails; each image is decoded once."""
    pictures: dict[int, Markup] = {}
    for place in np.unique(suspects.image).tolist():
        rows = np.flatnonzero(suspects.image == place)
        try:
            pixels = dataset.decode(place)
        except DataError:
            continue
        for row in rows.tolist():
            left, right = draw_suspect(pixels, suspects.take(slice(row, row + 1)), dataset, detections, score)
            name = dataset.name(place)
            pictures[row] = Markup(image(left, f"{name}: labels") + image(right, f"{name}: detections"))
    return (pictures.get(row) for row in range(len(suspects)))


def draw_suspect(
    pixels: NDArray[np.uint8],
    suspect: Suspects,
    dataset: DetectionDataset,
    detections: DetectionColumns,
    score: float,
) -> tuple[Image.Image, Image.Image]:
    """Draw the labels, and the detections from ``score`` up, around one suspect, whose own boxes are solid.

    ``pixels`` (H, W, 3) is its image.
    """
    place, own_row = int(suspect.image[0]), int(suspect.detection[0])
    boxes, labels, _ = dataset.target(place)
    own = np.arange(dataset.offsets[place], dataset.offsets[place + 1]) == suspect.box[0]
    window = _window(np.concatenate([suspect.suggested_box, boxes[own]]), pixels.shape)
    crop, factor = _crop(pixels, window)
    found = detections.take(suspect.detection[suspect.detection >= 0])
    shown = (detections.image == place) & (detections.score >= score) & (np.arange(len(detections)) != own_row)
    parts = (boxes, found.xyxy(), detections.take(shown).xyxy())
    there, seen, beside = (_moved(part, window, factor) for part in parts)
    left = draw_detections(crop, there[own], labels[own], None, dataset.classes, targets=there[~own])
    right = draw_detections(crop, seen, found.label, found.score, dataset.classes, targets=beside)
    return left, right


def _window(boxes: Boxes, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Choose the part of an image (H, W, 3) to show: the boxes and a margin."""
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    around = max(_AROUND * float((high - low).max()), _LEAST_AROUND)
    left, top = np.maximum(np.floor(low - around), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(high + around), [shape[1], shape[0]]).astype(int).tolist()
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _crop(pixels: NDArray[np.uint8], window: tuple[int, int, int, int]) -> tuple[NDArray[np.uint8], float]:
    """Fit the window into a panel; also returns the scale factor."""
    width, height = window[2] - window[0], window[3] - window[1]
    factor = min(_PANEL[0] / width, _PANEL[1] / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.array(Image.fromarray(pixels).crop(window).resize(size, Image.Resampling.BICUBIC)), factor


def _moved(boxes: NDArray[Any], window: tuple[int, int, int, int], factor: float) -> Boxes:
    """Convert boxes to pixels of the panel, dropping those outside."""
    return np.asarray((boxes.astype(np.float64) - np.tile(window[:2], 2)) * factor)

"""Signs that a file was written in another form than its layout has.

One line per data set: pixels instead of fractions, or the reverse; corners instead of width and height, and so on. A
few such boxes are ordinary errors; the hint is for when most boxes are like that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from boxwright.check.splits import any_file
from boxwright.data.annotations import Annotations, Fault
from boxwright.data.readers.reader import Reader
from boxwright.data.reading import ROUNDING

Numbers = NDArray[np.float64]

_LARGE = 2.0  # a fraction may be slightly above 1 where a box leaves its image
_FORMS: dict[str, tuple[str, Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]] = {
    "corners": ("left, top, right, bottom", lambda xyxy: xyxy, lambda numbers: numbers),
    "size": (
        "left, top, width, height",
        lambda xyxy: np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], 1),
        lambda numbers: np.concatenate([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]], 1),
    ),
    "center": (
        "center and size",
        lambda xyxy: np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1),
        lambda numbers: np.concatenate([numbers[:, :2] - numbers[:, 2:] / 2, numbers[:, :2] + numbers[:, 2:] / 2], 1),
    ),
}
"""Forms of a box's four numbers; conversion from corners to them, and back."""


def form_hints(table: Annotations, sizes: NDArray[np.int32], reader: Reader) -> list[Fault]:
    """Return at most one finding: most boxes are in another unit or another form than the layout's."""
    known: NDArray[np.bool_] = np.all(sizes[table.image] > 0, axis=1) & np.isfinite(table.xyxy).all(1)
    total = int(known.sum())
    if not total:
        return []
    limits = sizes[table.image[known]][:, [1, 0, 1, 0]].astype(np.float64)
    pixels = table.xyxy[known]
    largest = np.abs(pixels / limits if reader.info.fractions else pixels).max(1)
    if reader.info.fractions and (count := int((largest > _LARGE).sum())) * 2 > total:
        text = f"numbers above 1 in {count} of {total} boxes: pixels? {reader.title} has fractions of the image"
        return [Fault("wrong-unit", any_file(table), None, text)]
    if not reader.info.fractions and (count := int((largest <= 1).sum())) * 2 > total:
        text = f"no number above 1 in {count} of {total} boxes: fractions of the image? {reader.title} has pixels"
        return [Fault("wrong-unit", any_file(table), None, text)]
    return _other_form(table, pixels, limits, reader)


def _other_form(table: Annotations, pixels: Numbers, limits: Numbers, reader: Reader) -> list[Fault]:
    """Return the finding that most boxes are outside their image as read, but inside if read in another form."""
    bad = ~_fits(pixels, limits)
    due, numbers, _ = _FORMS[reader.info.form]
    written = numbers(pixels)
    fitting = {form: int((bad & _fits(back(written), limits)).sum()) for form, (_, _, back) in _FORMS.items()}
    best = max(fitting, key=lambda form: fitting[form])
    if fitting[best] * 2 <= len(pixels):
        return []
    lost = f"{bad.sum()} of {len(pixels)} boxes leave their image or have no area"
    text = f"read as {due}, which {reader.title} has, {lost}; read as {_FORMS[best][0]}, {fitting[best]} of them fit"
    return [Fault("wrong-form", any_file(table), None, text)]


def _fits(xyxy: Numbers, limits: Numbers) -> NDArray[np.bool_]:
    """Tell which boxes have an area and are inside their image, up to rounding."""
    inside: NDArray[np.bool_] = np.all((xyxy >= -ROUNDING) & (xyxy <= limits + ROUNDING), axis=1)
    filled: NDArray[np.bool_] = np.all(xyxy[:, 2:] > xyxy[:, :2], axis=1)
    return inside & filled

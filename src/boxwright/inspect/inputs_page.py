"""The page of a training's inputs, and a sheet of them as one picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright._util.ownership import claim
from boxwright._util.writing import write_bytes
from boxwright.drawing import contact_sheet, draw_detections, fit, png_file
from boxwright.environment import environment_line
from boxwright.inspect.inputs import EPOCHS, Inputs, View
from boxwright.inspect.page import read_style
from boxwright.report.markup import Markup, image, section, text, write_document
from boxwright.text import plural

MOST_BYTES = 16_000_000
"""Size limit of the pictures on the page; those that would exceed it are left out."""
_SIDE = 480  # pixels of a picture's longer side
_ON_SHEET, _COLUMNS = 24, 4
_MUCH = 0.3  # share of lost objects from which on it is mentioned
_SMALL = 8.0  # pixels of the input; smaller objects are hard to learn


def sheet_path(page: Path) -> Path:
    """Return the path of a page's sheet."""
    return page.with_name(f"{page.stem}-sheet.png")


def write_inputs_page(path: str | Path, inputs: Inputs, *, overwrite: bool = False) -> Path:
    """Write a page of the inputs with their targets, and next to it a PNG of the first 24; return the page's path.

    Raises:
        WriteError: If a file cannot be written, or boxwright did not write it and ``overwrite`` is False.
    """
    page = Path(path)
    claim(page, sheet_path(page), overwrite=overwrite)
    classes = inputs.dataset.classes
    pictures = [_drawn(view, classes) for view in inputs.views[:_ON_SHEET]]
    whose = inputs.dataset.root.resolve().name + (f" ({inputs.dataset.split})" if inputs.dataset.split else "")
    title = f"Inputs of {inputs.recipe.detector} from {whose}"
    header = f'<p class="answer">{text(summary(inputs))}</p><p class="advice">{text(advice(inputs))}</p>'
    figures = _Figures(classes)
    batches = list(_batches(inputs))
    sections = [
        *(section(f"Batch {number + 1}", figures.row(views)) for number, views in enumerate(batches)),
        section(
            f"The same images in the first {EPOCHS} epochs",
            *(figures.row(views, by_epoch=True) for views in inputs.again),
        ),
    ]
    explanation = _explanation(inputs)
    if figures.left_out:
        explanation += f" {plural(figures.left_out, 'input')} more would have made the page too large."
    sections.append(section("What is shown", f"<p>{text(explanation)}</p>"))
    write_document(page, title, header, sections, environment_line(), read_style(), overwrite=overwrite)
    write_bytes(sheet_path(page), png_file(contact_sheet(pictures, _COLUMNS)))
    return page


def summary(inputs: Inputs) -> str:
    """Summarize the inputs in one line."""
    views = inputs.views
    there, kept = sum(view.objects for view in views), sum(view.kept for view in views)
    sides = np.concatenate([_sides(view) for view in views])
    empty = sum(view.kept == 0 for view in views)
    count = f"{len(inputs.batches)} batches" if len(inputs.batches) > 1 else "batch"
    batches = f"{count} of {inputs.recipe.images_a_batch}"
    said = f"{plural(len(views), 'input')} of the first {batches}, with {kept:,} of their images' {there:,} objects"
    said += f"; {plural(empty, 'input')} without any" if empty else ""
    return said + (f"; in the median an object is {np.median(sides):.0f} px large." if len(sides) else ".")


def advice(inputs: Inputs) -> str:
    """Advise what to change in one line; empty if nothing is needed."""
    views, augmentation, said = inputs.views, inputs.recipe.augmentation, []
    there, kept = sum(view.objects for view in views), sum(view.kept for view in views)
    sides = np.concatenate([_sides(view) for view in views])
    if there and 1 - kept / there > _MUCH:
        whose = "light keeps more than ssd" if augmentation.kind == "ssd" else "none keeps all"
        what = "your augmentation, if it moves boxes as it moves pixels" if augmentation.own else f"augment: {whose}"
        said.append(f"{1 - kept / there:.0%} of the objects are lost: out of view, or under 2 px. Look at {what}.")
    if len(sides) and (sides < _SMALL).mean() > _MUCH:
        said.append(
            f"{(sides < _SMALL).mean():.0%} of the objects are smaller than {_SMALL:.0f} px: show them larger, "
            f"--set image_size={2 * inputs.recipe.image_size}, or cut the images into tiles."
        )
    return " ".join(said)


def _explanation(inputs: Inputs) -> str:
    recipe, dataset = inputs.recipe, inputs.dataset
    own = f" Your augmentation {recipe.augment} comes first, on the whole image." if recipe.augmentation.own else ""
    said = (
        f"What the network gets in training with seed {inputs.seed}: after augmentation ({recipe.augment}, flip "
        f"{recipe.flip}) and resize ({recipe.resize}, {recipe.image_size} px), before the mean is subtracted and the "
        f"result divided by the deviation. Solid boxes are its targets, dashed ones are ignored.{own}"
    )
    if recipe.augment_on != "cpu":
        said += " Where a GPU makes the inputs, they differ in rounding."
    if recipe.sampling != "none":
        said += f" By sampling {recipe.sampling} an image can come several times."
    if inputs.unreadable is None:
        said += f" Of {len(dataset):,} images only these were decoded: where others can't be, training's order differs."
    elif inputs.unreadable:
        said += f" Left out as they can't be decoded: {plural(inputs.unreadable, 'image')}."
    return said


def _batches(inputs: Inputs) -> Iterator[list[View]]:
    """Group the views by batch."""
    rest = inputs.views
    for batch in inputs.batches:
        yield rest[: len(batch.indices)]
        rest = rest[len(batch.indices) :]


class _Figures:
    """Figures, added until the page is full."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.used = self.left_out = 0

    def row(self, views: Iterable[View], *, by_epoch: bool = False) -> Markup:
        """Show the views side by side, as many as fit in a line."""
        return Markup(f'<div class="inputs">{"".join(self._figure(view, by_epoch) for view in views)}</div>')

    def _figure(self, view: View, by_epoch: bool) -> str:
        if self.used > MOST_BYTES:
            self.left_out += 1
            return ""
        shown = image(_drawn(view, self.classes), f"input of {view.name} with its targets")
        self.used += len(shown)
        note = f"{view.kept} of {plural(view.objects, 'object')}"
        if by_epoch or view.epoch:
            note = f"epoch {view.epoch + 1}: {note}"
        return f"<figure>{shown}<figcaption><b>{text(view.name)}</b>{note}</figcaption></figure>"


def _drawn(view: View, classes: Sequence[str]) -> Image.Image:
    """Draw the input with its targets, at most 480 px a side before small ones are enlarged."""
    height, width = view.image.shape[:2]
    size = fit((width, height), (_SIDE, _SIDE)) if max(width, height) > _SIDE else (width, height)
    pixels = np.asarray(Image.fromarray(view.image).resize(size, Image.Resampling.LANCZOS))
    boxes = view.boxes * np.array([size[0] / width, size[1] / height] * 2)
    return draw_detections(
        pixels, boxes[~view.ignore], view.labels[~view.ignore], None, classes, targets=boxes[view.ignore]
    )


def _sides(view: View) -> NDArray[np.float64]:
    """Compute sqrt(width x height) of the objects (k,), in pixels of the input."""
    corners = view.boxes[~view.ignore].astype(np.float64)
    return np.asarray(np.sqrt((corners[:, 2:] - corners[:, :2]).prod(1)))

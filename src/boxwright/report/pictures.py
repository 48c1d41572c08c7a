"""Images with detections next to the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright.drawing import distinct, draw_detections, fit
from boxwright.report.content import Picture
from boxwright.report.markup import Markup, image, text
from boxwright.text import plural

_PICTURE_SIZE = (520, 400)  # width and height, in pixels, that each of a pair fits into


def pictures(content: Sequence[Picture], classes: Sequence[str]) -> Markup:
    """Show pairs of pictures, the truth on the left; nothing if there are none."""
    if not content:
        return Markup()
    figures = "".join(_figure(picture, classes) for picture in content)
    return Markup(
        f'<p class="dim">Left the truth, right what the model found.</p><div class="pictures">{figures}</div>'
    )


def _figure(picture: Picture, classes: Sequence[str]) -> str:
    pixels, scale = fitted(picture.image, _PICTURE_SIZE)
    truth, found = xyxy(picture.target_boxes) * scale, xyxy(picture.boxes) * scale
    left = draw_detections(pixels, truth, picture.target_labels, None, classes)
    right = draw_detections(pixels, found, picture.labels, picture.scores, classes)
    hidden = len(found) - len(distinct(found, picture.labels, picture.scores))
    counts = f"{plural(len(truth), 'object')}, {len(found)} found"
    counts += f" ({hidden} on others of their class, not drawn)" if hidden else ""
    caption = f"<b>{text(picture.name)}</b> {text(counts)}" + (f"; {text(picture.note)}" if picture.note else "")
    panels = image(left, f"{picture.name}: truth") + image(right, f"{picture.name}: found")
    return f"<figure><div>{panels}</div><figcaption>{caption}</figcaption></figure>"


def xyxy(boxes: Any) -> NDArray[np.float64]:
    """Convert boxes to (n, 4), also if there are none."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def fitted(pixels: NDArray[np.uint8], room: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Resize the image (H, W, 3) to fit into ``room`` (width, height); also returns the factors of (x, y, x, y)."""
    height, width = pixels.shape[:2]
    size = fit((width, height), room)
    resized = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return resized, np.array([size[0] / width, size[1] / height] * 2)

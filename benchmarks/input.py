"""Speed of the training input against torchvision's SSD pipeline on PIL images.

    python benchmarks/input.py [--images 32] [--rounds 5]

Made JPEGs of 640 x 480 with six boxes each become network inputs of 300 x 300. The peer is what torchvision's detection
references do for SSD: RandomPhotometricDistort, RandomZoomOut, RandomIoUCrop, RandomHorizontalFlip on PIL images, then
the tensor in 0..1, and the resize and normalization of its model's transform. (Its color distortion knows hue and
saturation, ours brightness, contrast and channel gains.) Both end as a normalized float tensor. Each is timed from
files ("decoded at each use") and from images that are decoded already ("in memory": for the peer as PIL images).
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2
from turns import Row, arguments, compare, run

from boxwright.data.decoded import Decoded
from boxwright.data.images import decode_image
from boxwright.data.transforms import Augmentation, InputSize

SIDE = 300
BOXES = 6

peer_transforms = v2.Compose(
    [
        v2.RandomPhotometricDistort(),
        v2.RandomZoomOut(fill={Image.Image: (123, 117, 104), "others": 0}),
        v2.RandomIoUCrop(),
        v2.RandomHorizontalFlip(),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.SanitizeBoundingBoxes(),
        v2.ToPureTensor(),
    ]
)
peer_input = GeneralizedRCNNTransform(
    SIDE, SIDE, [0.48235, 0.45882, 0.40784], [1 / 255] * 3, size_divisible=1, fixed_size=(SIDE, SIDE)
)


def make_images(folder: Path, count: int) -> tuple[list[Path], np.ndarray]:
    """Smooth noise, which compresses about as photographs do, and boxes (count, 6, 4)."""
    rng = np.random.default_rng(0)
    paths = []
    for place in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        paths.append(folder / f"{place}.jpg")
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    corners = rng.uniform(0, [440, 280], (count, BOXES, 2))
    return paths, np.concatenate([corners, corners + rng.uniform(40, 200, (count, BOXES, 2))], -1).astype(np.float32)


def peer(image: Image.Image, boxes: np.ndarray) -> None:
    size = (image.height, image.width)
    target = {
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        "labels": torch.zeros(BOXES, dtype=torch.int64),
    }
    shown, target = peer_transforms(image, target)
    peer_input([shown], [target])


def ours(image: np.ndarray, boxes: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> None:
    """Normalization included, which boxwright does for the whole batch."""
    shown, _, _ = augmentation(Decoded.whole(image), boxes, InputSize(SIDE), rng)
    (torch.from_numpy(shown).permute(2, 0, 1).float() - 127.5) / 127.5


def pil(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def rows(options: Namespace) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    augmentations = {kind: Augmentation(kind, "horizontal") for kind in ("ssd", "light")}
    with tempfile.TemporaryDirectory() as folder:
        paths, boxes = make_images(Path(folder), options.images)
        arrays, images = [decode_image(path) for path in paths], [pil(path) for path in paths]

        def all_of(one: Callable[[int], None]) -> Callable[[], None]:
            return lambda: [one(i) for i in range(len(paths))] and None

        sides = {
            f"{kind}, decoded at each use": all_of(lambda i, one=one: ours(decode_image(paths[i]), boxes[i], one, rng))
            for kind, one in augmentations.items()
        }
        theirs = all_of(lambda i: peer(pil(paths[i]), boxes[i]))
        yield from compare(options, sides, theirs, unit="images/s", items=len(paths))
        sides = {
            f"{kind}, in memory": all_of(lambda i, one=one: ours(arrays[i], boxes[i], one, rng))
            for kind, one in augmentations.items()
        }
        theirs = all_of(lambda i: peer(images[i].copy(), boxes[i]))
        yield from compare(options, sides, theirs, unit="images/s", items=len(paths))


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=32)
    run(rows, parser)

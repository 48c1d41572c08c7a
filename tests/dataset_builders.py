"""Tiny data sets on disk, in every layout."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[str, float, float, float, float]
"""Class and xyxy, in pixels."""
HEIGHT, WIDTH = 60, 80


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """(height, width, 3) uint8: blotches that no other seed has."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def exif_with(orientation: int | str) -> bytes:
    """EXIF that says no more than this, be it a short number, a long one or text."""
    if isinstance(orientation, str):
        kind, value = 2, orientation.encode().ljust(4, b"\0")
    else:
        kind, value = (3 if orientation < 2**16 else 4), struct.pack("<I", orientation)
    entry = struct.pack("<HHI", 0x0112, kind, 1 if kind > 2 else 2) + value
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)


def write_picture(path: Path, seed: int, height: int = HEIGHT, width: int = WIDTH, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, height, width)).save(path, **options)
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def voc_object(name: str, *box: object, difficult: int = 0) -> str:
    sides = "".join(f"<{tag}>{v}</{tag}>" for tag, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"


def voc_xml(
    filename: str,
    boxes: Sequence[Box] = (),
    *,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    database: str = "",
    extra: str = "",
) -> str:
    height, width = size
    return (
        f"<annotation><filename>{filename}</filename><source><database>{database}</database></source>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"{''.join(voc_object(*box) for box in boxes)}{extra}</annotation>"
    )


def write_voc(
    root: Path, images: Mapping[str, Sequence[Box]], lists: Mapping[str, Sequence[str]] | None = None
) -> Path:
    """JPEGImages + Annotations (+ ImageSets/Main); keys of ``images`` are stems."""
    for seed, (name, boxes) in enumerate(images.items()):
        write_picture(root / "JPEGImages" / f"{name}.jpg", seed)
        write_text(root / "Annotations" / f"{name}.xml", voc_xml(f"{name}.jpg", boxes))
    for split, names in (lists or {}).items():
        write_text(root / "ImageSets" / "Main" / f"{split}.txt", "\n".join(names) + "\n")
    return root


def coco_content(images: Mapping[str, Sequence[Box]], classes: Sequence[str], start: int = 1) -> dict[str, Any]:
    """COCO JSON; category ids are 10, 20 ... so that nobody takes them for labels."""
    return {
        "images": [
            {"id": start + i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in enumerate(images)
        ],
        "annotations": [
            {
                "id": 100 + 10 * i + j,
                "image_id": start + i,
                "category_id": 10 * (classes.index(name) + 1),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for i, boxes in enumerate(images.values())
            for j, (name, x1, y1, x2, y2) in enumerate(boxes)
        ],
        "categories": [{"id": 10 * (i + 1), "name": name} for i, name in enumerate(classes)],
    }


def write_coco(root: Path, splits: Mapping[str, Mapping[str, Sequence[Box]]], classes: Sequence[str]) -> Path:
    """annotations/instances_<split>.json + images/<split>/."""
    seed = 0
    for split, images in splits.items():
        for name in images:
            write_picture(root / "images" / split / name, seed := seed + 1)
        content = coco_content(images, classes, start=1 + 1000 * seed)
        write_text(root / "annotations" / f"instances_{split}.json", json.dumps(content))
    return root


def yolo_text(boxes: Sequence[Box], classes: Sequence[str]) -> str:
    lines = [
        (classes.index(name), (x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT)
        for name, x1, y1, x2, y2 in boxes
    ]
    return "".join(" ".join(map(str, line)) + "\n" for line in lines)


def write_yolo(
    root: Path,
    splits: Mapping[str, Mapping[str, Sequence[Box]]],
    classes: Sequence[str],
    *,
    above: bool = True,
    config: str | None = None,
) -> Path:
    """<split>/images + <split>/labels, or images/<split> + labels/<split>; data.yaml where ``config`` is given."""
    seed = 0
    for split, images in splits.items():
        for name, boxes in images.items():
            places = (f"{split}/images", f"{split}/labels") if above else (f"images/{split}", f"labels/{split}")
            write_picture(root / places[0] / name, seed := seed + 1)
            write_text(root / places[1] / f"{Path(name).stem}.txt", yolo_text(boxes, classes))
    if config is not None:
        write_text(root / "data.yaml", config)
    return root

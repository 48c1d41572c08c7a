"""Reading a COCO-sized JSON: time and memory of ``read_dataset`` against pycocotools' ``COCO()``.

    python benchmarks/read_coco.py [--images 5000] [--boxes 36000] [--rounds 5]

Both read the same file, which has polygons, as COCO's has; an image file stands for each image (our reader looks which
are there; it doesn't open them). Memory is what reading adds in a process of its own that has imported the reader.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from turns import Row, added_mebibytes, apart, arguments, compare, once, run

from boxwright.data import read_dataset

SPLIT = "val"


def ours(root: Path) -> tuple[int, int]:
    """The counts of images and boxes."""
    data = read_dataset(root, SPLIT)
    return len(data), len(data.boxes)


def peer(root: Path) -> tuple[int, int]:
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO(root / "annotations" / f"instances_{SPLIT}.json")
    return len(data.imgs), len(data.anns)


READERS = {"boxwright": ours, "pycocotools": peer}


def write_dataset(root: Path, images: int, boxes: int, seed: int = 0) -> None:
    """Writes annotations/instances_val.json and empty image files."""
    rng = np.random.default_rng(seed)
    width, height = 640, 480
    folder = root / "images" / SPLIT
    folder.mkdir(parents=True)
    names = [f"{number:012d}.jpg" for number in range(images)]
    for name in names:
        (folder / name).touch()
    corner = rng.uniform(0, 0.7, (boxes, 2)) * (width, height)
    size = rng.uniform(0.02, 0.29, (boxes, 2)) * (width, height)
    owner = rng.integers(0, images, boxes)
    category = rng.integers(1, 81, boxes)
    corners = rng.integers(8, 61, boxes)  # COCO's polygons have some 30 points
    annotations = [
        {
            "segmentation": [
                np.round(
                    rng.random(2 * corners[i]) * np.tile(size[i], corners[i]) + np.tile(corner[i], corners[i]), 2
                ).tolist()
            ],
            "area": round(float(size[i].prod()) * 0.7, 4),
            "iscrowd": 0,
            "image_id": int(owner[i]) + 1,
            "bbox": np.round([*corner[i], *size[i]], 2).tolist(),
            "category_id": int(category[i]),
            "id": i + 1,
        }
        for i in range(boxes)
    ]
    content = {
        "info": {"description": "made up"},
        "licenses": [],
        "images": [
            {"license": 1, "file_name": name, "height": height, "width": width, "id": i + 1}
            for i, name in enumerate(names)
        ],
        "annotations": annotations,
        "categories": [{"supercategory": "thing", "id": i, "name": f"class {i}"} for i in range(1, 81)],
    }
    path = root / "annotations" / f"instances_{SPLIT}.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))


def extra_mebibytes(reader: str, root: str) -> float:
    return added_mebibytes(partial(READERS[reader], Path(root)))


def rows(options: Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(root, options.images, options.boxes)
        assert ours(root) == peer(root) == (options.images, options.boxes)
        name = f"{options.images:,} images, {options.boxes:,} boxes"
        yield from compare(options, {name: partial(ours, root)}, partial(peer, root), unit="s")
        yield once(f"{name}, memory", *(apart(reader, root) for reader in READERS))


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--boxes", type=int, default=36000)
    run(rows, parser, alone=extra_mebibytes)

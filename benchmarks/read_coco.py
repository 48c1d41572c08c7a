"""Reading a COCO-sized JSON: time and memory of ``read_dataset`` against pycocotools' ``COCO()``.

Run: ``python benchmarks/read_coco.py [--images 5000] [--boxes 36000]``. The file has polygons, as COCO's has, and an
image file stands for each image (the reader looks which are there; it doesn't open them). Each reader runs in
processes of its own. Time is the best of ``--repeats``; memory is the growth of the peak resident set (``ru_maxrss``)
over that of a process that has only imported the reader.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np

SPLIT = "val"
IMPORTS = {
    "boxwright": "from boxwright.data import read_dataset",
    "pycocotools": "import contextlib, io\nfrom pycocotools.coco import COCO",
}
READS = {
    "boxwright": "data = read_dataset(root, 'val')\ncounts = len(data), len(data.boxes)",
    "pycocotools": "with contextlib.redirect_stdout(io.StringIO()):\n"
    "    data = COCO(root + '/annotations/instances_val.json')\n"
    "counts = len(data.imgs), len(data.anns)",
}
PROBE = """
import json, resource, sys, time
root = sys.argv[1]
{imports}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
start = time.perf_counter()
{read}
print(json.dumps([time.perf_counter() - start, peak() - before, counts]))
"""


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


def measure(reader: str, root: Path, repeats: int) -> tuple[float, float, list[int]]:
    """Best seconds, MiB of the smallest peak, and the counts of images and boxes, over fresh processes."""
    code = PROBE.format(imports=IMPORTS[reader], read=READS[reader])
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", code, str(root)], check=True, capture_output=True).stdout)
        for _ in range(repeats)
    ]
    return min(run[0] for run in runs), min(run[1] for run in runs), runs[0][2]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--boxes", type=int, default=36000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (Path(folder), options.images, options.boxes)
        writer = get_context("spawn").Process(target=write_dataset, args=arguments)
        writer.start()  # apart: a child's peak starts at that of its parent
        writer.join()
        path = Path(folder) / "annotations" / f"instances_{SPLIT}.json"
        print(f"{options.images} images, {options.boxes} boxes, {path.stat().st_size / 2**20:.1f} MiB of JSON")
        results = {reader: measure(reader, Path(folder), options.repeats) for reader in IMPORTS}
    print(f"{'':12} {'seconds':>8} {'peak MiB':>9}  images, boxes")
    for reader, (seconds, memory, counts) in results.items():
        print(f"{reader:12} {seconds:8.3f} {memory:9.1f}  {counts}")
    ours, theirs = results["boxwright"], results["pycocotools"]
    print(f"{theirs[0] / ours[0]:.1f} x faster, {ours[1] / theirs[1]:.2f} of the memory")


if __name__ == "__main__":
    main()

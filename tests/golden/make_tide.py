"""Makes tide.npz: TIDE's errors by its authors' package, tidecv 1.0.1, in an environment of its own.

    python -m venv tide && tide/bin/pip install tidecv==1.0.1 && tide/bin/python tests/golden/make_tide.py [DIR]

DIR holds detections.json and targets.json of `boxwright eval --save-detections --save-targets`, for the scene "cells".

tidecv also gives kinds to detections that a crowd makes ignored, and mends them; here it runs again without them.
Its precision is read at the recalls x / 100 where COCO's are linspace(0, 1, 101), which differ in the last bit at ten
of them: "losses" come from tidecv with COCO's recalls, "plain" from tidecv as it is.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tidecv.ap
from tidecv import TIDE, Data

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
SPECIAL = ("FalsePos", "FalseNeg")


def scene(seed: int, crowds: bool) -> dict[str, np.ndarray]:
    """Targets, and detections that are right, shifted, of another class, twice there, or made up."""
    random = np.random.default_rng(seed)
    classes, images = int(random.integers(2, 6)), int(random.integers(3, 12))
    targets: list[tuple[float, ...]] = []
    found: list[tuple[float, ...]] = []
    for image in range(images):
        for _ in range(random.integers(0, 9)):
            label, box = int(random.integers(classes)), random.uniform((0, 0, 20, 20), (150, 150, 90, 90))
            crowd = crowds and random.random() < 0.2
            targets.append((image, label, *box, crowd))
            for _ in range(random.integers(0, 4)):
                moved = box + random.normal(0, random.choice([1, 8, 25]), 4) * (1, 1, 0.5, 0.5)
                moved[2:] = np.maximum(moved[2:], 2)
                other = int(random.integers(classes)) if random.random() < 0.4 else label
                found.append((image, other, *moved, random.random()))
        for _ in range(random.integers(0, 5)):
            box = random.uniform((0, 0, 5, 5), (200, 200, 90, 90))
            found.append((image, int(random.integers(classes)), *box, random.random()))
    order = random.permutation(len(found))
    return {"targets": np.array(targets).reshape(-1, 7), "detections": np.array(found).reshape(-1, 7)[order]}


def cells(folder: Path) -> dict[str, np.ndarray]:
    """A run's detections on real images, from score .05."""
    truth, found = (json.loads((folder / f"{name}.json").read_text()) for name in ("targets", "detections"))
    targets = [(n["image_id"], n["category_id"] - 1, *n["bbox"], n["iscrowd"]) for n in truth["annotations"]]
    rows = [(d["image_id"], d["category_id"] - 1, *d["bbox"], d["score"]) for d in found if d["score"] >= 0.05]
    columns = {"targets": np.array(targets), "detections": np.array(rows)}
    for column in columns.values():
        column[:, 0] -= 1
    return {name: column[column[:, 0] < 10] for name, column in columns.items()}


def evaluate(targets: np.ndarray, detections: np.ndarray) -> tuple[Any, dict[str, float], Data]:
    truth, found = Data("truth"), Data("found", max_dets=10_000)
    truth.max_dets = 10_000
    for image, label, *box, crowd in targets.tolist():
        (truth.add_ignore_region if crowd else truth.add_ground_truth)(int(image), int(label), box)
    for image, label, *box, score in detections.tolist():
        truth._make_default_image(int(image))
        found.add_detection(int(image), int(label), score, box)
    tide = TIDE()
    run = tide.evaluate(truth, found)
    errors = tide.get_all_errors()
    return run, {**errors["main"]["found"], **errors["special"]["found"]}, found


def golden(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    targets, detections = columns["targets"], columns["detections"]
    _, _, found = evaluate(targets, detections)
    counted = np.array([note.get("used") is not None for note in found.annotations])
    run, costs, _ = evaluate(targets, detections[counted])
    kind, missed = np.full(len(detections), -1), np.zeros(len(targets), bool)
    rows = np.flatnonzero(counted)
    for error in run.errors:
        if error.short_name == "Miss":
            missed[error.gt["_id"]] = True
        else:
            kind[rows[error.pred["_id"]]] = KINDS.index(error.short_name)
    lost = sum(map(len, run.false_negatives.values()))
    counts = [int((kind == place).sum()) for place in range(5)] + [int(missed.sum()), int((kind >= 0).sum()), lost]
    losses = np.array([run.ap, *(costs[name] for name in (*KINDS, *SPECIAL))]) / 100
    return {"kind": kind.astype(np.int8), "missed": missed, "counts": np.array(counts), "losses": losses}


def with_coco_recalls() -> None:
    source = inspect.getsource(tidecv.ap)
    old = "np.array([x / resolution for x in range(resolution + 1)])"
    assert old in source
    exec(compile(source.replace(old, "np.linspace(0, 1, resolution + 1)"), "ap", "exec"), tidecv.ap.__dict__)
    tidecv.quantify.ClassedAPDataObject = tidecv.ap.ClassedAPDataObject


def main() -> None:
    scenes = {f"plain{seed}": scene(seed, crowds=False) for seed in range(24)}
    scenes |= {f"crowd{seed}": scene(1000 + seed, crowds=True) for seed in range(12)}
    scenes = {name: columns for name, columns in scenes.items() if same_classes(columns)}
    if len(sys.argv) > 1:
        scenes["cells"] = cells(Path(sys.argv[1]))
    plain = {name: golden(columns)["losses"] for name, columns in scenes.items()}
    with_coco_recalls()
    arrays = {}
    for name, columns in scenes.items():
        for key, value in {**columns, **golden(columns), "plain": plain[name]}.items():
            arrays[f"{name}/{key}"] = value
    np.savez_compressed(Path(__file__).with_name("tide.npz"), **arrays)
    print(len(scenes), "scenes")


def same_classes(columns: dict[str, np.ndarray]) -> bool:
    """Whether the classes of targets and detections are the same: tidecv also averages over classes without targets."""
    targets, detections = columns["targets"], columns["detections"]
    return set(targets[targets[:, 6] == 0, 1]) == set(detections[:, 1]) and len(targets) > 3


if __name__ == "__main__":
    main()

"""Nearly right documents, 15,000 of them, the same ones each time: no reader fails but by its own error, and soon."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from boxwright._util.printing import printable
from boxwright.check import check_dataset
from boxwright.compare.plan.arms import read_arms
from boxwright.compare.results.results import METRICS, RunResult
from boxwright.compare.run.jobs import read_result
from boxwright.data import DetectionDataset, read_dataset
from boxwright.errors import BoxwrightWarning, DataError, RecipeError
from boxwright.evaluate import detection_metrics, read_results
from boxwright.hardest.corrections import apply_corrections, read_corrections
from boxwright.recipes import get_recipe, list_recipes, parse_settings
from boxwright.runs.record import read_record
from dataset_builders import coco_content, voc_xml, write_picture
from fuzzing import STRINGS, YAML, as_json, as_lines, as_xml, as_yaml, mutate, odd, to_bytes, tree
from layout_builders import TENSORFLOW, createml_entry, imagefolder_line, labelme_content, tensorflow_rows

SECONDS, MEGABYTES = 2.0, 500
Kind = Callable[[Random, Path], Any]

COCO = coco_content({"i0.jpg": [("a", 1, 2, 30, 40), ("b", 5, 5, 60, 50)], "i1.jpg": [("b", 0, 0, 80, 60)]}, ["a", "b"])
COCO["annotations"][0] |= {"segmentation": [[1, 2, 3, 4, 5, 6]], "ignore": 1}
COCO["annotations"][1] |= {"iscrowd": 1, "segmentation": {"counts": [1, 2], "size": [12, 16]}}
RESULTS = [
    {"image_id": 1, "category_id": 10, "bbox": [1, 2, 29, 38], "score": 0.9},
    {"file_name": "i1.jpg", "category": "b", "bbox": [0.0, 0.0, 80.0, 60.0], "score": 0.5, "image_id": 2},
]
CORRECTION = {
    "accepted": True,
    "score": 0.5,
    "kind": "missing",
    "image": "i0.jpg",
    "file": "annotations/instances_train.json",
    "box": 0,
    "class": "a",
    "bbox": [1, 2, 29, 38],
    "suggested_class": "b",
    "suggested_bbox": [1, 2, 3, 4],
    "reason": "a",
}
CORRECTIONS = {"split": "train", "classes": ["a", "b"], "voc_one_based": None, "corrections": [CORRECTION, CORRECTION]}
VOC = {
    "filename": "i0.jpg",
    "source": {"database": "x"},
    "size": {"width": 80, "height": 60, "depth": 3},
    "object": {"name": "a", "difficult": 0, "bndbox": {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}},
}
DATA_YAML: dict[str, Any] = {"path": ".", "train": "images", "val": ["val.txt", "images"], "nc": 2, "names": ["a", "b"]}
BOXES = [("a", 1.0, 2.0, 30.0, 40.0), ("b", 5.0, 5.0, 60.0, 50.0)]
OTHERS: dict[str, tuple[str, Any]] = {
    "labelme": ("i0.json", labelme_content("i0.jpg", BOXES)),
    "createml": ("_annotations.createml.json", [createml_entry(f"i{number}.jpg", BOXES) for number in range(2)]),
    "imagefolder": ("metadata.jsonl", imagefolder_line("i0.jpg", BOXES, ())),
    "tables": ("_annotations.csv", (TENSORFLOW + tensorflow_rows("i0.jpg", BOXES)).split()),
}
RECORD = {
    "data": {"images": 2, "boxes": 2, "classes": {"a": 1}, "findings": [{"severity": "error", "kind": "x"}]},
    "training": {"split": "train", "images": 2, "seed": 0, "steps": 5, "device": "cpu"},
    "origin": {"options": {"seed": 0}, "fingerprint": "x", "commands": ["boxwright train"]},
}
RESULT = asdict(RunResult("a", 0, dict.fromkeys(METRICS, 0.5), {"a": {"AP": 0.5}}, {}, 1.0, 2.0, 3.0, 4))
LABELS = [["0", "0.5", "0.5", "0.2", "0.3"], ["1", "0.1", "0.1", "0.4", "0.1", "0.3", "0.3"]]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """In memory where the system has such a place; with an image each for the layouts."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))
    for layout, images in (("coco", "images/train"), ("voc", "JPEGImages"), ("yolo", "images")):
        for number in range(2):
            write_picture(root / layout / images / f"i{number}.jpg", number)
    for layout in OTHERS:
        for number in range(2):
            write_picture(root / layout / f"i{number}.jpg", number)
    for place in ("coco/annotations", "voc/Annotations", "voc/ImageSets/Main", "yolo/labels"):
        (root / place).mkdir(parents=True)
    (root / "voc" / "Annotations" / "i1.xml").write_text(voc_xml("i1.jpg", [("b", 1, 2, 30, 40)]))
    (root / "voc" / "ImageSets" / "Main" / "val.txt").write_text("i1\n")
    (root / "sound").mkdir()
    shutil.copytree(root / "coco" / "images", root / "sound" / "images")
    (root / "sound" / "annotations").mkdir()
    (root / "sound" / "annotations" / "instances_train.json").write_text(json.dumps(COCO))
    yield root
    shutil.rmtree(root)


def use(dataset: DetectionDataset) -> None:
    """What training and evaluation do first with a data set that was read."""
    for index in range(len(dataset)):
        assert dataset.target(index).boxes.shape[1] == 4
        printable(f"{dataset.name(index)} {dataset.path(index)}").encode()
    msgspec.json.encode(dataset.coco_json())
    for text in (dataset.left_out.summary(), *dataset.classes, *(fault.message for fault in dataset.left_out.faults)):
        printable(text).encode()


def read_coco(rng: Random, root: Path) -> None:
    file = root / "coco" / "annotations" / "instances_train.json"
    file.write_bytes(to_bytes(as_json(mutate(tree(COCO), rng)), rng))
    use(read_dataset(root / "coco", rng.choice(("train", None))))


def read_voc(rng: Random, root: Path) -> None:
    text = as_xml(mutate(tree({"annotation": VOC}), rng, ("&lol;", "<![CDATA[a]]>", "<a/>", "&#0;", "<!DOCTYPE a>")))
    (root / "voc" / "Annotations" / "i0.xml").write_bytes(to_bytes(text, rng))
    names = mutate([["i0"], ["i1", "1"]], rng)
    (root / "voc" / "ImageSets" / "Main" / "train.txt").write_bytes(to_bytes(as_lines(names), rng))
    use(read_dataset(root / "voc", rng.choice(("train", None))))


def read_yolo(rng: Random, root: Path) -> None:
    labels = mutate(tree(LABELS), rng) if rng.random() < 0.5 else LABELS
    (root / "yolo" / "labels" / "i0.txt").write_bytes(to_bytes(as_lines(labels), rng))
    config = {**DATA_YAML, "names": rng.choice((["a", "b"], {0: "a", 1: "b"}))}
    (root / "yolo" / "data.yaml").write_bytes(to_bytes(as_yaml(mutate(tree(config), rng, YAML)), rng))
    (root / "yolo" / "val.txt").write_bytes(to_bytes(as_lines(mutate([["images/i1.jpg"], ["i0.jpg"]], rng)), rng))
    use(read_dataset(root / "yolo", rng.choice(("train", None))))


def read_others(rng: Random, root: Path) -> None:
    layout = rng.choice(sorted(OTHERS))
    name, content = OTHERS[layout]
    if layout == "tables":
        text = as_lines(mutate([row.split(",") for row in content], rng)).replace(" ", ",")
    else:
        text = as_json(mutate(tree(content), rng))
    (root / layout / name).write_bytes(to_bytes(text, rng))
    use(read_dataset(root / layout, rng.choice(("train", None))))


def check(rng: Random, root: Path) -> None:
    layout = rng.choice(("coco", "voc", "yolo"))
    with contextlib.suppress(DataError):
        {"coco": read_coco, "voc": read_voc, "yolo": read_yolo}[layout](rng, root)
    for finding in check_dataset(root / layout).findings:
        printable(finding.message).encode()


def read_recipe(rng: Random, root: Path) -> None:
    name = rng.choice(list_recipes())
    keys = rng.sample(sorted(get_recipe(name).to_dict().items()), 6)
    document = mutate(tree({"detector": name, **dict(keys), "classes": ["a", "b"]}), rng, YAML)
    file = root / "recipe.yaml"
    file.write_bytes(to_bytes(as_yaml(document), rng))
    get_recipe(file)


def read_settings(rng: Random, root: Path) -> None:
    name, value = rng.choice(sorted(get_recipe("lite320").to_dict().items()))
    document = mutate(tree(value), rng, YAML)
    text = as_yaml(document).strip() if rng.random() < 0.8 else f"{value}{rng.choice(STRINGS)}"
    get_recipe("lite320", **parse_settings([f"{rng.choice((name, name, name, rng.choice(STRINGS)))}={text}"]))


def read_list_of_arms(rng: Random, root: Path) -> None:
    arms = [{}, {"name": "x", "box_loss": "ciou"}, {"strides": [8, 16, 32], "lr": 0.1, "classes": ["yes", "b"]}]
    file = root / "arms.yaml"
    file.write_bytes(to_bytes(as_yaml(mutate(tree(arms), rng, YAML)), rng))
    read_arms(file)


def read_detections(rng: Random, root: Path) -> None:
    file = root / "results.json"
    file.write_bytes(to_bytes(as_json(mutate(tree(RESULTS), rng)), rng))
    dataset = read_dataset(root / "sound", "train")
    detection_metrics(read_results(file, dataset), dataset, dataset.classes)


def read_list_of_corrections(rng: Random, root: Path) -> None:
    file = root / "corrections.json"
    file.write_bytes(to_bytes(as_json(mutate(tree(CORRECTIONS), rng)), rng))
    use(apply_corrections(read_corrections(file).corrections, read_dataset(root / "sound", "train")).dataset)


def read_own(rng: Random, root: Path) -> None:
    file = root / "own.json"
    document, read = rng.choice(((RECORD, read_record), (RESULT, read_result)))
    file.write_bytes(to_bytes(as_json(mutate(tree(document), rng)), rng))
    read(file)


KINDS: dict[str, tuple[Kind, int]] = {
    "coco": (read_coco, 3000),
    "voc": (read_voc, 2000),
    "yolo": (read_yolo, 1500),
    "others": (read_others, 1500),
    "check": (check, 500),
    "recipe": (read_recipe, 1000),
    "settings": (read_settings, 1500),
    "arms": (read_list_of_arms, 1000),
    "results": (read_detections, 1000),
    "corrections": (read_list_of_corrections, 1000),
    "own": (read_own, 1000),
}


class TooLong(BaseException):
    """An input that takes more than its seconds of processor time."""


def too_long(*_: object) -> None:
    raise TooLong


def fault_of(read: Kind, rng: Random, root: Path) -> str | None:
    """What an input leads to that it shouldn't; None where it is read, or refused as it should be."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        read(rng, root)
    except (DataError, RecipeError) as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        printable(str(error)).encode()
    except BaseException as error:  # TooLong too
        signal.setitimer(signal.ITIMER_PROF, 0)
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}: {str(error)[:100]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"{grown:.0f} MB" if grown > MEGABYTES else None


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_document_is_read_or_refused(kind: str, folder: Path) -> None:
    read, count = KINDS[kind]
    handler = signal.signal(signal.SIGPROF, too_long)
    faults: dict[str, list[int]] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BoxwrightWarning)
            for number in range(count):
                fault = fault_of(read, Random(f"{kind} {number}"), folder)
                if fault is not None:
                    faults.setdefault(fault.partition(": ")[0], []).append(number)
    finally:
        signal.signal(signal.SIGPROF, handler)
    assert not faults, "\n".join(f"{len(numbers)} x {fault}: {numbers[:5]}" for fault, numbers in faults.items())


def test_documents_are_the_same_each_time() -> None:
    def some() -> list[bytes]:
        return [to_bytes(as_json(mutate(tree(COCO), Random(seed), YAML)), Random(seed)) for seed in range(50)]

    assert some() == some()
    assert len(set(some())) > 40
    assert {str(odd(Random(seed))) for seed in range(2000)} >= {"", "NaN", "None", "[]"}

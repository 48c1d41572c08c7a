"""Data sets made to hurt: each is read, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright.check import check_dataset
from boxwright.data import read_dataset
from boxwright.errors import DataError
from dataset_builders import Box, voc_object, voc_xml, write_coco, write_text, write_voc, write_yolo

SOUND: list[Box] = [("dog", 10, 12, 40, 50)]
DEEP = "[" * 100_000 + "]" * 100_000


def coco(root: Path, old: str, new: str) -> None:
    write_coco(root, {"train": {"a.jpg": SOUND, "b.jpg": SOUND}}, ("dog",))
    path = root / "annotations" / "instances_train.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def voc(root: Path, data: bytes) -> None:
    write_voc(root, {"a": SOUND})
    (root / "Annotations" / "b.xml").write_bytes(data)


def yolo(root: Path, lines: str, config: str | None = None) -> None:
    write_yolo(root, {"train": {"a.jpg": SOUND, "b.jpg": SOUND}}, ("dog",), config=config)
    write_text(root / "train" / "labels" / "b.txt", lines)


def label_folder(root: Path) -> None:
    yolo(root, "")
    (root / "train" / "labels" / "b.txt").unlink()
    (root / "train" / "labels" / "b.txt").mkdir()


def huge(root: Path) -> None:
    write_voc(root, {"a": SOUND})
    extra = voc_object("dog", "-inf", 1, "inf", 2)
    text = voc_xml("a.jpg", [("dog", 1e300, 1, 2e300, 5)], size=(0, 0), extra=extra)
    write_text(root / "Annotations" / "a.xml", text)


# how it is made, kind of the first finding
CASES: list[tuple[Callable[[Path], None], str]] = [
    (lambda root: coco(root, '"id": 2001', f'"id": {2**70}'), "renumbered-ids"),
    (lambda root: coco(root, '"bbox": [10, 12, 30, 38]', '"bbox": [1e308, 1, 1e308, 5]'), "bad-number"),
    (lambda root: coco(root, '"iscrowd": 0', f'"segmentation": {DEEP}'), "unreadable-annotation"),
    (lambda root: coco(root, '"a.jpg"', '"a\\u0000.jpg"'), "missing-image"),
    (lambda root: coco(root, '"a.jpg"', '""'), "unreadable-image"),
    (lambda root: voc(root, b"<a>" * 100_000 + b"</a>" * 100_000), "missing-image"),
    (lambda root: voc(root, b'<?xml version="1.0" encoding="nonsense"?><annotation/>'), "unreadable-annotation"),
    (lambda root: voc(root, b'<?xml version="1.0" encoding="gbk"?><annotation/>'), "missing-image"),
    (lambda root: voc(root, b'<?xml version="1.0" encoding="zlib"?><annotation/>'), "unreadable-annotation"),
    (lambda root: voc(root, b'<?xml version="1.0" encoding="utf-7"?><annotation/>'), "unreadable-annotation"),
    (lambda root: voc(root, bytes(range(256))), "unreadable-annotation"),
    (huge, "outside-box"),
    (lambda root: yolo(root, "99999999999 .5 .5 .1 .1\n1e400 .5 .5 .1 .1\n"), "label-out-of-range"),
    (lambda root: yolo(root, "0 1e308 1e308 1e308 1e308\n", "names: [dog]\ntrain: train\n"), "bad-number"),
    (lambda root: yolo(root, "0 .5 .5 .1 .1", f"nc: {10**15}\ntrain: train\n"), "no-class-names"),
    (label_folder, "unreadable-annotation"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("make", "kind"), CASES, ids=[f"{kind}-{i}" for i, (_, kind) in enumerate(CASES)])
def test_nothing_breaks_reading_or_checking(tmp_path: Path, make: Callable[[Path], None], kind: str) -> None:
    make(tmp_path)
    report = check_dataset(tmp_path)
    json.dumps(report.to_json(), allow_nan=False)
    kinds = [finding.kind for finding in report.findings]
    assert kind in kinds
    said = ""
    try:
        read_dataset(tmp_path)
    except DataError as error:
        said = str(error)
    assert "\n" not in said

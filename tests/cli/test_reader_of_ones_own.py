"""``--reader``: the SQLite reader of examples/own_reader.py in every command, and code that nobody allowed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.runs import Run
from command_line import Boxwright

READER = ("--reader", "own_reader:read_sqlite")
TINY = [word for pair in ("image_size=64", "width=32", "batch_size=4", "freeze=4") for word in ("--set", pair)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Digits whose boxes are in a table, in the current folder beside their reader."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    shutil.copy(Path(__file__).parents[2] / "examples" / "own_reader.py", tmp_path)
    root = make_digits(tmp_path / "digits", images={"train": 12, "val": 4, "test": 3}, size=64)
    with closing(sqlite3.connect(root / "labels.db")) as database:
        database.execute("CREATE TABLE boxes (image, split, label, x, y, width, height)")
        for split in ("train", "val", "test"):
            _insert(database, bw.read_dataset(root, split))
        database.commit()
    (root / "annotations").rename(tmp_path / "annotations")
    yield Path("digits")
    sys.modules.pop("own_reader", None)


def _insert(database: sqlite3.Connection, dataset: bw.DetectionDataset) -> None:
    for row in range(len(dataset)):
        first, last = dataset.offsets[row : row + 2].tolist()
        boxes = [(dataset.classes[dataset.labels[box]], *dataset.xywh[box].tolist()) for box in range(first, last)]
        for values in boxes or [(None,) * 5]:
            row_of_box = (dataset.name(row), dataset.split, *values)
            database.execute("INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?, ?)", row_of_box)


def test_it_reads_what_a_built_in_reader_reads(data: Path, boxwright: Boxwright) -> None:
    ours = boxwright("check", data, *READER)
    assert ours.code == 0
    shutil.move("annotations", data)
    theirs = boxwright("check", data, "--reader", "coco")
    ours_by_split, theirs_by_split = (
        [line for line in done.out.splitlines() if " images; " in line] for done in (ours, theirs)
    )
    assert ours_by_split == theirs_by_split
    assert len(ours_by_split) == 3
    module = sys.modules["own_reader"]
    for split in ("train", "val"):
        read, coco = (bw.read_dataset(data, split, reader=reader) for reader in (module.read_sqlite, None))
        assert (read.boxes == coco.boxes).all()
        assert [*map(read.path, range(len(read)))] == [*map(coco.path, range(len(coco)))]


def test_what_goes_wrong_is_said_in_a_line(data: Path, boxwright: Boxwright) -> None:
    for reader, message in (
        ("own_reader:read", "the module own_reader has no read; there are read_sqlite"),
        ("own_reader:closing", "own_reader:closing is no reader: it declares nothing; declare it with @bw.reader()"),
        ("os:system", "os:system is no reader: it declares nothing"),
        ("no_such_file:read", "no module no_such_file: it is looked for in"),
        ("own_reader:read_sqlite:fil=x", "has no option 'fil'; did you mean 'file'"),
        ("cocoo", "unknown reader 'cocoo'; did you mean 'coco'"),
        ("yolo", "no YOLO data set found"),
        ("own_reader:read_sqlite:file=no.db", "reader own_reader:read_sqlite: OperationalError: unable to open"),
    ):
        done = boxwright("check", data, "--reader", reader)
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1


def test_the_file_that_is_read_is_never_replaced(data: Path, boxwright: Boxwright) -> None:
    done = boxwright("inspect", data, *READER, "--out", data / "labels.db", "--overwrite")
    assert done.code == 2
    assert (data / "labels.db").read_bytes().startswith(b"SQLite format 3")


@pytest.mark.slow
def test_every_command_takes_it(data: Path, boxwright: Boxwright) -> None:
    """Trained with a worker, resumed, evaluated, reviewed, corrected and compared in other processes."""
    done = boxwright("train", data, *READER, *TINY, "--steps", 4, "--workers", 1, "--out", "run")
    assert done.code == 0, done.err
    run = Run(Path("run"))
    assert run.recipe.reader == READER[1]
    assert run.record["training"]["code"]["reader"]["file"] == "own_reader.py"
    assert f"--set reader={READER[1]}" in run.record["origin"]["commands"][0]

    sys.modules.pop("own_reader")
    for command in (("eval", "run", data), ("train", data, "--resume", "run", "--steps", 6)):
        done = boxwright(*command)
        assert "reader is own_reader:read_sqlite, code of the module own_reader" in done.err
        assert done.code == 2
        assert "own_reader" not in sys.modules
    assert boxwright("train", data, "--resume", "run", "--steps", 6, "--allow-code", "own_reader").code == 0
    sys.modules.pop("own_reader")
    assert boxwright("eval", "run", data, "--allow-code", "own_reader").code == 0
    assert f"--reader {READER[1]}" in run.report_file("test").read_text(encoding="utf-8")
    assert boxwright("inspect", data, "--run", "run", "--images", 1).code == 0

    assert boxwright("hardest", data, "--run", "run", "--split", "val").code == 0
    assert json.loads(Path("run/hardest.json").read_text())["reader"] == READER[1]
    sys.modules.pop("own_reader")
    assert "--allow-code own_reader" in boxwright("hardest", data, "--apply", "run/hardest.json").err
    assert boxwright("hardest", data, "--apply", "run/hardest.json", *READER).code == 0

    arms = ("--vary", "box_loss=giou,iou", "--seeds", 1, "--steps", 2, "--out", "compared")
    done = boxwright("compare", data, *READER, *TINY, *arms)
    assert done.code == 0, done.out + done.err

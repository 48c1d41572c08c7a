"""What boxwright wrote, damaged, and given to every command that reads it: one line and exit code 2, or it is read."""

import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.runs import Run
from command_line import Boxwright
from damages import DAMAGES, is_one_line, within
from dataset_builders import write_coco, write_text, write_voc, write_yolo

COMMANDS = {
    "eval": "eval RUN DATA",
    "eval best": "eval RUN/best.ckpt DATA",
    "eval last": "eval RUN/last.ckpt DATA",
    "predict": "predict RUN DATA/images/test --out RUN/found",
    "predict best": "predict RUN/best.ckpt DATA/images/test --out RUN/found",
    "inspect": "inspect DATA --run RUN --images 1",
    "hardest": "hardest DATA --run RUN",
    "resume": "train DATA --resume RUN --epochs 2",
    "resume best": "train DATA --resume RUN/best.ckpt --epochs 2",
}
READ_BY = {
    "recipe.yaml": ("eval", "predict", "inspect", "hardest", "resume"),
    "data.json": ("eval", "resume"),
    "model.safetensors": ("eval", "predict", "inspect", "hardest"),
    "thresholds.json": ("eval", "predict", "inspect", "hardest"),
    "best.ckpt": ("eval best", "predict best", "resume best"),
    "last.ckpt": ("eval last", "resume"),
    "metrics.csv": ("eval", "resume"),
}
STILL_READ = {
    **{("recipe.yaml", command): {"UTF-16"} for command in READ_BY["recipe.yaml"]},
    ("metrics.csv", "eval"): set(DAMAGES),  # without the curves
    ("metrics.csv", "resume"): {"empty", "truncated", "list"},  # whole rows are kept
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("data") / "digits", images={"train": 2, "val": 1, "test": 1}, size=64)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = {"image_size": 64, "width": 16, "batch_size": 2, "epochs": 1, "pretrained": False, "freeze": 0}
    return bw.train(data, out=tmp_path_factory.mktemp("runs") / "run", console=Console(quiet=True), **options)


def copy_damaged(whole: Path, folder: Path, name: str, damage: str) -> None:
    """A run with a file damaged. Checkpoints are links: they are only ever replaced."""
    folder.mkdir()
    for path in whole.iterdir():
        if path.name == name:
            DAMAGES[damage](folder / name, path.read_bytes())
        else:
            os.link(path, folder / path.name)


@pytest.mark.parametrize(("name", "command"), [(name, command) for name in READ_BY for command in READ_BY[name]])
def test_a_damaged_file_of_a_run(
    data: Path, whole: Run, tmp_path: Path, boxwright: Boxwright, name: str, command: str
) -> None:
    read = set()
    for damage in DAMAGES:
        folder = tmp_path / damage
        copy_damaged(whole.folder, folder, name, damage)
        words = COMMANDS[command].replace("RUN", str(folder)).replace("DATA", str(data)).split()
        with within(60):
            outcome = boxwright(*words)
        if outcome.code == 0:
            read.add(damage)
        else:
            assert outcome.code == 2, (damage, outcome)
            assert is_one_line(outcome, name), (damage, outcome.err)
    assert read == STILL_READ.get((name, command), set())


OTHERS = {
    "found.json": (
        '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]',
        "eval FILE DATA",
        {"UTF-16", "list"},
    ),
    "corrections.json": ('{"split": "train", "corrections": []}', "hardest DATA --apply FILE", set()),
    "recipe.yaml": ("detector: lite320\nlr: 0.001\n", "recipe show FILE", {"UTF-16"}),
    "own.yaml": ("detector: lite320\nlr: 0.001\n", "inspect DATA --recipe FILE --images 0 --out RUN", {"UTF-16"}),
    "arms.yaml": ("[{lr: 0.001}, [lr, 3]]\n", "compare DATA --arms FILE", set()),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_damaged_file_that_a_command_is_given(data: Path, tmp_path: Path, boxwright: Boxwright, name: str) -> None:
    content, command, readable = OTHERS[name]
    read = set()
    for damage, spoil in DAMAGES.items():
        path = tmp_path / damage / name
        path.parent.mkdir()
        spoil(path, content.encode())
        words = command.replace("FILE", str(path)).replace("DATA", str(data)).replace("RUN", str(tmp_path / "run"))
        with within(60):
            outcome = boxwright(*words.split())
        if outcome.code == 0:
            read.add(damage)
        else:
            assert outcome.code == 2, (damage, outcome)
            assert is_one_line(outcome, name), (damage, outcome.err)
    assert read == readable


BOXES = [("cat", 1.0, 2.0, 30.0, 40.0)]
CONFIG = "train: train.txt\nval: images/val\nnames: [cat]\n"


def write_data(root: Path, layout: str) -> Path:
    """A data set whose splits stand in files of their own, as far as the layout has such."""
    if layout == "voc":
        return write_voc(root, {"a": BOXES, "b": BOXES}, {"train": ["a"], "val": ["b"]})
    splits = {"train": {"a.jpg": BOXES}, "val": {"b.jpg": BOXES}}
    if layout == "coco":
        return write_coco(root, splits, ["cat"])
    write_text(root / "train.txt", "./images/train/a.jpg\n")
    return write_yolo(root, splits, ["cat"], above=False, config=CONFIG)


@pytest.mark.parametrize("layout", ["voc", "coco", "yolo"])
def test_a_damaged_file_of_a_data_set(tmp_path: Path, boxwright: Boxwright, layout: str) -> None:
    """Is a finding, or the data set is refused in one line."""
    whole = write_data(tmp_path / "whole", layout)
    for file in [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]:
        for damage, spoil in DAMAGES.items():
            folder = tmp_path / f"{damage} {file.name}"
            shutil.copytree(whole, folder)
            (folder / file).unlink()
            spoil(folder / file, (whole / file).read_bytes())
            with within(60):
                outcome = boxwright("check", folder)
            assert outcome.code in (0, 1, 2), (file, damage, outcome)
            assert outcome.code < 2 or is_one_line(outcome, ""), (file, damage, outcome.err)

"""What boxwright wrote, damaged, and given to every command that reads it: one line and exit code 2, or it is read."""

import os
from pathlib import Path

import pytest
from rich.console import Console

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.runs import Run
from command_line import Boxwright
from damages import DAMAGES, is_one_line, within

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

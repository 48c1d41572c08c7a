"""Arguments are checked before a command imports what takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

from dataset_builders import write_coco

QUICK = """
import sys
from boxwright.cli.app import app
from boxwright.errors import BoxwrightError
try:
    app(sys.argv[1:], standalone_mode=False)
except BoxwrightError as error:
    print(error)
assert "torch" not in sys.modules and "lightning" not in sys.modules
"""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train nowhere", "nowhere: no such folder"),
        ("train . --resume nowhere", "no run or model at nowhere"),
        ("eval nowhere .", "no run or model at nowhere"),
        ("eval . nowhere", "nowhere: no such folder"),
        ("predict nowhere x.jpg", "no run or model at nowhere"),
        ("compare nowhere --vary lr=1,2", "nowhere: no such folder"),
        ("inspect nowhere", "nowhere: no such folder"),
        ("hardest nowhere --run .", "nowhere: no such folder"),
        ("hardest . --run nowhere", "no run or model at nowhere"),
    ],
)
def test_a_path_that_is_not_there_needs_no_torch(command: str, message: str) -> None:
    result = subprocess.run([sys.executable, "-c", QUICK, *command.split()], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train DATA --split nope", "no split 'nope'; there are test, train, val"),
        ("train DATA --val-split tset", "no split 'tset'; did you mean 'test'?"),
        ("train OTHER", "no data set found; "),
        ("eval RUN DATA --split nope", "no split 'nope'; there are test, train, val"),
        ("compare DATA --vary lr=1,2 --val-split nope", "no split 'nope'; there are test, train, val"),
        ("inspect DATA --split nope", "no split 'nope'; there are test, train, val"),
        ("hardest DATA --run RUN --split nope", "no split 'nope'; there are test, train, val"),
        ("hardest OTHER --run RUN", "no data set found; "),
    ],
)
def test_a_split_that_is_not_there_needs_no_torch(tmp_path: Path, command: str, message: str) -> None:
    write_coco(tmp_path / "data", {"train": {}, "val": {}, "test": {}}, [])
    for name in ("run", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text("detector: lite320")
    words = [str(tmp_path / word.lower()) if word.isupper() else word for word in command.split()]
    result = subprocess.run([sys.executable, "-c", QUICK, *words], check=True, capture_output=True, text=True)
    assert message in result.stdout
    assert len(result.stdout.splitlines()) == 1

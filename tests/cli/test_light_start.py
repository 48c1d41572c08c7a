"""What commands load: modules that take a second of processor time or more only where they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataset_builders import write_coco, write_picture
from tiny_runs import keep_tiny_run

# lightning brings torchmetrics, scipy and matplotlib along, torchvision and timm torch's compiler, and that sympy
SLOW = ("lightning", "torchmetrics", "matplotlib", "scipy", "timm", "torchvision", "torch._dynamo", "sympy")
PROGRAM = """
import sys
from boxwright.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded", *[name for name in {names} if name in sys.modules], file=sys.stderr)
"""


def loaded(*arguments: object) -> list[str]:
    """Which of torch and the slow modules a command has loaded when it ends well."""
    program = PROGRAM.format(names=("torch", *SLOW))
    ran = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)
    assert ran.stderr.splitlines(), ran.stdout
    first, *names = ran.stderr.splitlines()[-1].split()
    assert first == "loaded", ran.stderr
    return names


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["recipe", "show", "lite320"], ["recipe", "show", "ssd300"], ["start", "list"]],
)
def test_help_and_recipes_need_no_torch(arguments: list[str]) -> None:
    assert loaded(*arguments) == []


def test_parts_need_torch_alone() -> None:
    assert loaded("parts") == ["torch"]
    assert loaded("parts", "adamw") == ["torch"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keep_tiny_run(tmp_path_factory.mktemp("runs") / "run", ("cat", "dog")).folder


def test_predict_needs_torch_alone(run: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", 1)
    assert loaded("predict", run, tmp_path / "a.jpg", "--out", tmp_path / "out", "--save-images") == ["torch"]


def test_eval_needs_torch_alone(run: Path, tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"val": {"a.jpg": [("cat", 5, 5, 40, 40)]}}, ("cat", "dog"))
    assert loaded("eval", run, data, "--split", "val") == ["torch"]
    assert (run / "report-val.html").is_file()

"""docs/errors.md has a row for all that boxwright says to users, and no row for what it doesn't say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import boxwright as bw
from boxwright import errors
from boxwright.check.report import ERRORS, WARNINGS
from boxwright.errors import BoxwrightError
from command_line import Boxwright
from dataset_builders import write_coco
from tiny_runs import keep_tiny_run

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "boxwright"
_FINDINGS = "## Findings"
_ANY = "…"


def rows(text: str) -> list[str]:
    """The first cell of each row, without its code marks."""
    return re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)


MESSAGES, FINDINGS = map(rows, (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").split(_FINDINGS))


def pattern(row: str) -> re.Pattern[str]:
    """An ellipsis stands for anything; at the end of a row, for nothing too."""
    parts = re.split(f"{_ANY}+", row)
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


PATTERNS = {row: pattern(row) for row in MESSAGES}


def own_errors() -> set[str]:
    """The names of boxwright's errors, those of its modules too."""
    known = [value for value in vars(errors).values() if isinstance(value, type)]
    names = {value.__name__ for value in known if issubclass(value, BoxwrightError)}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in range(3):  # subclasses of subclasses
        names |= {each.name for each in classes if names & {getattr(base, "id", "") for base in each.bases}}
    return names


def shape(node: ast.expr) -> str:
    """What a message is written as, its values as ellipses."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else _ANY for part in node.values)
    if isinstance(node, ast.BinOp):
        return shape(node.left) + shape(node.right)
    return _ANY


def raised() -> Iterator[tuple[str, str]]:
    """Where an error is raised with a text, and the text's shape."""
    names = own_errors()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                made = node.exc.func
                if isinstance(made, ast.Name) and made.id in names:
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", shape(node.exc.args[0])


RAISED = list(raised())


def is_said(text: str) -> bool:
    """Tell whether a shape has words of its own: others pass on what was raised below them."""
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 1


def test_each_message_has_a_row() -> None:
    assert len(RAISED) > 350
    missing = [f"{place}: {text}" for place, text in RAISED if is_said(text) and not rows_of(text)]
    assert not missing, "\n".join(missing)


def test_each_row_is_said() -> None:
    texts = [text for _, text in RAISED]
    unsaid = [row for row, words in PATTERNS.items() if not any(words.fullmatch(text) for text in texts)]
    assert not unsaid, "\n".join(unsaid)
    assert len(MESSAGES) == len(set(MESSAGES))


def rows_of(text: str) -> list[str]:
    return [row for row, words in PATTERNS.items() if words.fullmatch(text)]


def test_each_kind_of_finding_has_a_row() -> None:
    assert sorted(FINDINGS) == sorted(ERRORS | WARNINGS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("errors")
    boxes = {split: {f"{split}.jpg": [("cat", 5, 5, 40, 40)]} for split in ("train", "val", "test")}
    write_coco(place / "data", boxes, ("cat", "dog"))
    keep_tiny_run(place / "run", ("cat", "dog"))
    (place / "empty").mkdir()
    (place / "file").write_text("text")
    (place / "mine.html").write_text("mine")
    (place / "found.json").write_text("[]")
    (place / "list.yaml").write_text("- a")
    return place


SAID = {  # a command, and how the row of its message begins
    "check nowhere": "…: no such folder",
    "check empty": "…: the folder is empty",
    "train data --split tarin": "…: no split …",
    "train data --classes cow": "…: no class …",
    "train data --set lrr=1": "unknown recipe key …",
    "train data --set lr": "Expected --set key=value",
    "train data --recipe lite32": "unknown recipe …",
    "train data --recipe list.yaml": "…: Expected recipe keys",
    "train data --set box_loss=gou": "unknown …",
    "train data --set box_loss=giou:a=1": "… … has no option …",
    "train data --set box_loss=no_such:loss": "no module …: it is looked for",
    "train data --epochs 1 --steps 1": "Expected one of --epochs, --minutes",
    "train data --out run --epochs 1": "… holds a run already: …",
    "train data --resume run": "can't resume …",
    "train data --resume nowhere": "no run or model at …",
    "train data --start nowhere": "no run, file or start …",
    "train data --folds 2 --split val": "--folds makes its own splits and runs",
    "train data --set image_size=-1": "Expected … but got …",
    "train data --group-by folder": "…: --group-by is for data without splits",
    "eval found.json data --nms iou": "--nms is for runs",
    "eval found.json data --set lr=1": "… has no meaning here",
    "eval file data": "… is no run folder…",
    "predict run nowhere.jpg": "no image at …",
    "predict nowhere data": "no run or model at …",
    "inspect data --run run --out mine.html": "… is there, and boxwright didn't write it",
    "inspect data --out data/annotations/instances_val.json": "… is read by this very command",
    "inspect data --seed 1": "--seed is the seed",
    "hardest data": "Expected --run RUN",
    "hardest data --apply file": "…: not a correction list",
    "push run nowhere": "Expected … but got …",
    "compare data --vary box_loss=giou": "Expected at least two arms",
    "export nowhere": "no run or model at …",
    "serve run": "… is a run: boxwright export",
    "predict ssdlite-person file": "the weights … are not here yet",
    "start fetch nano": "unknown …",
    "demo --out data/..": "… holds … already",
}


@pytest.mark.parametrize("line", SAID)
def test_a_row_is_what_a_command_says(
    line: str, made: Path, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright
) -> None:
    monkeypatch.chdir(made)
    code, out, err = boxwright(*line.split(), "--quiet")
    assert (code, out) == (2, "")
    said = err.removeprefix("boxwright: ").rstrip("\n")
    found = [each for each in MESSAGES if each.startswith(SAID[line])]
    row = min(found, key=len)
    assert PATTERNS[row].fullmatch(said), said


def test_a_python_call_says_the_same(made: Path) -> None:
    calls: dict[str, Any] = {
        "…: no split …": lambda: bw.read_dataset(made / "data", "tarin"),
        "unknown recipe …": lambda: bw.get_recipe("lite32"),
    }
    for row, call in calls.items():
        with pytest.raises(BoxwrightError) as caught:
            call()
        assert PATTERNS[row].fullmatch(str(caught.value))

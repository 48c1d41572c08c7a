"""--json and --quiet: every command has them, and prints the one object that docs/json.md says."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import msgspec
import numpy as np
import pytest
from typer.main import get_command

import boxwright as bw
from boxwright.cli import output
from boxwright.cli.app import app
from boxwright.compare.results.results import Comparison
from boxwright.evaluate import save_results
from boxwright.hardest.corrections import Corrections
from boxwright.reproduce.outcomes import Outcome
from boxwright.runs import Run
from boxwright.training.folds import Folds
from command_line import Boxwright
from dataset_builders import write_coco
from tiny_runs import keep_tiny_run

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
CHEAP = {
    "check": "check data",
    "train": "train data --out run2",
    "train --folds": "train data --folds 2",
    "eval": "eval found.json data",
    "predict": "predict run data/images/test",
    "push": "push run hf://me/cells",
    "demo": "demo",
    "compare": "compare data --vary box_loss=giou,ciou",
    "hardest": "hardest data --run run --top 2",
    "hardest --apply": "hardest data --apply list.json --out new.json --overwrite",
    "inspect": "inspect data --recipe small.yaml --images 1",
    "inspect --inputs": "inspect data --recipe small.yaml --inputs --images 1",
    "reproduce": "reproduce all",
    "recipe list": "recipe list",
    "recipe show": "recipe show lite320",
    "parts": "parts miner",
    "import torchvision": "import torchvision ssd300_vgg16",
    "start list": "start list",
    "start fetch": "start fetch nano416",
    "doctor": "doctor --no-speed",
}
SLOW = {
    "export": "export run --format torch --out exported --overwrite",
    "simulate": "simulate --losses iou --centers 1",
}


def documented() -> dict[str, set[str]]:
    rows = [line.split("|")[1:3] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {name.strip(" `"): set(re.findall("`(.+?)`", keys)) for name, keys in rows}


def leaves(command: Any, name: str = "") -> dict[str, set[str]]:
    """Options by the name of each command."""
    if not hasattr(command, "commands"):
        return {name: {option for each in command.params for option in each.opts}}
    found = [leaves(inner, f"{name} {word}".strip()) for word, inner in command.commands.items()]
    return {key: options for each in found for key, options in each.items()}


def test_every_command_has_both() -> None:
    commands = leaves(get_command(app))
    assert {name for name, options in commands.items() if "--quiet" not in options} == set()
    assert {name for name, options in commands.items() if "--json" not in options} == {"serve"}
    assert {name.partition(" --")[0] for name in CHEAP | SLOW} == commands.keys() - {"serve"}
    assert documented().keys() == (CHEAP | SLOW).keys()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("json")
    objects = [("cat", 5, 5, 40, 40)]
    splits = {split: {f"{split}-{i}.jpg": objects for i in range(3)} for split in ("train", "val", "test")}
    write_coco(place / "data", splits, ("cat", "dog"))
    keep_tiny_run(place / "run", ("cat", "dog"))
    test = bw.read_dataset(place / "data", "test")
    save_results(place / "found.json", [{"boxes": [[5, 5, 40, 40]], "scores": [0.9], "labels": [0]}] * 3, test)
    Corrections(split="train", classes=["cat", "dog"], corrections=[]).write(place / "list.json")
    (place / "small.yaml").write_text("detector: lite320\nimage_size: 64\nwidth: 16\npretrained: false\nfreeze: 0\n")
    return place


@pytest.fixture
def place(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands that would take minutes, or a network, get made-up results."""
    monkeypatch.chdir(made)
    run = Run(made / "run")
    comparison = {item.name: [] for item in fields(Comparison)} | {"facts": {"recommended": "a"}}
    stubs = {
        "boxwright.training.train": run,
        "boxwright.training.train_folds": Folds(made, (3, 3), ({"AP": 0.5}, {"AP": math.nan})),
        "boxwright.runs.pushing.push_run": SimpleNamespace(url="hf", files=("a",), measured=False),
        "boxwright.cli.demo.run_demo": (
            SimpleNamespace(metrics=SimpleNamespace(to_json=dict)),
            {"report": made, "pictures": made, "model": made},
        ),
        "boxwright.compare.compare": SimpleNamespace(
            facts=comparison["facts"], to_json=lambda: {**comparison, "headline": [], "means": {}}
        ),
        "boxwright.cli.compare.render_comparison": None,
        "boxwright.reproduce.reproduce": [Outcome("claim", "small", 1, low=-0.5, high=math.inf, verdict="confirmed")],
        "boxwright.runs.importing.import_weights": run,
        "boxwright.runs.starts.fetch_start": made,
    }
    for name, result in stubs.items():
        monkeypatch.setattr(name, lambda *_, result=result, **__: result)
    return made


def check_object(name: str, line: str, boxwright: Boxwright) -> None:
    def refuse(number: str) -> NoReturn:
        raise AssertionError(f"{number} is no JSON")

    code, out, err = boxwright(*line.split(), "--json", "--quiet")
    assert (code, err) == (0, "")
    content = json.loads(out, parse_constant=refuse)
    assert content.pop("generator") == f"boxwright {bw.__version__}"
    assert content.pop("command") == name.partition(" --")[0]
    keys = documented()[name]
    assert keys <= content.keys() if name == "eval" else keys == content.keys()
    plain = boxwright(*line.split(), "--quiet")
    assert plain.err == ""
    assert not plain.out.startswith("{")


@pytest.mark.parametrize("name", CHEAP)
def test_one_object_and_nothing_else(name: str, place: Path, boxwright: Boxwright) -> None:
    check_object(name, CHEAP[name], boxwright)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_one_object_of_what_takes_longer(name: str, place: Path, boxwright: Boxwright) -> None:
    check_object(name, SLOW[name], boxwright)


def test_notes_are_beside_the_object_and_none_if_quiet(place: Path, boxwright: Boxwright) -> None:
    done = boxwright("predict", "run", "data/images/test", "--json")
    assert json.loads(done.out)["looked_at"] == 3
    assert "data/images/test/test-0.jpg: " in done.err
    quiet = boxwright("predict", "run", "data/images/test", "--quiet")
    assert "test-0.jpg" not in quiet.out
    assert "the detections are in" in quiet.out


def test_quiet_names_what_was_left_out(place: Path, boxwright: Boxwright) -> None:
    (place / "broken.jpg").write_bytes(b"no image")
    done = boxwright("predict", "run", "broken.jpg", "data/images/test/test-0.jpg", "--out", "partly", "--quiet")
    assert done.code == 0
    assert done.out.startswith("left out: broken.jpg")
    assert done.out.count("broken.jpg") == 1


def test_an_error_has_no_object(place: Path, boxwright: Boxwright) -> None:
    code, out, err = boxwright("check", "nowhere", "--json", "--quiet")
    assert (code, out) == (2, "")
    assert "nowhere" in err


def test_of_several_processes_the_first_prints(
    place: Path, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert boxwright("recipe", "list", "--json") == (0, "", "")
    assert boxwright("recipe", "list") == (0, "", "")
    monkeypatch.setenv("RANK", "0")
    assert boxwright("recipe", "list").out


class Named(NamedTuple):
    a: Any


@dataclass
class Made:
    a: Any


class Structure(msgspec.Struct):
    a: Any


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.inf, None),
        (np.float32("nan"), None),
        (np.int64(3), 3),
        (np.array([[1.5, math.nan]]), [[1.5, None]]),
        (Path("a/b"), "a/b"),
        ({1: (2, True)}, {"1": [2, True]}),
        (Named(Path("x")), {"a": "x"}),
        (Made(Named(math.nan)), {"a": {"a": None}}),
        (Structure(1), {"a": 1}),
        ("caf\udce9 \u732b\x1b", "caf\udce9 \u732b\x1b"),
    ],
)
def test_values(value: Any, plain: Any) -> None:
    text = output.json_text({"value": value})
    assert json.loads(text) == {"value": plain}
    assert text.isascii()
    assert "\x1b" not in text

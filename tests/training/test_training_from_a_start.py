"""A training that starts from an earlier one: what it says and records, how it goes on, and that it is worth it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from same_end import assert_same_end
from small_network import SMALL_NETWORK

import boxwright as bw
from boxwright.cli.app import app
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.runs import Run
from boxwright.runs.assess import evaluate_run
from boxwright.training.checkpoints import AtomicCheckpoints

pytestmark = pytest.mark.slow

LITE = {"image_size": 64, "width": 32, "batch_size": 4, "precision": "float32"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 13, "val": 4}, size=64)


@pytest.fixture(scope="module")
def earlier(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("earlier") / "run"
    return train(digits, out, classes=["0", "1", "2", "3"], **SMALL_NETWORK)


def train(digits: Path, out: Path, **options: Any) -> Run:
    return bw.train(digits, out=out, console=Console(quiet=True), checkpoint_minutes=0, **options)


def test_it_says_and_records_what_it_took(digits: Path, earlier: Run, tmp_path: Path) -> None:
    said = Console(record=True, file=(tmp_path / "said").open("w"), width=300)
    out = tmp_path / "run"
    run = bw.train(digits, start=earlier.folder, classes=["3", "0", "7"], steps=1, out=out, console=said)
    text = said.export_text()
    assert f"start: {earlier.folder}: " in text
    assert "classes: 3, 0 kept; 7 new; 1, 2 of the start left out" in text
    assert run.recipe == earlier.recipe.replace(classes=["3", "0", "7"])
    assert run.record["training"]["start"] == str(earlier.folder)
    origin = run.record["origin"]
    assert origin["start"]["classes kept"] == ["3", "0"]
    assert origin["options"]["start"] == str(earlier.folder)
    assert f"--start {earlier.folder}" in origin["commands"][0]
    with safe_open(run.model_file, "pt") as file:
        assert file.metadata()["origin"] == str(earlier.folder)


def test_another_recipe_takes_what_fits(digits: Path, earlier: Run, tmp_path: Path) -> None:
    run = train(
        digits, tmp_path / "run", recipe="lite320", start=earlier.folder, steps=1, **{**SMALL_NETWORK, "width": 24}
    )
    assert run.recipe.width == 24
    assert all(name.startswith("net.head.") for name in run.record["origin"]["start"]["made anew"])
    with pytest.raises(RecipeError, match=r"nothing of .* fits lite320"):
        train(digits, tmp_path / "none", recipe="lite320", start=earlier.folder, steps=1, **LITE)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resumed_it_ends_as_one_that_never_stopped(digits: Path, earlier: Run, tmp_path: Path, optimizer: str) -> None:
    """Which layers came with the start is known from the run's record; the start itself is gone by then."""
    options = {
        "start": str(tmp_path / "start"),
        "classes": ["3", "0", "7"],
        "epochs": 2,
        "optimizer": optimizer,
        "layer_lr": "start=0.2,head.logits=2",
        "layer_delay": "backbone=0.4",
    }
    Run(tmp_path / "start").keep(earlier.load())
    whole = train(digits, tmp_path / "whole", **options)
    run = train(digits, tmp_path / "run", **{**options, "epochs": 1})
    (tmp_path / "start" / "model.safetensors").unlink()
    bw.train(digits, resume=run.folder, console=Console(quiet=True), epochs=2)
    assert [len(group["params"]) for group in groups_of(run)] == [len(group["params"]) for group in groups_of(whole)]
    assert [group["lr"] for group in groups_of(run)] == pytest.approx([group["lr"] for group in groups_of(whole)])
    assert run.record["origin"]["start"] == whole.record["origin"]["start"]
    with pytest.raises(RecipeError, match="start can't change when a run is resumed"):
        bw.train(digits, resume=run.folder, console=Console(quiet=True), start="other", epochs=3)


def groups_of(run: Run) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = torch.load(run.last_checkpoint, weights_only=True)["optimizer_states"][0][
        "param_groups"
    ]
    return groups


def dying_after(count: int) -> Callable[..., None]:
    """Checkpoints of which so many are written, and then no more."""
    save, left = AtomicCheckpoints.save_checkpoint, iter(range(count))

    def save_checkpoint(self: AtomicCheckpoints, *arguments: Any, **options: Any) -> None:
        if next(left, None) is None:
            raise ConnectionError("pulled the plug")
        save(self, *arguments, **options)

    return save_checkpoint


def test_killed_in_the_middle_it_goes_on_bit_for_bit(
    digits: Path, earlier: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"start": earlier.folder, "classes": ["3", "0", "7"]}
    options |= {"layer_lr": "start=0.3", "layer_delay": "start=0.3"}
    whole = train(digits, tmp_path / "whole", **options)
    for name, at in (("before the first checkpoint", 0), ("later", 2)):
        monkeypatch.setattr(AtomicCheckpoints, "save_checkpoint", dying_after(at))
        run = Run(tmp_path / name)
        with pytest.raises(ConnectionError):
            train(digits, run.folder, **options)
        monkeypatch.undo()
        bw.train(digits, resume=run.folder, console=Console(quiet=True))
        assert_same_end(run, whole)


def test_the_command(digits: Path, earlier: Run, tmp_path: Path) -> None:
    command = ["train", str(digits), "--steps", "1", "--out", str(tmp_path / "run"), "--start"]
    with pytest.raises(RecipeError, match="is no run folder"):
        app([*command, str(tmp_path)], standalone_mode=False)
    with pytest.raises(RecipeError, match="layer_lr: the network has no layer 'x'"):
        app([*command, str(earlier.folder), "--set", "layer_lr=x=1"], standalone_mode=False)
    app([*command, str(earlier.folder)], standalone_mode=False)
    assert Run(tmp_path / "run").recipe.backbone == earlier.recipe.backbone


def test_a_start_proves_itself(tmp_path: Path) -> None:
    """On other images with the classes in another order and one new, a third of the steps do for the ImageNet start."""
    images = {"train": 48, "test": 24}
    first, second = (make_digits(tmp_path / name, images=images, size=64, seed=seed) for seed, name in enumerate("ab"))
    options: dict[str, Any] = {**LITE, "val_split": None, "batch_size": 8, "freeze": 4}
    start = train(first, tmp_path / "start", classes=list("01234"), steps=150, **options)
    classes = list("417203")
    whole = train(second, tmp_path / "imagenet", classes=classes, steps=60, **options)
    slower: dict[str, Any] = {"start": start.folder, "layer_lr": "start=0.3", "val_split": None}
    third = train(second, tmp_path / "third", classes=classes, steps=20, **slower)
    ap, ap_of_third = (evaluate_run(run.folder, second, "test").metrics.AP for run in (whole, third))
    assert third.record["training"]["steps"] == 20
    assert ap_of_third >= ap > 0

"""What a training may start from is found and read, and what is none of it is refused in one line."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from boxwright.errors import MissingWeights, RecipeError
from boxwright.recipes import get_recipe
from boxwright.runs import Run
from boxwright.runs.checkpoints import write_checkpoint
from boxwright.runs.start import resolve_start, start_recipe
from boxwright.starts.cache import seal, start_folder
from tiny_runs import keep_tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return keep_tiny_run(tmp_path_factory.mktemp("runs") / "run", ["b", "ä"], depth_range="0,4000")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_run_brings_its_recipe_without_what_its_data_decided(run: Run) -> None:
    for given in (run.folder, str(run.folder), run.model_file):
        start = resolve_start(given)
        assert start.name == str(given)
        assert start.classes == ("b", "ä")
        assert start.weights.keys() == run.load().state_dict().keys()
        assert start.recipe == start_recipe(given) == run.recipe.replace(classes=(), depth_range="data")
        assert start.described == str(given)


def test_a_run_that_has_not_ended_starts_from_its_checkpoint(run: Run, tmp_path: Path) -> None:
    shutil.copy(run.recipe_file, tmp_path)
    with pytest.raises(RecipeError, match=r"can't start from .*: it has no model\.safetensors yet"):
        resolve_start(tmp_path)
    state = {f"detector.{name}": value + 1 for name, value in run.load().state_dict().items()}
    write_checkpoint(tmp_path / "last.ckpt", {"state_dict": state, "optimizer_states": [{"state": {0: {}}}]})
    for given in (tmp_path, tmp_path / "last.ckpt"):
        start = resolve_start(given)
        assert start.classes == ("b", "ä")
        assert all(torch.equal(value, state[f"detector.{name}"]) for name, value in start.weights.items())


def test_a_model_without_its_recipe_still_knows_its_classes(run: Run, tmp_path: Path) -> None:
    shutil.copy(run.model_file, tmp_path / "other.safetensors")
    start = resolve_start(tmp_path / "other.safetensors")
    assert (start.classes, start.recipe) == (("b", "ä"), None)


def test_origin_and_license_stand_in_the_model(run: Run, tmp_path: Path) -> None:
    kept = Run(tmp_path / "kept")
    kept.keep(run.load(), origin="somebody's detector", license="MIT")
    assert resolve_start(kept.folder).described == f"{kept.folder}, from somebody's detector, license MIT"


def test_a_name_is_a_fetched_start(run: Run, cache: Path) -> None:
    with pytest.raises(MissingWeights, match="boxwright start fetch nano416 gets them"):
        resolve_start("nano416")
    for name in ("nano416", "tf_efficientnet_lite1"):
        start_folder(name).mkdir(parents=True)
    shutil.copy(run.recipe_file, start_folder("nano416"))
    shutil.copy(run.model_file, start_folder("nano416"))
    backbone = start_folder("tf_efficientnet_lite1") / "model.safetensors"
    save_file({"net.backbone.x": torch.ones(2)}, backbone, {"license": "MIT"})
    seal("nano416")
    seal("tf_efficientnet_lite1")
    assert resolve_start("nano416").classes == ("b", "ä")
    assert resolve_start("tf_efficientnet_lite1").described == "tf_efficientnet_lite1, license MIT"
    assert start_recipe("tf_efficientnet_lite1") is None
    with pytest.raises(RecipeError, match="did you mean 'nano416'"):
        resolve_start("nano41")
    with pytest.raises(RecipeError, match=r"no run, file or start .*: give a run folder, .*\.pth"):
        resolve_start("../starts/nano416")


STATE = {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2)}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"model": STATE, "epoch": 3},
        {"state_dict": STATE, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2, 3)}}}},
        {"model": {name: value * 0 for name, value in STATE.items()}, "model_ema": STATE},
        {"checkpoint": {"ema": {"module": STATE}}},
    ],
)
def test_files_of_training_scripts_are_looked_through(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    start = resolve_start(tmp_path / "w.pt")
    assert {name: value.tolist() for name, value in start.weights.items()} == {k: v.tolist() for k, v in STATE.items()}
    assert (start.classes, start.recipe, start_recipe(tmp_path / "w.pt")) == ((), None, None)


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


def test_what_is_no_start_is_refused(run: Run, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "text.pth").write_text("text")
    (tmp_path / "cut.safetensors").write_bytes(run.model_file.read_bytes()[:900])
    torch.save({"model": Harm()}, tmp_path / "harm.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    save_file(STATE, tmp_path / "odd.safetensors", {"classes": json.dumps({"a": 1})})
    for name, message in {
        ".": r"is no run folder: it has no recipe\.yaml",
        "absent.pth": "no run, file or start",
        "text.pth": r"text\.pth holds no weights",
        "cut.safetensors": r"cut\.safetensors holds no model",
        "harm.pt": "beside tensors it has objects",
        "none.pt": "none.pt holds no weights: Expected tensors by name",
        "pipe.pt": "it is no file",
        "odd.safetensors": "its classes are no list of names",
    }.items():
        with pytest.raises(RecipeError, match=message) as error:
            resolve_start(tmp_path / name)
        assert "\n" not in str(error.value)
    assert not Path("harmed").exists()


def test_a_damaged_run_is_refused(run: Run, tmp_path: Path) -> None:
    shutil.copy(run.recipe_file, tmp_path)
    content = bytearray(run.model_file.read_bytes())
    content[-5] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(RecipeError, match="is damaged"):
        resolve_start(tmp_path)
    (tmp_path / "recipe.yaml").write_text("detector: [")
    with pytest.raises(RecipeError, match=r"recipe\.yaml is no valid YAML"):
        resolve_start(tmp_path)


def test_class_weights_by_name_stay_for_the_classes_to_come(tmp_path: Path) -> None:
    named = keep_tiny_run(tmp_path / "run", ["cat", "dog"], class_weights="cat=2")
    recipe = start_recipe(named.folder)
    assert recipe is not None
    assert recipe.replace(classes=["cat"]).weights_by_name() == {"cat": 2.0}
    with pytest.raises(RecipeError, match="class_weights: unknown class 'cat'"):
        recipe.replace(classes=["bird"]).weights_by_name()
    assert get_recipe("lite320").classes == ()

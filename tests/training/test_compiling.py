"""A compiled network trains as any other: the same end, the same names, resumed or not. The backend is torch's own code
here, so that nothing is built."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from safetensors import safe_open
from same_end import assert_same_end
from small_network import SMALL_NETWORK

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from boxwright.runs import Run
from boxwright.training import compiling
from boxwright.training.compiling import check_compilable
from boxwright.training.distributed import Ranks


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 9, "val": 2}, size=64)


@pytest.fixture(scope="module")
def plain(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(digits, tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")


def train(digits: Path, out: Path, **options: Any) -> Run:
    return bw.train(digits, out=out, **{"console": Console(quiet=True), "device": "cpu", **SMALL_NETWORK, **options})


class Stop(Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            raise OSError("the power went")


@pytest.mark.slow
def test_a_compiled_network_ends_as_any_other(digits: Path, tmp_path: Path, plain: Run) -> None:
    said = Console(record=True, file=(tmp_path / "said.txt").open("w"), width=200)
    run = train(digits, tmp_path / "run", compile=True, console=said)
    assert_same_end(run, plain)
    assert "a pass of the network, forward and backward, takes" in said.export_text()
    with safe_open(run.model_file, "pt") as model:
        assert not [name for name in model.keys() if "_orig_mod" in name]  # noqa: SIM118
    kept = torch.load(run.last_checkpoint, weights_only=True)
    assert not [name for name in kept["state_dict"] if "_orig_mod" in name]
    assert "--compile" in run.record["origin"]["commands"][0].split()


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
def test_a_run_is_resumed_with_it_or_without(digits: Path, tmp_path: Path, plain: Run, again: bool) -> None:
    with pytest.raises(OSError, match="the power went"):
        train(digits, tmp_path / "run", compile=True, checkpoint_minutes=0, callbacks=[Stop()])
    run = bw.train(digits, resume=tmp_path / "run", compile=again, console=Console(quiet=True))
    assert_same_end(run, plain)


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_what_to_do(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError("no C++ compiler\nand a long story")

    monkeypatch.setattr(compiling, "BACKEND", failing)
    message = r"torch can't compile the network here \(.*\): train without compile"
    with pytest.raises(RecipeError, match=message) as caught:
        train(digits, tmp_path / "run", compile=True)
    assert "long story" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "ranks", "message"),
    [
        ({"resize": "shortest"}, Ranks(), "resize=squash or resize=pad with compile"),
        ({}, Ranks(0, 2, 2), "one process with compile but got several"),
    ],
)
def test_what_a_compiled_network_is_not_for(options: dict[str, Any], ranks: Ranks, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_compilable(get_recipe("lite320", **options), ranks)

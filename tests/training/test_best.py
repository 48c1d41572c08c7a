"""The model is that of the best epoch, of those after which AP can be computed; without any, the last weights."""

import io
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from made_up_scores import make_up_ap
from rich.console import Console
from safetensors.torch import load_file

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.runs import Run
from boxwright.training.best import BestCheckpoint, EarlyStoppingOnAP, which_is_the_model

NAN = float("nan")
SETTINGS: dict[str, Any] = {"image_size": 64, "width": 32, "batch_size": 4, "freeze": 4}


def test_what_is_said() -> None:
    assert which_is_the_model(5, 2, True) == (
        "warning: AP could be computed after 3 of 5 epochs only: the model is the best of these"
    )
    assert which_is_the_model(5, 5, True).endswith("never be computed: the last averaged weights are the model")
    assert which_is_the_model(5, 5, False).endswith("the last weights are the model")


def test_patience_counts_epochs_with_ap_alone() -> None:
    patience = EarlyStoppingOnAP(2)
    patience._check_on_train_epoch_end = True
    trainer: Any = SimpleNamespace(should_stop=False, fast_dev_run=False, sanity_checking=False, current_epoch=0)
    trainer.state = SimpleNamespace(fn="fit")
    trainer.strategy = SimpleNamespace(reduce_boolean_decision=lambda stop, all: stop)
    stopped = []
    for ap in (NAN, NAN, NAN, 0.5, NAN, 0.4, NAN, NAN, 0.5):
        trainer.callback_metrics = {"AP": torch.tensor(ap)}
        patience.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
        stopped.append(trainer.should_stop)
    assert stopped == [False] * 8 + [True]


def test_an_epoch_without_ap_is_not_the_best_even_as_the_first(tmp_path: Path) -> None:
    best, trainer = BestCheckpoint(tmp_path / "best.ckpt"), L.Trainer(logger=False, accelerator="cpu")
    assert [best.check_monitor_top_k(trainer, ap) for ap in (torch.tensor(NAN), None, torch.tensor(0.0))] == [
        *(False, False, True),
    ]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 5, "val": 2}, size=64)


def train(
    digits: Path, out: Path, aps: Iterable[float], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[Run, str]:
    make_up_ap(monkeypatch, iter(aps))
    console = Console(record=True, width=300, file=io.StringIO())
    return bw.train(digits, out=out, console=console, **{**SETTINGS, **options}), console.export_text()


def epoch_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


@pytest.mark.slow
def test_epochs_without_ap_are_never_the_best(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, said = train(digits, tmp_path / "a", [NAN, 0.1, 0.3, NAN], monkeypatch, epochs=4)
    assert epoch_of(run.best_checkpoint) == 2
    best = torch.load(run.best_checkpoint, weights_only=True)["state_dict"]
    for name, value in load_file(run.model_file).items():
        torch.testing.assert_close(best[f"detector.{name}"], value)
    assert run.thresholds == bw.load(run.best_checkpoint).thresholds
    assert "AP could be computed after 2 of 4 epochs only" in said


@pytest.mark.slow
def test_without_any_ap_the_last_averaged_weights_are_the_model(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = train(digits, tmp_path / "a", [NAN] * 3, monkeypatch, epochs=3, patience=1)
    assert said.count("epoch  ") == 3  # patience counts none of them
    assert not run.best_checkpoint.exists()
    last = torch.load(run.last_checkpoint, weights_only=True)
    assert last["epoch"] == 2
    for name, value in load_file(run.model_file).items():
        torch.testing.assert_close(last["state_dict"][f"detector.{name}"], value)
    assert run.thresholds == bw.load(run.last_checkpoint).thresholds
    assert "AP could never be computed: the last averaged weights are the model" in said

"""Which device a run takes, and that Lightning trains on one that it doesn't know as on its own."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from same_end import assert_same_end
from small_network import SMALL_NETWORK

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.training import accelerators
from boxwright.training.accelerators import XpuAccelerator, device_options
from boxwright.training.distributed import Ranks
from boxwright.training.options import RunOptions


@pytest.mark.parametrize(
    ("here", "asked", "taken"),
    [
        (None, "auto", "cpu"),
        ("cuda", "auto", "cuda"),
        ("xpu", "auto", "xpu"),
        ("mps", "auto", "cpu"),
        ("cuda", "cpu", "cpu"),
        ("cuda", "cuda", "cuda"),
        ("xpu", "xpu", "xpu"),
    ],
)
def test_the_device_taken(monkeypatch: pytest.MonkeyPatch, here: str | None, asked: str, taken: str) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: here is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: here and torch.device(here))
    assert RunOptions(device=asked).accelerator() == taken


@pytest.mark.parametrize(
    ("here", "asked", "message"),
    [
        ("cuda", "xpu", "device xpu is not available here"),
        ("xpu", "cuda", "device cuda is not available here"),
        ("cpu", "cuda", "device cuda is not available here"),
        ("mps", "mps", "no float64.* take device=cpu"),
        ("cpu", "tpu", "device to be one of auto, cpu, cuda, xpu, mps but got 'tpu'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, here: str, asked: str, message: str
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: here != "cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(here))
    with pytest.raises(RecipeError, match=message):
        RunOptions(device=asked).accelerator()


def test_lightning_is_told() -> None:
    assert device_options("cuda", Ranks()) == {"accelerator": "cuda", "devices": 1}
    assert device_options("xpu", Ranks())["strategy"].root_device == torch.device("xpu", 0)
    with pytest.raises(RecipeError, match="one process on xpu"):
        device_options("xpu", Ranks(0, 2, 2))


@pytest.mark.slow
def test_a_device_that_lightning_does_not_know_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = make_digits(tmp_path / "digits", images={"train": 5, "val": 2}, size=64)
    options = {**SMALL_NETWORK, "epochs": 1, "device": "cpu"}
    plain = bw.train(digits, out=tmp_path / "plain", console=Console(quiet=True), **options)
    asked: list[str] = []
    monkeypatch.setattr(XpuAccelerator, "kind", "cpu")
    monkeypatch.setattr(accelerators.torch.cpu, "set_device", lambda device: asked.append(str(device)))
    other = bw.train(digits, out=tmp_path / "other", console=Console(quiet=True), **options)
    assert asked == ["cpu:0"]
    assert_same_end(other, plain)

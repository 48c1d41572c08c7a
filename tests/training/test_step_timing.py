"""A step is timed in float32 and in bf16 by a clock of the test, leaves no trace, and is remembered."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from small_network import SMALL_NETWORK
from torch import Tensor, nn

import boxwright as bw
from boxwright._util import turns
from boxwright.demo_data import make_digits
from boxwright.models import Detector
from boxwright.recipes.criterion import build_criterion
from boxwright.runs import Run
from boxwright.training import precision, step_timing
from boxwright.training.step_timing import StepSeconds, checked_seconds, remembered_step, time_step


class Clock:
    """Each step takes 3 seconds in float32 and 1 in bf16."""

    now = 0.0
    steps = 0

    def __call__(self) -> float:
        return self.now

    def __deepcopy__(self, memo: object) -> Clock:
        return self  # of a copied network's hook too

    def step(self, module: nn.Module, inputs: object) -> None:
        self.now += 1.0 if torch.is_autocast_enabled("cpu") else 3.0
        self.steps += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    made = Clock()
    monkeypatch.setattr(turns, "clock", made)
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))
    return made


def made(clock: Clock | None = None, name: str = "lite320", **options: object) -> tuple[Detector, nn.Module]:
    torch.manual_seed(0)
    detector = bw.create_detector(name, 3, **{**SMALL_NETWORK, **options}).train()
    if clock is not None:
        detector.net.register_forward_pre_hook(clock.step)
    return detector, build_criterion(detector.recipe)


def test_both_are_timed_in_turns(clock: Clock) -> None:
    assert time_step(*made(clock), (64, 64), 2) == StepSeconds(3.0, 1.0)
    assert clock.steps == 2  # the second turn would be beyond a few seconds


class DrawingCriterion(nn.Module):
    """Draws and counts, as a random miner of somebody's own may."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, *parts: object) -> object:
        self.calls += torch.rand(()) + 1
        return self.inner(*parts)


def test_nothing_is_disturbed(clock: Clock) -> None:
    detector, criterion = made(norm_mode="train")
    criterion = DrawingCriterion(criterion)
    before = copy.deepcopy({**detector.state_dict(), **criterion.state_dict()})
    generators = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    time_step(detector, criterion, (64, 64), 2)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert np.array_equal(np.random.get_state()[1], generators[1])  # noqa: NPY002
    assert random.getstate() == generators[2]
    after = {**detector.state_dict(), **criterion.state_dict()}
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(weight.grad is None for weight in detector.parameters())
    assert detector.training


@pytest.mark.parametrize("name", ["faster-rcnn", "unitbox"])
def test_inputs_of_any_shape(clock: Clock, name: str) -> None:
    small = {"backbone": "tf_efficientnet_lite0", "pretrained": False, "freeze": 0, "norm_mode": "train", "width": 16}
    detector = bw.create_detector(name, 2, image_size=64, resize="shortest", **small)
    detector.net.register_forward_pre_hook(clock.step)
    assert time_step(detector, build_criterion(detector.recipe), (64, 96), 2) == StepSeconds(3.0, 1.0)


def test_it_is_remembered_for_the_same_step_alone(clock: Clock) -> None:
    for _ in range(2):
        assert remembered_step(*made(clock), (64, 64), 4) == StepSeconds(3.0, 1.0)
        assert clock.steps == 2
    for batch, side, options in ((8, 64, {}), (4, 128, {}), (4, 64, {"width": 32}), (4, 64, {"norm_mode": "group"})):
        before = clock.steps
        remembered_step(*made(clock, **options), (side, side), batch)
        assert clock.steps > before


def test_other_threads_are_another_step(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered_step(*made(clock), (64, 64), 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    remembered_step(*made(clock), (64, 64), 4)
    assert clock.steps == 4


@pytest.mark.parametrize("value", [{}, {"float32": 1.0}, {"float32": 1.0, "bf16": float("nan")}, [1.0, 2.0], "x",
                                   {"float32": 0.0, "bf16": 1.0}, {"float32": "1", "bf16": 1.0}, None])  # fmt: skip
def test_what_is_no_time_is_timed_anew(clock: Clock, tmp_path: Path, value: object) -> None:
    remembered_step(*made(clock), (64, 64), 4)
    (file,) = (tmp_path / "cache").rglob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"value": value}))
    assert checked_seconds(value) is None
    assert remembered_step(*made(clock), (64, 64), 4) == StepSeconds(3.0, 1.0)
    assert clock.steps == 4


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 9, "val": 2}, size=64)


def trained(digits: Path, out: Path, capsys: pytest.CaptureFixture[str], **options: object) -> tuple[Run, str]:
    run = bw.train(digits, out=out, console=Console(width=200), **options)
    return run, capsys.readouterr().out


def weights_of(run: Run) -> dict[str, Tensor]:
    return torch.load(run.last_checkpoint, weights_only=True)["current_model_state"]


@pytest.mark.slow
def test_a_run_says_records_and_keeps_what_was_timed(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it goes on too, on a machine that now would choose otherwise; and to time changes no weight."""
    monkeypatch.setattr(precision, "environment", lambda: {"cpu_flags": ["amx_bf16"]})
    monkeypatch.setattr(step_timing, "time_step", lambda *_: StepSeconds(3.0, 2.0))
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))
    run, said = trained(digits, tmp_path / "auto", capsys, **SMALL_NETWORK)
    assert "bf16 on cpu: 1.5x float32 here (timed)" in said
    assert run.record["training"]["precision"] == "bf16"
    assert run.record["training"]["CPU seconds of a step"] == {"float32": 3.0, "bf16": 2.0}
    asked, _ = trained(digits, tmp_path / "asked", capsys, **SMALL_NETWORK, precision="bf16")
    for name, value in weights_of(run).items():
        assert torch.equal(value, weights_of(asked)[name])
    monkeypatch.setattr(step_timing, "time_step", lambda *_: StepSeconds(1.0, 2.0))
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "empty"))
    _, said = trained(digits, None, capsys, resume=run.folder, epochs=3)
    assert "bf16 on cpu: as the run began" in said
    assert run.record["training"]["CPU seconds of a step"] == {"float32": 3.0, "bf16": 2.0}


def test_real_steps_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the process's own clock, whatever it says."""
    monkeypatch.setattr(turns, "clock", turns.time.process_time)
    detector, criterion = made()
    assert all(seconds > 0 for seconds in time_step(detector, criterion, (64, 64), 1))

"""One run: what arms share, that it goes on where it stopped, and that its failure is a result."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from safetensors.torch import save_file

import boxwright as bw
from boxwright.compare.results.results import METRICS, RunResult
from boxwright.compare.run import execute as execution
from boxwright.compare.run.execute import Pulse, execute, initial_weights
from boxwright.compare.run.jobs import Job, failed, read_result, write_result
from boxwright.data import read_dataset
from boxwright.errors import RecipeError
from boxwright.models import build_detector
from boxwright.runs import Run
from boxwright.runs.splits import split_file_for
from comparison_builders import job, recipe

QUIET = Console(quiet=True)


class Watcher(Callback):
    """The batches of a training, and the weights that it began with."""

    def __init__(self) -> None:
        self.batches: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.weights = {name: value.clone() for name, value in pl_module.detector.state_dict().items()}

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, _: int) -> None:
        self.batches.append((batch.images.clone(), batch.targets.boxes.clone()))


def watched(monkeypatch: pytest.MonkeyPatch, one: Job) -> Watcher:
    watcher, train = Watcher(), execution.train
    monkeypatch.setattr(execution, "train", lambda *a, callbacks, **k: train(*a, callbacks=[*callbacks, watcher], **k))
    result = execute(one)
    monkeypatch.setattr(execution, "train", train)
    assert not result.failed, result.failed
    return watcher


@pytest.mark.slow
def test_arms_share_batches_and_initial_weights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {
        "giou": recipe(),
        "ciou": recipe(box_loss="ciou", class_loss="varifocal"),
        "delta": recipe(box_loss="smooth_l1", coder="delta"),  # a head of another shape
    }
    seen = {name: watched(monkeypatch, job(data, tmp_path / name, arm)) for name, arm in arms.items()}
    other = watched(monkeypatch, job(data, tmp_path / "other", recipe(), seed=1))
    first = seen["giou"]
    assert len(first.batches) == 5
    for name, watcher in seen.items():
        for mine, theirs in zip(first.batches, watcher.batches, strict=True):
            assert torch.equal(mine[0], theirs[0]), name
            assert torch.equal(mine[1], theirs[1]), name
        same = [key for key, value in watcher.weights.items() if value.shape == first.weights[key].shape]
        assert len(same) >= len(first.weights) - 6
        for key in same:
            assert torch.equal(first.weights[key], watcher.weights[key]), (name, key)
    assert not torch.equal(first.batches[0][0], other.batches[0][0])
    assert not torch.equal(first.weights["net.head.laterals.0.0.weight"], other.weights["net.head.laterals.0.0.weight"])


def test_a_run_with_a_start_begins_with_that(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    L.seed_everything(7, verbose=False)
    start = tmp_path / "start.safetensors"
    kept = {name: value.contiguous() for name, value in build_detector(recipe(), pretrained=False).state_dict().items()}
    save_file(kept, start)
    began = watched(monkeypatch, replace(job(data, tmp_path / "run", recipe()), start=str(start), steps=1)).weights
    drawn = initial_weights(recipe(), 0)
    taken = [name for name in drawn if "laterals" in name and name.endswith("weight") and drawn[name].ndim == 4]
    assert taken
    for name in taken:
        assert torch.equal(began[name], kept[name]), name
        assert not torch.equal(began[name], drawn[name]), name


def test_a_run_keeps_the_splits_that_it_was_given(data: Path, tmp_path: Path) -> None:
    """Whoever takes it on, by ``eval`` or ``export``, gets the images that it has not learned."""
    parts = {split: read_dataset(data, split) for split in ("train", "val")}
    names = {split: sorted(map(each.name, range(len(each)))) for split, each in parts.items()}
    swapped = {"train": names["val"], "val": names["train"]}
    (tmp_path / "swapped.json").write_text(json.dumps({"splits": swapped}))
    one = replace(job(data, tmp_path / "run", recipe()), split_file=str(tmp_path / "swapped.json"), steps=1)
    assert not execute(one).failed
    kept = Run(one.folder).split_file
    assert {split: sorted(images) for split, images in json.loads(kept.read_text())["splits"].items()} == swapped
    assert split_file_for(Run(one.folder), data) == kept


def test_without_the_baselines_weights_another_head_would_start_elsewhere() -> None:
    """What ``initial_weights`` is for: draws after the first layer of another shape differ."""
    L.seed_everything(0, verbose=False)
    own = build_detector(recipe(box_loss="smooth_l1", coder="delta"), pretrained=False).state_dict()
    shared = initial_weights(recipe(), 0)
    assert not any(name.startswith("net.backbone.") for name in shared)
    same_shape = [name for name, value in shared.items() if own[name].shape == value.shape]
    assert any(not torch.equal(own[name], shared[name]) for name in same_shape)


@pytest.mark.slow
def test_a_finished_run_is_not_run_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = job(data, tmp_path / "a", recipe())
    result = execute(one)
    assert one.finished
    assert result.steps == 5
    assert result.metrics.keys() == set(METRICS)
    assert result.per_class.keys() == set("0123456789")
    assert result.images_per_second > 0
    assert result.peak_memory_mb > 100
    assert one.detections_file.is_file()
    monkeypatch.setattr(execution, "train", None)  # would be called
    again = execute(one)
    assert again.seconds == result.seconds


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint_and_ends_as_one_that_never_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = job(data, tmp_path / "whole", recipe(), steps=6)
    execute(whole)

    class Stop(Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step == 5:
                raise KeyboardInterrupt

    stopped, train = job(data, tmp_path / "stopped", recipe(), steps=6), execution.train
    monkeypatch.setattr(execution, "train", lambda *a, callbacks, **k: train(*a, callbacks=[*callbacks, Stop()], **k))
    with pytest.raises(KeyboardInterrupt):  # Lightning makes an exit of it
        execute(stopped)
    assert not stopped.finished
    assert (stopped.folder / "last.ckpt").is_file()  # of the first epoch's end, four steps
    monkeypatch.setattr(execution, "train", train)
    execute(stopped)
    weights = [(each.folder / "model.safetensors").read_bytes() for each in (whole, stopped)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_what_cannot_go_on_starts_anew(data: Path, tmp_path: Path) -> None:
    one = job(data, tmp_path / "a", recipe(), steps=2)
    execute(one)
    assert not (one.folder / "last.ckpt").exists()  # most of a folder, and of no use to a finished run
    for left in ("result.json", "model.safetensors"):
        (one.folder / left).unlink()
    assert not execute(one).failed
    (one.folder / "result.json").unlink()
    (one.folder / "model.safetensors").unlink()
    # Finished, and then killed before the model was kept
    bw.train(read_dataset(data, "train"), recipe(), steps=2, val_split=None, out=tmp_path / "b", console=QUIET)
    shutil.copy(tmp_path / "b" / "last.ckpt", one.folder)
    shutil.copy(tmp_path / "b" / "data.json", one.folder)
    assert not execute(one).failed
    assert (one.folder / "model.safetensors").is_file()


def test_failure_is_a_result_and_is_tried_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, calls = job(data, tmp_path / "a", recipe()), []

    def broken(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise RuntimeError("out of luck")

    monkeypatch.setattr(execution, "train", broken)
    for _ in range(2):
        result = execute(one)
        assert result.failed == "RuntimeError: out of luck"
        assert not one.finished
    assert len(calls) == 2
    assert "out of luck" in (one.folder / "failure.txt").read_text()


def test_results_read_back(tmp_path: Path) -> None:
    metrics = {name: float("nan") if name == "APl" else 0.5 for name in METRICS}
    result = RunResult("a", 1, metrics, {"x": {"AP": 0.5}}, {}, 1.0, 2.0, 3.0, 4)
    write_result(tmp_path / "result.json", result)
    again = read_result(tmp_path / "result.json")
    assert again is not None
    assert again.metrics["AP"] == 0.5
    assert again.metrics["APl"] != again.metrics["APl"]
    assert read_result(tmp_path / "nothing.json") is None
    (tmp_path / "half.json").write_text(json.dumps({"arm": "a"}))
    with pytest.raises(RecipeError, match=r"half\.json is damaged.*: remove it, and the same command"):
        read_result(tmp_path / "half.json")
    assert failed(job(tmp_path, tmp_path, recipe()), "why").failed == "why"


def test_a_pulse_is_written_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = job(tmp_path, tmp_path, recipe())
    pulse = Pulse(one.progress_file)
    assert one.steps_done == 0
    pulse.beat(3)
    pulse.beat(4)  # too soon
    assert one.steps_done == 3

    class Gone:
        def is_alive(self) -> bool:
            return False

    monkeypatch.setattr(execution.multiprocessing, "parent_process", Gone)
    with pytest.raises(KeyboardInterrupt):
        Pulse(one.progress_file).beat(5)
    shutil.rmtree(tmp_path)

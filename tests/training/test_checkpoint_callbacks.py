"""What a checkpoint brings back: the clock, the best score so far, and what a step draws."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.evaluate import Thresholds
from boxwright.runs.checkpoints import write_checkpoint
from boxwright.training import schedule
from boxwright.training.best import BestCheckpoint
from boxwright.training.callbacks import Clock
from boxwright.training.checkpoints import Position, fitting_weights, read_position
from boxwright.training.module import TrainingModule
from boxwright.training.schedule import Progress
from tiny_runs import SMALL


def test_the_clock_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now[0])
    before, after = (Clock(Progress(minutes=1.0)) for _ in range(2))
    trainer: Any = SimpleNamespace(global_step=7, world_size=1, should_stop=False)
    before.on_train_start(trainer, None)  # type: ignore[arg-type]
    now[0] += 40
    after.load_state_dict(before.state_dict())
    now[0] += 1000  # until it is resumed
    after.on_train_start(trainer, None)  # type: ignore[arg-type]
    assert after.progress.elapsed == 40
    assert after.progress.done == pytest.approx(40 / 60)
    now[0] += 20
    after.on_train_batch_end(trainer)
    assert trainer.should_stop


def test_processes_agree_on_the_time_every_tenth_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule.time, "monotonic", lambda: 0.0)
    agreed: list[float] = []
    clock = Clock(Progress(minutes=1.0))
    strategy = SimpleNamespace(broadcast=lambda mine: agreed.append(mine) or 30.0)
    trainer: Any = SimpleNamespace(global_step=0, world_size=2, should_stop=False, strategy=strategy)
    clock.on_train_start(trainer, None)  # type: ignore[arg-type]
    done = []
    for step in range(1, 22):
        trainer.global_step = step
        clock.on_train_batch_end(trainer)
        done.append(clock.progress.done)
    assert len(agreed) == 2
    assert done == [0.0] * 9 + [0.5] * 12


def test_thresholds_are_kept_with_the_weights_that_were_validated() -> None:
    module = TrainingModule(bw.create_detector("lite320", 1, **SMALL), nn.Identity(), Progress(steps=1))
    module.thresholds = Thresholds.unmeasured(("a",), 0.3)
    at_its_end: dict[str, Any] = {}
    module.on_save_checkpoint(at_its_end)
    assert at_its_end["thresholds"]["classes"]["a"]["score"] == 0.3
    module.on_train_epoch_start()
    within_the_next: dict[str, Any] = {}
    module.on_save_checkpoint(within_the_next)
    assert not within_the_next


def test_a_step_draws_by_seed_rank_epoch_and_batch() -> None:
    places = [(seed, rank, epoch, batch) for seed in (0, 1) for rank in (0, 1) for epoch in (0, 1) for batch in (0, 1)]
    draws = set()
    for seed, rank, epoch, batch in [*places, *places]:
        module: Any = SimpleNamespace(seeds=(seed, rank), current_epoch=epoch, device=torch.device("cpu"))
        TrainingModule.on_train_batch_start(module, None, batch)  # type: ignore[arg-type]
        draws.add(torch.rand(1).item())
    assert len(draws) == len(places)


def test_the_best_score_outlives_a_move_of_the_folder(tmp_path: Path) -> None:
    there, here = (BestCheckpoint(tmp_path / name / "best.ckpt") for name in ("there", "here"))
    there.best_model_score = there.kth_value = torch.tensor(0.5)
    there.best_model_path = there.kth_best_model_path = str(tmp_path / "there" / "best.ckpt")
    there.best_k_models = {there.best_model_path: torch.tensor(0.5)}
    here.load_state_dict(there.state_dict())
    path = str(tmp_path / "here" / "best.ckpt")
    assert (here.best_model_path, here.kth_best_model_path) == (path, path)
    assert here.best_k_models == {path: torch.tensor(0.5)}
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool))
    assert not here.check_monitor_top_k(trainer, torch.tensor(0.4))
    assert here.check_monitor_top_k(trainer, torch.tensor(0.6))


def content(**more: Any) -> dict[str, Any]:
    """What Lightning writes, as far as it is read."""
    batches = {"current": {"ready": 3, "completed": 3, "started": 3, "processed": 3}}
    epochs = {"current": {"ready": 2, "completed": 1, "started": 2, "processed": 1}}
    return {
        "loops": {"fit_loop": {"epoch_progress": epochs, "epoch_loop.batch_progress": batches}},
        "global_step": 8,
        "callbacks": {"Clock": {"elapsed": 2.5}, "EarlyStopping{'monitor': 'AP'}": {"wait_count": 4}},
        "state_dict": {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)},
        **more,
    }


def test_position(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.ckpt", content())
    found = read_position(tmp_path / "x.ckpt")
    assert found == Position(1, 3, 8)
    assert (found.elapsed, found.waited) == (2.5, 4)


def test_position_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    """Its batches are still counted there, and none of the next one is done."""
    ended = content()
    ended["loops"]["fit_loop"]["epoch_progress"]["current"] = {"ready": 2, "completed": 1, "started": 2, "processed": 2}
    write_checkpoint(tmp_path / "x.ckpt", ended)
    assert read_position(tmp_path / "x.ckpt") == Position(2, 0, 8)


@pytest.mark.parametrize(
    "wrong",
    [{"global_step": "8"}, {"callbacks": {}}, {"callbacks": {"Clock": {"elapsed": "x"}}}, {"loops": []}, {"loops": {}}],
)
def test_a_checkpoint_of_something_else(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write_checkpoint(tmp_path / "x.ckpt", content(**wrong))
    with pytest.raises(RecipeError, match="is no checkpoint of a training that can go on"):
        read_position(tmp_path / "x.ckpt")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.ckpt", content())
    assert fitting_weights(tmp_path / "x.ckpt", nn.Linear(3, 2)).keys() == {"weight", "bias"}
    for other in (nn.Linear(3, 4), nn.Linear(3, 2, bias=False), nn.Conv2d(3, 2, 1)):
        with pytest.raises(RecipeError, match=r"x\.ckpt does not fit the run's recipe\.yaml"):
            fitting_weights(tmp_path / "x.ckpt", other)
    write_checkpoint(tmp_path / "x.ckpt", {"state_dict": 3})
    with pytest.raises(RecipeError, match="does not fit"):
        fitting_weights(tmp_path / "x.ckpt", nn.Linear(3, 2))

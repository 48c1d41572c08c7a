"""The rows of metrics.csv: which steps have one, and that reading them late changes none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.training.curves import Curves
from boxwright.training.late import Late
from boxwright.training.module import TrainingModule

Rows = list[tuple[int, dict[str, float]]]


def trainer_with(rows: Rows) -> Any:
    logger = SimpleNamespace(log_metrics=lambda values, step: rows.append((step, values)), save=lambda: None)
    return SimpleNamespace(global_step=0, should_stop=False, is_last_batch=False, current_epoch=0, loggers=[logger])


def test_every_tenth_step_and_the_last_have_a_row() -> None:
    rows: Rows = []
    trainer, curves = trainer_with(rows), Curves()
    curves.start(0)
    for step in range(23):
        for batch in range(2):  # of which the second completes the step
            curves.note({"loss": torch.tensor(step + batch / 10), "positives": torch.tensor([4.0])})
            curves.note_lr(0.1)
            trainer.global_step = step + batch
            trainer.should_stop = step == 22 and batch == 1
            trainer.is_last_batch = step == 14 and batch == 1  # of an epoch, whose line shows the figures
            curves.send(trainer)
            curves.send(trainer)  # as before a checkpoint
        if step == 9:
            assert rows == []
        if step == 14:
            curves.write(trainer)
            assert [step for step, _ in rows] == [9]
            assert curves.take_latest()["loss"].item() == pytest.approx(14.1)
    curves.write(trainer)
    assert [step for step, _ in rows] == [9, 19, 22]
    assert [values["loss"] for _, values in rows] == pytest.approx([9.1, 19.1, 22.1])
    assert rows[0][1] == {"loss": torch.tensor(9.1).item(), "positives": 4, "lr": torch.tensor(0.1).item(), "epoch": 0}
    assert curves.take_latest()["loss"].item() == pytest.approx(22.1)
    assert curves.take_latest() == {}


def test_a_resumed_run_has_no_second_row_of_its_first_steps() -> None:
    rows: Rows = []
    trainer, curves = trainer_with(rows), Curves()
    trainer.global_step = 10
    curves.start(10)
    curves.note({"loss": torch.tensor(0.0)})
    curves.send(trainer)  # a batch that completes no step
    curves.write(trainer)
    assert rows == []


def test_what_was_sent_is_read_once_and_in_order() -> None:
    late: Late[str] = Late()
    late.send(torch.tensor(1.0, requires_grad=True), "first")
    late.send(torch.tensor(2.0), "second")
    assert [(value.item(), name) for value, name in late.read()] == [(1.0, "first"), (2.0, "second")]
    assert list(late.read()) == []


@pytest.mark.slow
def test_rows_read_late_are_those_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_digits(tmp_path / "digits", images={"train": 11, "val": 2}, size=64)
    options = {"image_size": 64, "width": 32, "batch_size": 1, "epochs": 2, "freeze": 4}
    for late in (False, True):
        monkeypatch.setattr(TrainingModule, "reads_late", late)
        bw.train(data, out=tmp_path / str(late), console=Console(quiet=True), **options)
    tables = [(tmp_path / name / "metrics.csv").read_text() for name in ("False", "True")]
    assert tables[0] == tables[1]
    assert tables[0].count("\n") == 1 + 2 + 2 + 1  # its head, steps 9 and 19, two validations, and the last step
    models = [load_file(tmp_path / name / "model.safetensors") for name in ("False", "True")]
    for name, value in models[0].items():
        assert torch.equal(value, models[1][name]), name

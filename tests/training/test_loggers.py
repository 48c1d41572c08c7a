"""metrics.csv is added to and never emptied, and a resumed run has each row once."""

import csv
import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from boxwright.errors import RecipeError, WriteError
from boxwright.runs import Run
from boxwright.training.loggers import MetricsFile, make_loggers, read_metrics


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(newline="")))


def log(table: MetricsFile, *steps: int, **more: float) -> None:
    for step in steps:
        table.log_metrics({"loss": torch.tensor(float(step)), **more}, step)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """With five rows, of the steps 0 to 4."""
    table = MetricsFile(tmp_path / "metrics.csv")
    log(table, 0, 1, 2, 3)
    log(table, 4, AP=0.5)
    table.save()
    return Run(tmp_path)


def test_rows_are_added_and_columns_as_they_come(run: Run) -> None:
    assert [row["step"] for row in rows(run.metrics_file)] == ["0", "1", "2", "3", "4"]
    assert rows(run.metrics_file)[4] == {"AP": "0.5", "loss": "4.0", "step": "4"}
    assert rows(run.metrics_file)[0] == {"AP": "", "loss": "0.0", "step": "0"}
    table = MetricsFile(run.metrics_file.with_name("other.csv"))
    log(table, *range(250))
    assert len(rows(run.metrics_file.with_name("other.csv"))) == 200  # each hundred steps
    inode = run.metrics_file.with_name("other.csv").stat().st_ino
    table.finalize("success")
    assert len(rows(run.metrics_file.with_name("other.csv"))) == 250
    assert run.metrics_file.with_name("other.csv").stat().st_ino == inode  # not written again


def test_a_resumed_run_has_each_row_once(run: Run) -> None:
    (table,) = make_loggers("csv", run, steps_done=3)
    assert isinstance(table, MetricsFile)
    log(table, 3, lr=0.1)
    table.save()
    log(table, 4, AP=0.25)
    table.save()
    log(table, 5)
    table.save()
    assert [row["step"] for row in rows(run.metrics_file)] == ["0", "1", "2", "3", "4", "5"]
    assert rows(run.metrics_file)[3] == {"AP": "", "loss": "3.0", "lr": "0.1", "step": "3"}
    assert rows(run.metrics_file)[4]["AP"] == "0.25"


def test_nothing_is_lost_before_the_first_new_row(run: Run) -> None:
    """Neither in a run that turns out to be finished, nor in one that is killed before it saves."""
    before = run.metrics_file.read_bytes()
    (table,) = make_loggers("csv", run, steps_done=3)
    table.save()
    table.finalize("success")
    log(table, 3)  # type: ignore[arg-type]
    assert run.metrics_file.read_bytes() == before
    assert not list(run.folder.glob("hparams*"))


def test_a_run_that_begins_anew_has_its_own_rows(run: Run) -> None:
    (table,) = make_loggers("csv", run)
    log(table, 0)  # type: ignore[arg-type]
    table.save()
    assert [row["step"] for row in rows(run.metrics_file)] == ["0"]


def test_a_line_that_a_crash_cut_off_is_left_out(run: Run) -> None:
    whole = run.metrics_file.read_bytes()
    run.metrics_file.write_bytes(whole[:-6])
    assert [row["step"] for row in read_metrics(run.metrics_file)] == ["0", "1", "2", "3"]
    run.metrics_file.write_bytes(whole + b"0.5,4.0,1")  # 17, it was to be
    assert [row["step"] for row in read_metrics(run.metrics_file)] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"a;b;step\r\n1;2;3\r\n", b"step,AP\r\nx,1\r\n", b"step\r\n1,2\r\n"]
)
def test_what_another_program_has_made_of_it_is_not_replaced(run: Run, content: bytes) -> None:
    run.metrics_file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"metrics\.csv is damaged, or another program has changed it: move it"):
        make_loggers("csv", run, steps_done=3)
    assert run.metrics_file.read_bytes() == content


def test_a_full_disk_leaves_no_half_row(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    table = MetricsFile(run.metrics_file)
    log(table, 5, AP=0.5)
    table.save()
    before = run.metrics_file.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    log(table, 6, AP=0.5)
    with pytest.raises(WriteError, match=r"can't write .*metrics\.csv: no space left on device: free some space"):
        table.save()
    assert run.metrics_file.read_bytes() == before
    table.finalize("failed")  # says nothing on top of what ended the training
    with pytest.raises(WriteError):
        table.finalize("success")
    monkeypatch.undo()
    table.save()
    assert run.metrics_file.read_bytes().startswith(before)
    assert len(rows(run.metrics_file)) == len(rows_of(before)) + 1


def rows_of(content: bytes) -> list[Any]:
    return content.splitlines()[1:]


def test_a_file_that_was_moved_away_begins_anew(run: Run) -> None:
    table = MetricsFile(run.metrics_file)
    log(table, 0)
    table.save()
    run.metrics_file.unlink()
    log(table, 1)
    table.save()
    assert [row["step"] for row in rows(run.metrics_file)] == ["1"]

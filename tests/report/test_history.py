"""Reading metrics.csv back."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import BoxwrightWarning
from boxwright.report.history import read_history


def log(folder: Path, text: str) -> Path:
    path = folder / "metrics.csv"
    path.write_text(text)
    return path


def test_losses_over_steps_and_scores_over_epochs(tmp_path: Path) -> None:
    path = log(tmp_path, "epoch,step,loss,loss_box,lr,val/AP\n0,10,2.5,1.5,0.001,\n0,20,2.0,1.25,0.002,\n1,20,,,,0.5\n")
    history = read_history(path)
    assert history.losses == {"loss": ([10, 20], [2.5, 2.0]), "loss_box": ([10, 20], [1.5, 1.25])}
    assert history.scores == {"val/AP": ([1], [0.5])}


@pytest.mark.parametrize("name", ["AP", "AP50", "val_AP75", "val/AP", "mAP"])
def test_scores_by_name(tmp_path: Path, name: str) -> None:
    assert list(read_history(log(tmp_path, f"step,{name}\n1,0.25\n")).scores) == [name]


@pytest.mark.parametrize("name", ["loss", "val_loss", "train/loss_box", "cls", "val_box", "dfl"])
def test_losses_by_name(tmp_path: Path, name: str) -> None:
    assert list(read_history(log(tmp_path, f"step,{name}\n1,0.25\n")).losses) == [name]


@pytest.mark.parametrize("name", ["lr", "boxes", "AP50_best", "positives", "recAP1", "step", "seconds"])
def test_other_columns_are_left_out(tmp_path: Path, name: str) -> None:
    history = read_history(log(tmp_path, f"step,{name}\n1,0.25\n" if name != "step" else "step\n1\n"))
    assert history == ({}, {}, {})


def test_cells_that_are_no_numbers_are_skipped(tmp_path: Path) -> None:
    history = read_history(log(tmp_path, "step,loss\n1,nan\n2,inf\n3,word\n4,0.5\n5\n6,0.25,7\n"))
    assert history.losses == {"loss": ([4, 6], [0.5, 0.25])}


def test_without_step_rows_are_counted(tmp_path: Path) -> None:
    assert read_history(log(tmp_path, "loss\n3\n2\n")).losses == {"loss": ([0, 1], [3, 2])}


def test_missing_and_empty_files(tmp_path: Path) -> None:
    assert read_history(tmp_path / "none.csv") == ({}, {}, {})
    assert read_history(log(tmp_path, "")) == ({}, {}, {})


@pytest.mark.parametrize("content", [b"step,loss\n1,0.\xe9", "step,loss\n1,0.5".encode("utf-16"), b"a" * 200_000])
def test_a_damaged_file_is_a_warning(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.warns(BoxwrightWarning, match=r"metrics\.csv is damaged: the report has no curves of it"):
        assert read_history(tmp_path / "metrics.csv") == ({}, {}, {})


def test_shares_of_the_supervision(tmp_path: Path) -> None:
    text = "step,hard_positives,val_positive_share,positives\n1,0.5,,3\n2,0.25,0.75,4\n"
    history = read_history(log(tmp_path, text))
    assert history.shares == {"hard_positives": ([1, 2], [0.5, 0.25]), "val_positive_share": ([2], [0.75])}
    assert history.losses == {}

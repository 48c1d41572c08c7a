"""What a training shows: lines in a pipe, one that changes in a notebook, and not a thousand."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from boxwright._util import progress
from boxwright.training import showing
from boxwright.training.schedule import Progress
from boxwright.training.showing import EpochLines, NotebookLine, ProgressLine, StepLines, progress_callbacks


def kinds(console: Console) -> list[type]:
    return [type(each) for each in progress_callbacks(console, Progress(steps=1))]


def test_what_a_console_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds(Console(file=io.StringIO())) == [EpochLines, StepLines]
    assert kinds(Console(file=io.StringIO(), force_terminal=True)) == [EpochLines, ProgressLine]
    assert kinds(Console(force_terminal=True, quiet=True)) == [EpochLines, StepLines]
    assert kinds(Console(force_jupyter=True)) == [EpochLines, NotebookLine]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert kinds(Console(file=io.StringIO())) == [EpochLines, StepLines]


def test_a_bar_is_where_the_notes_are() -> None:
    bar = progress_callbacks(Console(stderr=True, force_terminal=True), Progress(steps=1))[1]
    assert bar._console_kwargs == {"stderr": True}  # type: ignore[attr-defined]


def test_epochs_of_a_notebook_get_fewer_lines() -> None:
    shown = [epoch for epoch in range(1, 1234) if showing._has_line(epoch, 1233)]
    assert shown == [*range(1, 21), *range(30, 100, 10), *range(100, 1000, 100), 1000, 1233]


def steps(callback: Any, epochs: int, batches: int) -> None:
    trainer = SimpleNamespace(current_epoch=0, num_training_batches=batches)
    for name in ("on_train_start", "on_train_end"):
        if name == "on_train_end":
            for trainer.current_epoch in range(epochs):
                for batch in range(batches):
                    callback.on_train_batch_start(trainer, None, None, batch)
                    callback.on_train_batch_end(trainer, None, {}, None, batch)
                callback.on_train_epoch_end(trainer, None)
        getattr(callback, name)(trainer, None)


def test_a_slow_epoch_has_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "_QUICK", -1.0)
    steps(StepLines(Console(file=io.StringIO())), 2, 3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("epoch 1, steps: 1 of 3 after ")
    assert any(line.startswith("epoch 2, steps: 1 of 3 after ") for line in lines)
    assert not [line for line in lines if "\r" in line or "\x1b" in line]


def test_a_notebook_has_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, str]] = []

    class Handle:
        def display(self, content: dict[str, str], raw: bool) -> None:
            shown.append(("display", content["text/plain"]))

        def update(self, content: dict[str, str], raw: bool) -> None:
            shown.append(("update", content["text/plain"]))

    clock = SimpleNamespace(monotonic=iter(range(0, 1000, 2)).__next__)
    monkeypatch.setattr(showing, "time", clock)
    monkeypatch.setattr(progress, "import_module", lambda name: SimpleNamespace(DisplayHandle=Handle))
    steps(NotebookLine(), 2, 2)
    assert shown == [
        ("display", "epoch 1: step 1 of 2"),
        ("update", "epoch 1: step 2 of 2"),
        ("update", "epoch 2: step 1 of 2"),
        ("update", "epoch 2: step 2 of 2"),
        ("update", ""),
    ]


@pytest.mark.slow
def test_in_a_notebook(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    code = """
import boxwright as bw
from boxwright.demo_data import make_digits
data = make_digits("digits", images={"train": 4, "val": 2}, size=64)
tiny = dict(image_size=64, width=16, pretrained=False, freeze=0, batch_size=4, precision="float32", workers=0)
bw.train(data, "lite320", epochs=2, out="run", **tiny)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    texts = [str(each.get("text") or each["data"]["text/plain"]) for each in notebook.cells[0].outputs]
    assert [text[:9] for text in texts if text.startswith("epoch")] == ["epoch   1", "epoch   2"]
    assert "\r" not in "".join(texts)
    assert len(texts) < 15

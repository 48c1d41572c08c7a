"""The tutorial's notebook runs from its first cell to its last, with less to train on, and holds no outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from page_blocks import DOCS, ROOT

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LESS = {
    "MINUTES = 1\n": "MINUTES = 0.02\n",
    'make_digits(folder / "data", ': 'make_digits(folder / "data", images={"train": 8, "val": 4, "test": 4}, ',
    "minutes=MINUTES / 2": "steps=2, threads=1",
}


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def test_there_is_one() -> None:
    assert [path.name for path in NOTEBOOKS] == ["tutorial.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_holds_no_outputs_and_installs_first(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert code[0]["metadata"] == {"tags": ["install"]}
    assert "".join(code[0]["source"]).startswith("%pip install ")
    assert all(cell["metadata"] == {} for cell in code[1:])


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(DOCS / "notebooks" / "tutorial.ipynb", 4)
    notebook.cells = [cell for cell in notebook.cells if "install" not in cell.metadata.get("tags", [])]
    for before, after in LESS.items():
        (holder,) = [cell for cell in notebook.cells if before in cell.source]
        holder.source = holder.source.replace(before, after)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = {kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= shown
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert "<th>less the baseline</th>" in last.outputs[-1]["data"]["text/html"]
    errors = [text for cell in notebook.cells for each in cell.get("outputs", []) if "Error" in (text := str(each))]
    assert errors == []
    assert (tmp_path / "notebook" / "inspect.html").is_file()

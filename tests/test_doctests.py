"""The examples in docstrings run and print what they say; public functions of the core have one."""

from __future__ import annotations

import ast
import doctest
from importlib import import_module
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
import torch

import boxwright as bw
from dataset_builders import write_yolo

ROOT = Path(bw.__file__).parent
NAMES = {"bw": bw, "torch": torch, "np": np}
"""What every example has at hand, as if it began with these imports."""


def docstrings(path: Path) -> dict[str, tuple[str, int]]:
    """Name in the file -> docstring and its line, of everything that has one.

    They are read from the source, since decorated functions hide from doctest's own search.
    """
    found = {}

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                full = f"{name}.{child.name}".strip(".")
                found[full] = (ast.get_docstring(child) or "", child.body[0].lineno - 1)
                visit(child, full)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return {name: doc for name, doc in found.items() if ">>> " in doc[0]}


EXAMPLES = [
    pytest.param(path, name, id=f"{path.relative_to(ROOT)}::{name}")
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
    for name in docstrings(path)
]


@pytest.mark.parametrize(("path", "name"), EXAMPLES)
def test_example(path: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    boxes = {"a.png": [("cat", 2, 3, 20, 30)], "b.png": [("dog", 5, 5, 30, 25)]}
    config = "train: train/images\nval: val/images\nnames: [cat, dog]\n"
    write_yolo(tmp_path / "data", {"train": boxes, "val": boxes}, ["cat", "dog"], config=config)
    text, line = docstrings(path)[name]
    test = doctest.DocTestParser().get_doctest(text, dict(NAMES), name, str(path), line)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert test.examples  # a skipped one does not count as attempted
    assert result.failed == 0, "".join(report)


def public_functions(module: str) -> list[FunctionType]:
    """The public functions of a module, those of its package included."""
    owner = import_module(f"boxwright.{module}")
    names = getattr(owner, "__all__", [name for name in vars(owner) if not name.startswith("_")])
    values = [getattr(owner, name) for name in names]
    return [
        value
        for value in values
        if isinstance(value, FunctionType) and value.__module__.startswith(f"boxwright.{module}")
    ]


@pytest.mark.parametrize("module", ["losses", "matching", "mining", "boxes", "nms", "evaluate"])
def test_public_functions_have_an_example(module: str) -> None:
    functions = public_functions(module)
    assert len(functions) > 3
    assert [each.__name__ for each in functions if ">>> " not in (each.__doc__ or "")] == []

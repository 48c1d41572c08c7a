"""Imports point down only: the layers of CONTRIBUTING.md, enforced on every import, those in functions too."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "boxwright"

# From the bottom up. A module imports from its own row and from the rows below it.
ROWS: tuple[frozenset[str], ...] = tuple(
    frozenset(row.split())
    for row in (
        "_version errors text values parts _util environment streaming drawing bridges demo_data",
        "types boxes ranking",
        "data",
        "evaluate check report runtime serve",
        "anchors coding matching mining losses nms",
        "criterion",
        "catalog choices own_code recipes starts",
        "models adapters",
        "runs",
        "training export compare inspect hardest simulate demo reproduce doctor",
        "cli __main__",
    )
)
# Stricter than the rows: these import from boxwright nothing but what stands here.
ONLY: dict[str, frozenset[str]] = {
    "bridges": frozenset({"errors"}),
    "data": frozenset({"boxes", "types", "errors", "_util", "text", "values", "parts", "_version"}),
    "anchors": frozenset({"boxes", "types", "errors", "_util", "text"}),
    "losses": frozenset({"boxes", "types", "errors", "_util", "text", "parts"}),
    "mining": frozenset({"nms", "ranking", "types", "errors", "_util", "text", "parts"}),
    "nms": frozenset({"boxes", "types", "errors", "_util", "text"}),
    "report": frozenset({"drawing", "errors", "_util", "text"}),
    "serve": frozenset({"runtime", "data", "errors", "environment", "_util", "_version"}),
    "runtime": frozenset({"data", "errors", "_util", "environment", "streaming"}),
    "evaluate": frozenset({"errors", "_util", "text", "boxes", "data"}),
}


def imported(path: Path, source: str) -> set[str]:
    """First names below boxwright of all that a file imports, wherever in the file the import stands."""
    package = ("boxwright", *path.relative_to(PACKAGE).parent.parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("boxwright.")}
    return found


def top(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def graph() -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if path != PACKAGE / "__init__.py":  # names every module, and imports none until it is asked
            edges.setdefault(top(path), set()).update(imported(path, path.read_text(encoding="utf-8")))
    return {module: {name for name in names if is_module(name)} - {module} for module, names in edges.items()}


def is_module(name: str) -> bool:
    return (PACKAGE / f"{name}.py").is_file() or (PACKAGE / name).is_dir()


def row_of(module: str) -> int:
    rows = [i for i, row in enumerate(ROWS) if module in row]
    assert rows, f"{module} stands in no layer: put it into ROWS, and into the diagram of CONTRIBUTING.md"
    return rows[0]


EDGES = sorted((module, name) for module, names in graph().items() for name in names)


def test_the_graph_is_seen() -> None:
    assert ("demo_data", "errors") in EDGES
    assert ("report", "drawing") in EDGES


@pytest.mark.parametrize(("module", "name"), EDGES)
def test_imports_point_down(module: str, name: str) -> None:
    assert row_of(name) <= row_of(module), f"boxwright.{module} imports boxwright.{name}, which lies above it"


def test_no_cycles() -> None:
    list(TopologicalSorter(graph()).static_order())  # raises CycleError


@pytest.mark.parametrize("module", ONLY)
def test_modules_that_stand_alone(module: str) -> None:
    assert graph().get(module, set()) <= ONLY[module]


def test_criterion_and_what_is_below_knows_no_model() -> None:
    below = set().union(*ROWS[: row_of("criterion") + 1])
    assert not [
        (module, name) for module, name in EDGES if module in below and name in {"models", "recipes", "training"}
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import boxwright.losses.box", {"losses"}),
        ("from boxwright import boxes, losses", {"boxes", "losses"}),
        ("from boxwright.types import Targets", {"types"}),
        ("from .box import giou_loss", {"losses"}),
        ("from .. import types", {"types"}),
        ("from ..types import Targets", {"types"}),
        ("def f():\n    from boxwright.models import x", {"models"}),
        ("import torch", set()),
    ],
)
def test_imported(source: str, expected: set[str]) -> None:
    assert imported(PACKAGE / "losses" / "classification.py", source) == expected

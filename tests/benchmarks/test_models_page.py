"""docs/models.md: a line a recipe, with what was measured, recorded and what the recipe itself says."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from boxwright.models.size import network_size
from boxwright.recipes import get_recipe
from boxwright.recipes.builtin import DETECTORS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import models_table  # noqa: E402
from turns import Row  # noqa: E402

UNITS = {"px", "parameters", "multiply-adds", "images/s", "ms", "exports"}


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, Any]]:
    """Recipe -> unit -> row, as they are kept."""
    found: dict[str, dict[str, Any]] = {}
    for row in json.loads((BENCHMARKS / "results" / "models.json").read_text(encoding="utf-8"))["rows"]:
        found.setdefault(row["name"], {})[row["unit"]] = row
    return found


def test_no_built_in_recipe_is_missing(measured: dict[str, dict[str, Any]]) -> None:
    page = (BENCHMARKS.parent / "docs" / "models.md").read_text(encoding="utf-8")
    assert [name for name in DETECTORS if f"\n| `{name}` |" not in page] == []
    assert set(measured) == set(DETECTORS) - {"auto"}
    assert all(set(units) == UNITS for units in measured.values())


@pytest.mark.parametrize("name", ["lite320", "nano416", "ssdlite300"])
def test_sizes_are_those_of_the_code(measured: dict[str, dict[str, Any]], name: str) -> None:
    recipe = get_recipe(name, classes=("a", "b", "c"))
    size, kept = network_size(recipe), measured[name]
    assert kept["px"]["ours"] == recipe.image_size
    assert kept["parameters"]["ours"] == size.parameters
    assert kept["multiply-adds"]["ours"] == size.multiply_adds


def test_lines_are_sorted_by_cost_and_hold_a_dash_for_what_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_table, "list_recipes", lambda: ["auto", "ssd300", "ssdlite300"])
    monkeypatch.setattr(models_table, "records", lambda: [{"recipe": "ssd300", "AP": 0.5}])
    figures = {"px": 300, "parameters": 24e6, "multiply-adds": 3.053e10, "images/s": 0.5, "ms": 1234.4, "exports": 3}
    rows = [
        Row("ssd300", value, unit=unit, note="ONNX" if unit == "exports" else "") for unit, value in figures.items()
    ]
    light = [row._replace(name="ssdlite300", note="") for row in rows]
    light[2], light[-1] = light[2]._replace(ours=6e8), light[-1]._replace(ours=1, note="ONNX")
    assert models_table.table([*rows, *light]).splitlines()[2:] == [
        "| `ssdlite300` | 300 | 24.0 M | 0.60 G | 0.50 | 1,234 | `ssdlite-person`, fetched | - | ONNX |",
        "| `ssd300` | 300 | 24.0 M | 30.53 G | 0.50 | 1,234 | ImageNet, timm's `vgg16` | .500 | all three |",
        "| `auto` | - | - | - | - | - | ImageNet, installed | - | - |",
    ]


def test_recorded_trainings_say_how_and_when() -> None:
    for each in models_table.records():
        assert each["recipe"] in DETECTORS
        assert 0 < each["AP"] < 1
        assert len(each["protocol"]) > 20
        assert date.fromisoformat(each["date"])
        assert f"- `{each['recipe']}`: {each['protocol']} ({each['date']})." in models_table.trainings()
    score = {"recipe": "lite320", "AP": 0.629, "deviation": 0.005}
    assert models_table._score(score) == ".629 ± .005"

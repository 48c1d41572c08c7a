"""The table of docs/models.md, of what models.py measured, what trained.json records and what the recipes say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turns import Row, number

from boxwright.recipes import base_recipe, list_recipes
from boxwright.starts.known import KNOWN

TRAINED = Path(__file__).with_name("trained.json")
HEAD = (
    "recipe",
    "input, px",
    "parameters",
    "multiply-adds",
    "training, images/s",
    "prediction, ms",
    "weights",
    "AP on BCCD",
    "exports",
)
FORMS = ("ONNX", "OpenVINO", "PyTorch")
MILLION, BILLION = 1e6, 1e9


def table(rows: Sequence[Row]) -> str:
    """A line a recipe, in the order of their multiply-adds, `auto` at the end."""
    found: dict[str, dict[str, Row]] = {name: {} for name in list_recipes()}
    for row in rows:
        found[row.name][row.unit] = row
    names = sorted(found, key=lambda name: found[name]["multiply-adds"].ours if found[name] else float("inf"))
    lines = [HEAD, ("---",) * len(HEAD), *([f"`{name}`", *_cells(name, found[name])] for name in names)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(name: str, found: dict[str, Row]) -> list[str]:
    if not found:
        return ["-"] * 5 + [weights(name), average_precision(name), "-"]
    return [
        f"{found['px'].ours:.0f}",
        f"{found['parameters'].ours / MILLION:.1f} M",
        f"{found['multiply-adds'].ours / BILLION:.2f} G",
        number(found["images/s"].ours),
        number(found["ms"].ours),
        weights(name),
        average_precision(name),
        "all three" if found["exports"].ours == len(FORMS) else found["exports"].note or "-",
    ]


def weights(name: str) -> str:
    """Where the training of a recipe begins."""
    backbone = base_recipe(name).backbone
    whole = [start for start in KNOWN.values() if start.recipe == name]
    if whole:
        return f"`{whole[0].name}`, fetched"
    if backbone == "tf_efficientnet_lite0":
        return "ImageNet, installed"
    return f"ImageNet, timm's `{backbone}`"


def records() -> list[dict[str, Any]]:
    """The trainings that were recorded."""
    found: list[dict[str, Any]] = json.loads(TRAINED.read_text(encoding="utf-8"))
    return found


def average_precision(name: str) -> str:
    """What a recipe's recorded training reached."""
    return next((_score(each) for each in records() if each["recipe"] == name), "-")


def _score(each: dict[str, Any]) -> str:
    deviation = f" ± {each['deviation']:.3f}" if "deviation" in each else ""
    return f"{each['AP']:.3f}{deviation}".replace("0.", ".")


def trainings() -> str:
    """A line for each recorded training: its protocol and date."""
    return "\n".join(f"- `{each['recipe']}`: {each['protocol']} ({each['date']})." for each in records())

"""A tiny data set, settings that train in a second, and jobs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boxwright.compare.jobs import Job
from boxwright.demo_data import make_digits
from boxwright.recipes import Recipe, get_recipe

TINY: dict[str, Any] = {"image_size": 64, "width": 32, "batch_size": 4, "freeze": 4}
DIGITS = tuple("0123456789")


def digits(folder: Path) -> Path:
    return make_digits(folder, images={"train": 16, "val": 6, "test": 4}, size=64)


def recipe(**options: Any) -> Recipe:
    return get_recipe("lite320", **{**TINY, "classes": DIGITS, **options})


def job(data: Path, folder: Path, arm: Recipe, *, seed: int = 0, **options: Any) -> Job:
    fields: dict[str, Any] = {"name": "arm", "steps": 5, "threads": 1, "device": "cpu", **options}
    name = fields.pop("name")
    return Job(arm=name, seed=seed, recipe=arm, baseline=recipe(), folder=folder, data=data, **fields)

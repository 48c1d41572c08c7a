"""The command that repeats a run, for its record and its report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boxwright._util.yaml_files import format_yaml
from boxwright.own_code import own_modules
from boxwright.recipes import Recipe, base_recipe
from boxwright.training.options import RunOptions


def train_command(data: Path, recipe: Recipe, options: RunOptions) -> str:
    """Build ``boxwright train`` with everything that differs from the defaults, and the seed.

    The run folder is not named, so that the command creates another one.
    """
    base = base_recipe(recipe.detector).to_dict()
    changed = {name: value for name, value in recipe.to_dict().items() if value != base[name]}
    defaults = RunOptions().to_json()
    flags = {name: value for name, value in options.to_json().items() if value != defaults[name] or name == "seed"}
    epochs = changed.pop("epochs", None)
    if epochs is not None and options.minutes is None:
        flags = {"epochs": epochs, **flags}
    words = ["boxwright", "train", str(data), "--recipe", recipe.detector]
    for name, value in changed.items():
        words += ["--set", f"{name}={format_yaml(value)}"]
    return shlex.join(words + _flags(flags))


def resume_command(data: Path, run: Path, recipe: Recipe, options: Mapping[str, Any]) -> str:
    """Build ``boxwright train --resume`` with the given options, and the code that the recipe needs allowed."""
    code = [word for module in own_modules(recipe.to_dict()) for word in ("--allow-code", module)]
    return shlex.join(["boxwright", "train", str(data), "--resume", str(run), *_flags(options), *code])


def _flags(options: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [flag] if value else []
        else:
            words += [flag, "none" if value is None else f"{value}"]
    return words

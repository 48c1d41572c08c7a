"""The arms of a comparison: every combination of some values, or a list in a file."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boxwright._util.yaml_files import format_yaml
from boxwright.catalog import PART_KEYS
from boxwright.choices import name_choice, split_values
from boxwright.compare.results.results import BESIDE_THE_RECIPE, Arm
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe, get_recipe, parse_settings, read_yaml
from boxwright.runs.start import start_recipe


def parse_vary(texts: Sequence[str]) -> dict[str, list[str]]:
    """Split ``["box_loss=giou,ciou", "miner=none,ohem:count=64"]`` into values by key, as ``split_values`` does.

    ``giou,focal_eiou:gamma=0.5,detach=true`` are two values. Raises RecipeError for a text without ``=``, a key that
    stands twice, and an empty value.
    """
    vary: dict[str, list[str]] = {}
    for text in texts:
        key, equals, rest = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise RecipeError(f"Expected --vary key=a,b,c but got {text!r}")
        if key in vary:
            raise RecipeError(f"--vary {key} stands twice: give all its values in one")
        vary[key] = split_values(rest)
        if not all(vary[key]):
            raise RecipeError(f"Expected --vary {key}=a,b,c but got an empty value in {text!r}")
    return vary


def combine(vary: Mapping[str, Sequence[Any]]) -> list[Arm]:
    """Make an arm of every combination of the values; the first, of all first values, is the baseline.

    Raises RecipeError for fewer than two arms, and for equal ones.
    """
    rows = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    return list_arms(rows)


def read_arms(path: Path) -> list[Arm]:
    """Read arms from a YAML file: a list of recipe keys and values, the first being the baseline.

    ``name`` is the arm's name in tables, ``recipe`` the recipe that it stands on, and ``start`` what its training
    starts from; an arm without a key is the unchanged recipe. Raises RecipeError for anything else.
    """
    rows = read_yaml(path, "the arms of")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RecipeError(f"{path}: Expected a list of arms, each of recipe keys and values")
    try:
        return list_arms(rows)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def list_arms(rows: Sequence[Mapping[str, Any]]) -> list[Arm]:
    """Make arms of recipe keys and values, and of a ``name`` if they have one. Raises as ``combine`` does."""
    arms: list[Arm] = []
    for row in rows:
        settings = {str(key): _text(str(key), value) for key, value in row.items() if key != "name"}
        arms.append(Arm(str(row.get("name") or _name(settings)), settings, baseline=not arms))
    if len(arms) < 2:
        raise RecipeError(f"Expected at least two arms to compare but got {len(arms)}")
    for what in (_text_of, lambda arm: arm.name, folder_name):
        seen: set[str] = set()
        for arm in arms:
            if what(arm) in seen:
                raise RecipeError(f"two arms are the same, or have the same name: {arm.name}")
            seen.add(what(arm))
    return arms


def arm_recipe(base: Recipe | None, common: Mapping[str, Any], arm: Arm) -> Recipe:
    """Return the recipe of an arm: what it stands on, with the values of all arms, and then its own.

    It stands on the recipe that it names, else on ``base``, which was named for all arms; where none was (None), on the
    recipe that its start brings, else on lite320. Raises RecipeError for an unknown key, a value that can't be, and a
    start that isn't there.
    """
    brought = None if arm.start is None else start_recipe(arm.start)
    named = arm.settings.get("recipe")
    stands_on = get_recipe(named) if named else base or brought or get_recipe("lite320")
    own = [f"{key}={value}" for key, value in arm.settings.items() if key not in BESIDE_THE_RECIPE]
    return stands_on.replace(**common).replace(**parse_settings(own))


def folder_name(arm: Arm) -> str:
    """Return the arm's name with nothing in it that a file system minds."""
    return re.sub(r"[^\w.=+-]+", "-", arm.name).strip("-.")


def _text_of(arm: Arm) -> str:
    return json.dumps(arm.settings, sort_keys=True)


def _name(settings: Mapping[str, str]) -> str:
    """Name an arm: one part by its value alone, several keys or a number with the keys."""
    if not settings:
        return "recipe"
    if len(settings) == 1 and next(iter(settings)) in PART_KEYS:
        return next(iter(settings.values()))
    return " ".join(f"{key}={value}" for key, value in settings.items())


def _text(key: str, value: Any) -> str:
    """Write a value as YAML reads it back, a part by its name."""
    if callable(value):
        return name_choice(key.removeprefix("rpn_"), value)
    return value if isinstance(value, str) else format_yaml(value)

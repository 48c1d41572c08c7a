"""What a type checker finds in a user's file: names that there aren't, misspelt keys, values of another type."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

import boxwright
from boxwright.catalog import PART_KEYS
from boxwright.compare.plan.options import CompareOptions, ComparisonKeys
from boxwright.recipes import Recipe, RecipeKeys
from boxwright.recipes.recipe import RPN_CHOICES, key_types
from boxwright.training.options import RunKeys, RunOptions

SOURCES = Path(__file__).parents[1] / "src"

USER = """
import boxwright as bw

bw.trian("data")  # expect: Module has no attribute "trian"
bw.train("data", batch_size=4, workers=2, device="cpu", strides=[8, 16], out="runs/a")
bw.train("data", bacth_size=4)  # expect: "bacth_size" for "train"; did you mean "batch_size"
bw.train("data", wrokers=4)  # expect: "wrokers" for "train"; did you mean "workers"
bw.train("data", "auto", image_size="auto", strides="auto", epochs=4)
bw.train("data", flip="sideways")  # expect: Argument "flip" to "train"
recipe: bw.Recipe = bw.get_recipe("lite320", lr=1e-3).replace(epochs=3)
bw.get_recipe("lite320", bacth_size=4)  # expect: "bacth_size" for "get_recipe"; did you mean "batch_size"
bw.get_recipe("lite320", lr="fast")  # expect: Argument "lr" to "get_recipe"
recipe.replace(epoch=3)  # expect: "epoch" for "replace" of "Recipe"; did you mean "epochs"
bw.create_detector("lite320", 3, image_sise=320)  # expect: "image_sise" for "create_detector"
bw.compare.compare("data", {"lr": [1, 2]}, seeds=2)
bw.compare.compare("data", {"lr": [1, 2]}, sedes=2)  # expect: "sedes" for "compare"; did you mean "seeds"
found: list[bw.Detections] = bw.create_detector("lite320", 3).predict("a.jpg")
found[0].boxs  # expect: "Detections" has no attribute "boxs"
"""


def as_people_give_it(hint: Any) -> Any:
    """A field's type with any sequence for a tuple, text for a path, and words one by one."""
    if get_origin(hint) is tuple:
        return Sequence[get_args(hint)[0]]  # type: ignore[misc]
    if get_origin(hint) in (Union, UnionType):
        return set().union(*(as_set(as_people_give_it(arg)) for arg in get_args(hint)))
    if get_origin(hint) is Literal:
        return {Literal[value] for value in get_args(hint)}  # type: ignore[valid-type]
    return {Path, str} if hint is Path else hint


def as_set(hint: Any) -> set[Any]:
    return hint if isinstance(hint, set) else {hint}


@pytest.mark.parametrize(
    ("typed", "real"), [(RecipeKeys, Recipe), (RunKeys, RunOptions), (ComparisonKeys, CompareOptions)]
)
def test_keys_of_type_checkers_are_the_real_ones(typed: Any, real: Any) -> None:
    keys, own = get_type_hints(typed), key_types() if real is Recipe else get_type_hints(real)
    assert list(keys) == list(own)
    parts = {*PART_KEYS, *RPN_CHOICES, "backbone"} & keys.keys()
    for name, hint in keys.items():
        wanted = as_set(as_people_give_it(own[name])) | ({Callable[..., Any]} if name in parts else set())
        assert as_set(as_people_give_it(hint)) == wanted, name


def test_types_are_compared() -> None:
    assert as_people_give_it(tuple[int, ...] | None) == {Sequence[int], NoneType}
    assert as_people_give_it(Path | None) == as_people_give_it(str | Path | None)
    assert as_people_give_it(int | None) != as_people_give_it(float | None)


@pytest.mark.slow
def test_a_user_s_mistakes_are_found_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER)
    names = [name for name in boxwright.__all__ if name != "__version__"]
    (tmp_path / "names.py").write_text("import boxwright as bw\n" + "".join(f"print(bw.{name})\n" for name in names))
    command = [sys.executable, "-m", "mypy", "--strict", "--hide-error-context", "--no-error-summary"]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache"), "user.py", "names.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(SOURCES)},
        capture_output=True,
        text=True,
    )
    found = {
        (file, int(line)): message
        for file, line, message in re.findall(r"^(\w+\.py):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    }
    planted = {
        ("user.py", number): line.partition("# expect: ")[2]
        for number, line in enumerate(USER.splitlines(), 1)
        if "# expect: " in line
    }
    assert found.keys() == planted.keys(), done.stdout + done.stderr
    for place, message in planted.items():
        assert message in found[place]

"""The lower bounds of packages: one for each, wherever it is asked for."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def asked_for() -> dict[str, dict[str, str]]:
    """Package -> place that asks for it -> which versions."""
    lists = {"docker": (ROOT / "docker" / "requirements.txt").read_text(encoding="utf-8").splitlines()}
    for file in (ROOT / "pyproject.toml", ROOT / "packaging" / "runtime" / "pyproject.toml"):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        lists[project["name"]] = project["dependencies"]
        for extra, lines in project["optional-dependencies"].items():
            lists[f"{project['name']}[{extra}]"] = lines
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for place, lines in lists.items():
        for line in lines:
            if line and not line.startswith("#"):
                asked = Requirement(line)
                found[asked.name][place] = str(asked.specifier)
    return found


def test_a_package_has_the_same_bound_wherever_it_is_asked_for() -> None:
    found = asked_for()
    assert len(found["onnxruntime"]) >= 4
    assert len(found["openvino"]) >= 2
    assert {name: places for name, places in found.items() if len(set(places.values())) > 1} == {}


def test_every_bound_is_a_lower_one() -> None:
    """But for types alone, which are of no use to a user."""
    free = {name for name, places in asked_for().items() if not any(">=" in bound for bound in places.values())}
    assert free == {"boxwright", "types-PyYAML", "types-defusedxml"}

"""Print the lowest versions of boxwright's own dependencies that pyproject.toml allows, but for torch's family.

What torch is built with comes in gigabytes: `make test-floor` takes the lowest of it too.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

LARGE = {"torch", "torchvision", "lightning"}
project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for asked in map(Requirement, project["dependencies"]):
    if asked.name not in LARGE:
        (lowest,) = (each.version for each in asked.specifier if each.operator == ">=")
        print(f"{asked.name}=={lowest}")

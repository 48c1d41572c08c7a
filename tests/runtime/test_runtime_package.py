"""The distribution without torch ships every module that boxwright.runtime imports."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import sys, boxwright.runtime
print(*(each.__file__ for name, each in sys.modules.items() if name.partition(".")[0] == "boxwright"), sep="\\n")
"""


def test_what_is_imported_is_shipped() -> None:
    project = tomllib.loads((ROOT / "packaging/runtime/pyproject.toml").read_text(encoding="utf-8"))
    modules = project["tool"]["hatch"]["build"]["hooks"]["custom"]["modules"]
    shipped = [ROOT / "src/boxwright" / module for module in modules]
    assert all(path.exists() for path in shipped)
    told = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    imported = [Path(line).resolve() for line in told.splitlines()]
    assert ROOT / "src/boxwright/runtime/predictor.py" in imported
    assert [path for path in imported if not any(path.is_relative_to(each) for each in shipped)] == []

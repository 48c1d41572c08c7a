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
    packaging = ROOT / "packaging/runtime"
    wheel = tomllib.loads((packaging / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    shipped = [(packaging / path).resolve() for path in wheel["targets"]["wheel"]["force-include"]]
    assert all(path.exists() for path in shipped)
    told = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    imported = [Path(line).resolve() for line in told.splitlines()]
    assert ROOT / "src/boxwright/runtime/predictor.py" in imported
    assert [path for path in imported if not any(path.is_relative_to(each) for each in shipped)] == []

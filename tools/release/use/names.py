"""Import every public name of an installed boxwright, and ask its command for help: names.py VERSION."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import boxwright


def main(expected: str) -> None:
    """Raise AssertionError where what is installed isn't what was built."""
    assert version("boxwright") == boxwright.__version__ == expected, boxwright.__version__
    assert Path(boxwright.__file__).is_relative_to(sys.prefix), boxwright.__file__
    names = 0
    for name in boxwright.__all__:
        value = getattr(boxwright, name)
        inner = getattr(value, "__all__", ()) if isinstance(value, ModuleType) else ()
        names += 1 + len([getattr(value, each) for each in inner])
    command = Path(sysconfig.get_path("scripts")) / "boxwright"
    shown = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "train" in shown
    line = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert line.startswith(f"boxwright {expected}"), line
    print(f"  {names} public names, boxwright --help; {' '.join(line.split()[:6])}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The package as people get it: cheap to import, every public name there, and metadata that says what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from importlib.metadata import distribution

import pytest

import boxwright

HEAVY = ("torch", "torchvision", "timm", "lightning", "matplotlib", "sklearn", "ray", "onnx")


LIGHT = (
    "import boxwright; dir(boxwright); boxwright.__version__",
    "import boxwright.cli",
    "import boxwright.check",
    "import boxwright.evaluate",
    "import boxwright.recipes",
    "import boxwright.demo_data",
    "import boxwright.drawing",
    "import boxwright; boxwright.read_dataset",
    "import boxwright.environment; boxwright.environment.environment_line()",
    "import boxwright.report",
)


@pytest.fixture(scope="module")
def heavy() -> dict[str, list[str]]:
    """Code -> the heavy packages that a fresh interpreter has imported once it ran, the codes run in turn."""
    program = "import json, sys\nfound = {}\n"
    for code in LIGHT:
        program += f"{code}\nfound[{code!r}] = [name for name in {HEAVY} if name in sys.modules]\n"
    program += "print(json.dumps(found))"
    return json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


@pytest.mark.parametrize("code", LIGHT)
def test_imports_nothing_heavy(heavy: dict[str, list[str]], code: str) -> None:
    assert heavy[code] == []


@pytest.mark.parametrize("name", boxwright.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(boxwright, name) is not None
    assert name in dir(boxwright)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = boxwright.no_such_name


def test_metadata() -> None:
    package = distribution("boxwright")
    assert package.version == boxwright.__version__
    assert package.metadata["License-Expression"] == "Apache-2.0"
    assert set(package.metadata.get_all("License-File") or []) == {"LICENSE", "NOTICE"}
    assert package.metadata["Requires-Python"] == ">=3.11"
    assert [(e.name, e.value) for e in package.entry_points] == [("boxwright", "boxwright.cli:main")]
    wheel = package.read_text("WHEEL") or ""
    assert "Root-Is-Purelib: true" in wheel
    assert "Tag: py3-none-any" in wheel


def test_every_requirement_has_a_lower_bound_and_no_upper() -> None:
    requires = [line for line in distribution("boxwright").requires or [] if "extra ==" not in line]
    assert len(requires) > 10
    for line in requires:
        assert ">=" in line, line
        assert "<" not in line, line


@pytest.mark.parametrize("name", ["py.typed", "report/style.css"])
def test_files_that_travel_with_the_package(name: str) -> None:
    assert resources.files("boxwright").joinpath(name).is_file()

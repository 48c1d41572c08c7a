"""Versions, how PyTorch is built, and the optional extras."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import requires
from typing import Any

from packaging.requirements import Requirement

from boxwright.doctor.parts import Advice, Part
from boxwright.environment import environment, installed_version

_PACKAGE = "boxwright"
_OF_DEVELOPERS = ("test", "dev", "ci", "docs", "browser", "release")


def examine_versions() -> Part:
    """Look at the versions of boxwright and of what it needs."""
    found = environment()
    facts = {"boxwright": found["boxwright"], "commit": found["commit"], "python": found["python"]}
    facts["system"] = platform.platform()
    needed = [each for each in _requirements() if each.marker is None or each.marker.evaluate({"extra": ""})]
    facts |= {each.name: installed_version(each.name) for each in needed}
    return Part(facts, tuple(version_advice(needed)))


def version_advice(needed: list[Requirement]) -> Iterator[Advice]:
    """Name packages that are missing or have another version than is needed."""
    for each in needed:
        there = installed_version(each.name)
        if there is None or not each.specifier.contains(there, prereleases=True):
            state = "is not installed" if there is None else f"{there} is installed"
            yield Advice(f"{each} is needed, and {each.name} {state}", f"pip install '{each}'")


def examine_torch() -> Part:
    """Look at how PyTorch is built."""
    import torch

    backends: Any = torch.backends  # which older versions don't annotate
    return Part(
        {
            "version": torch.__version__,
            "CUDA": torch.version.cuda,
            "ROCm": torch.version.hip,
            "cuDNN": backends.cudnn.version() if backends.cudnn.is_available() else None,
            "MKL": backends.mkl.is_available(),
            "oneDNN": backends.mkldnn.is_available(),
            "OpenMP": backends.openmp.is_available(),
            "instructions": backends.cpu.get_cpu_capability(),
        }
    )


def examine_extras() -> Part:
    """Look at which optional extras are installed, and say what to type for the others."""
    facts: dict[str, Any] = {}
    for extra in extras():
        missing = [name for name in _needs(extra) if installed_version(name) is None]
        facts[extra] = f"needs {', '.join(missing)}: pip install '{_PACKAGE}[{extra}]'" if missing else "installed"
    return Part(facts)


def extras() -> list[str]:
    """List the extras that add something for users."""
    markers = {name for each in _requirements() if each.marker is not None for name in _named(str(each.marker))}
    return sorted(markers.difference(_OF_DEVELOPERS))


def _named(marker: str) -> Iterator[str]:
    """Yield the extras of a marker such as ``python_version > "3" and extra == "export"``."""
    for part in marker.replace("(", " ").replace(")", " ").replace(" or ", " and ").split(" and "):
        variable, _, value = part.partition("==")
        if variable.strip() == "extra":
            yield value.strip().strip("'\"")


def _needs(extra: str) -> list[str]:
    """List the packages of an extra, and those of the extras that it includes."""
    names: list[str] = []
    for each in _requirements():
        if each.marker is None or extra not in _named(str(each.marker)) or not each.marker.evaluate({"extra": extra}):
            continue
        names += [name for inner in each.extras for name in _needs(inner)] if each.name == _PACKAGE else [each.name]
    return list(dict.fromkeys(names))


def _requirements() -> list[Requirement]:
    return [Requirement(each) for each in requires(_PACKAGE) or ()]

"""The version of what is installed: boxwright, or boxwright-runtime, which brings a part of it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    for distribution in ("boxwright", "boxwright-runtime"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "0+unknown"  # sources on PYTHONPATH, and nothing installed


__version__ = _installed()

"""Predict with boxwright-runtime alone: exported.py VERSION MODEL FOLDER."""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import boxwright
from boxwright.runtime import Predictor


def main(expected: str, model: str, folder: str) -> None:
    """Raise AssertionError where the runtime isn't what was built, or finds nothing."""
    assert version("boxwright-runtime") == boxwright.__version__ == expected, boxwright.__version__
    assert find_spec("torch") is None
    images = sorted(Path(folder).glob("*.jpg"))[:4]
    found = Predictor(model)([str(image) for image in images])
    assert len(found) == len(images) > 0
    boxes = sum(len(each.boxes) for each in found)
    assert boxes
    print(f"  boxwright-runtime {expected} found {boxes} boxes in {len(images)} images, without torch")


if __name__ == "__main__":
    main(*sys.argv[1:])

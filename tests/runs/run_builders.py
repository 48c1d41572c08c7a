"""A run that nobody trained, and files that would execute code."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from boxwright.models import build_detector
from boxwright.recipes import get_recipe
from boxwright.runs import Run


class Malice:
    """Makes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        return os.mkdir, (str(self.made), 0o777)


def malicious(made: Path) -> dict[str, bytes]:
    """What torch.load takes, new and old, with malice in it, and a bare pickle."""
    content = {"state_dict": {"detector.x": torch.zeros(3)}, "loops": Malice(made)}
    files = {}
    for name, new in (("zip", True), ("legacy", False)):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        files[name] = buffer.getvalue()
    files["pickle"] = pickle.dumps(Malice(made))
    bare = io.BytesIO()
    with zipfile.ZipFile(bare, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(Malice(made)))
        archive.writestr("x/version", "3\n")
    files["bare zip"] = bare.getvalue()
    return files


def untrained(folder: Path) -> Run:
    """A run of the smallest detector."""
    recipe = get_recipe("lite320", image_size=64, width=32, classes=("cat", "dog"), score=0.0)
    run = Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    run.keep(build_detector(recipe, pretrained=False))
    return run

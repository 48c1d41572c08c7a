"""The blocks of code of a page of the docs, and a folder in which they run as a reader would run them, only quicker."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from boxwright.demo_data import make_digits

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ANIMALS = ("cat", "dog", "bird", "cow", "horse", "sheep", "bear", "mouse", "goat", "duck")

_BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")
_SMALL = ["--set", "image_size=64", "--set", "batch_size=4"]
_BUDGETS = {"--minutes", "--epochs", "--steps"}


class Block(NamedTuple):
    """A block of code, and what the comment over it says: "slow", "not run: REASON" or nothing."""

    language: str
    text: str
    mark: str

    @property
    def file(self) -> str | None:
        """The name of the file that the block is; None: it is to be run."""
        found = _FILE.match(self.text)
        return found[1] if found else None


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["language"], each["text"], each["mark"] or "") for each in found]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a shell block, without prompts and comments."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.removeprefix("$ "), comments=True))]


def quick(words: list[str]) -> list[str]:
    """A command of boxwright, without the word boxwright, with its budget cut down to a step or two."""
    _, command, *rest = words
    kept = []
    while rest:
        word = rest.pop(0)
        if word in _BUDGETS and command in ("train", "compare"):
            rest.pop(0)
        elif word == "--seeds":
            kept += [word, "1"]
            rest.pop(0)
        else:
            kept.append(word)
    if command == "demo":
        return [command, "--minutes", "0.02"]
    if command == "train":
        resumed = "--resume" in kept
        return [command, *kept, "--epochs", "2" if resumed else "1", *([] if resumed else _SMALL), "--workers", "0"]
    return [command, *kept, "--steps", "2", *_SMALL, "--threads", "1"] if command == "compare" else [command, *kept]


def quick_python(text: str) -> str:
    """A program with its trainings cut down."""
    return text.replace("minutes=30", "epochs=1, image_size=64, batch_size=4, workers=0")


def make_folder(folder: Path) -> None:
    """Make ``my-images``, a COCO data set of small pictures with animals' names, and ``photos``."""
    data = make_digits(folder / "my-images", images={"train": 8, "val": 4, "test": 4}, size=64)
    for path in (data / "annotations").glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        for category, name in zip(content["categories"], ANIMALS, strict=True):
            category["name"] = name
        path.write_text(json.dumps(content), encoding="utf-8")
    (folder / "photos").mkdir()
    for name, source in zip("ab", sorted((data / "images" / "test").iterdir()), strict=False):
        Image.open(source).save(folder / "photos" / f"{name}.jpg")

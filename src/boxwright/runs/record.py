"""data.json: what a run read, how it was asked for and how it went; read back with the types that others rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from boxwright._util.own_files import read_own_json, typed
from boxwright.errors import RecipeError


class _Finding(TypedDict):
    severity: str
    kind: str


class _Split(TypedDict):
    name: str
    images: int


class _Data(TypedDict, total=False):
    images: int
    boxes: int
    classes: dict[str, int | dict[str, int]]
    findings: list[_Finding]
    splits: list[_Split]


_Training = TypedDict(
    "_Training",
    {
        "split": str,
        "images": int,
        "seed": int,
        "steps": int,
        "minutes of steps": float,
        "images/s": float,
        "device": str,
    },
    total=False,
)
_CURE = ": without it eval, predict and hardest go on, and --resume can't"
_OF_AN_END = ("split", "images", "minutes of steps", "images/s", "device")


class _Start(TypedDict):
    name: str
    origin: str
    license: str
    taken: list[str]


class _Origin(TypedDict, total=False):
    options: dict[str, Any]
    fingerprint: str
    commands: list[str]
    start: _Start


class _Record(TypedDict, total=False):
    data: _Data
    training: _Training
    origin: _Origin


def read_record(path: Path) -> dict[str, Any]:
    """Read a data.json, with ``data``, ``training`` and ``origin``, empty or not.

    Raises RecipeError where it can't be read, or holds something else.
    """
    content = read_own_json(path, _CURE)
    typed(content, _Record, path, _CURE)
    record: dict[str, Any] = {"data": {}, "training": {}, "origin": {}, **content}
    missing = [key for key in _OF_AN_END if key not in record["training"]]
    if "steps" in record["training"] and missing:
        raise RecipeError(f"{path} is damaged: it doesn't say {missing[0]!r} of a training that has ended{_CURE}")
    counts = record["data"].get("classes", {}).values()
    if len({isinstance(count, dict) for count in counts}) > 1:
        raise RecipeError(f"{path} is damaged: some classes are counted by split, and some aren't{_CURE}")
    return record

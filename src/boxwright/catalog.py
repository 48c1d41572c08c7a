"""The parts that can be named in a recipe: boxwright's own, with their options, and those of installed packages.

A part of boxwright has its declaration and nothing else: it is read from the source, without importing torch or the
part, so that the command line can check a recipe at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NamedTuple

from boxwright.parts import DECORATORS


class Entry(NamedTuple):
    """A part that has a name."""

    module: str
    attribute: str
    """Its name in the module, with dots."""
    options: tuple[str, ...] | None
    """Options that ``name:option=value`` may set; None: known once it is imported."""
    package: str | None = None
    """The installed package that adds it; None: boxwright."""

    @property
    def source(self) -> str:
        """``module:attribute``."""
        return f"{self.module}:{self.attribute}"


_SOURCES = {
    "anchors": "recipes/anchors.py",
    "matcher": "matching",
    "coder": "coding.py",
    "miner": "mining.py",
    "class_loss": "losses",
    "box_loss": "losses",
    "augment": None,
    "backbone": "models",
    "sampling": "data/sampling.py",
    "reader": "data/readers",
    "optimizer": "training/optimizers.py",
    "schedule": "training/schedule.py",
}
"""Recipe key -> the file, or the folder of files, whose functions and classes with its decorator are its parts."""
_WITHOUT_PART = {"miner": ("none",), "augment": ("none", "light", "ssd"), "sampling": ("uniform",), "reader": ("auto",)}
"""Names that stand for no part: the value of the key says all."""
_AFFIX = re.compile("^match_|_loss$|Coder$|Reader$")
"""Affixes that a part's name in a recipe leaves out: match_atss is atss, giou_loss is giou, DeltaCoder is delta."""
_NO_OPTIONS = frozenset({"reduction", "nms_iou"})
_NO_VALUES = frozenset({"Tensor", "torch.Generator", "None"})
"""Types whose values a recipe can't write down; an option that takes nothing else is none."""

PART_KEYS = tuple(_SOURCES)
"""The recipe keys whose values name parts."""


@cache
def built_in(key: str) -> dict[str, Entry | None]:
    """The parts of boxwright that have a name for a recipe key; None: the name stands for no part."""
    named: dict[str, Entry | None] = dict.fromkeys(_WITHOUT_PART.get(key, ()))
    source = _SOURCES.get(key)
    if source is None:
        return named
    root = Path(__file__).parent
    place = root / source
    for path in [place] if place.is_file() else sorted(place.glob("[!_]*.py")):
        module = ".".join(("boxwright", *path.relative_to(root).with_suffix("").parts))
        for part in _declared(path, key):
            named[_AFFIX.sub("", part.name).lower()] = Entry(module, part.name, tuple(_options(part)))
    return named


def _declared(path: Path, key: str) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes of a file that are declared for a key."""
    decorator = DECORATORS[key].removeprefix("@bw.").partition("(")[0]
    for block in _blocks(path):
        if not re.search(rf"^@{decorator}\b", block, re.MULTILINE):  # parsing takes far longer
            continue
        for node in ast.parse(block).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and _is_part(node, decorator):
                yield node


def _is_part(node: ast.FunctionDef | ast.ClassDef, decorator: str) -> bool:
    words = (ast.unparse(each) for each in node.decorator_list)
    # Criteria add the distribution loss by themselves.
    return any(re.match(rf"{decorator}\b", each) and "'distribution'" not in each for each in words)


@cache
def _blocks(path: Path) -> list[str]:
    """Split a file into its functions, classes and what is between them: two empty lines, as ruff puts them there."""
    return path.read_text(encoding="utf-8").split("\n\n\n")


def _options(part: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """Parameters with a default, fields of a dataclass with one, that a recipe can give."""
    if isinstance(part, ast.ClassDef):
        fields = (field for field in part.body if isinstance(field, ast.AnnAssign) and field.value is not None)
        optional = [(ast.unparse(field.target), field.annotation) for field in fields]
        optional = [(name, kind) for name, kind in optional if not ast.unparse(kind).startswith("ClassVar")]
    else:
        plain, named = part.args.args, part.args.kwonlyargs
        found = plain[len(plain) - len(part.args.defaults) :]
        found += [each for each, default in zip(named, part.args.kw_defaults, strict=True) if default is not None]
        optional = [(each.arg, each.annotation or ast.Constant(None)) for each in found]
    for name, kind in optional:
        if name not in _NO_OPTIONS and not _NO_VALUES.issuperset(ast.unparse(kind).split(" | ")):
            yield name


@cache
def installed(key: str) -> dict[str, Entry | None]:
    """The parts that installed packages add, as entry points of the group ``boxwright.KEY``."""
    points = entry_points(group=f"boxwright.{key}")
    return {point.name: _of_package(point) for point in points if point.name not in built_in(key)}


def named_parts(key: str) -> dict[str, Entry | None]:
    """All parts that have a name for a recipe key."""
    return built_in(key) | installed(key)


def find_part(key: str, name: str) -> tuple[bool, Entry | None]:
    """Whether there is a part of that name, and where; packages are only searched for what isn't boxwright's."""
    known = built_in(key) if name in built_in(key) else installed(key)
    return name in known, known.get(name)


def _of_package(point: EntryPoint) -> Entry:
    return Entry(point.module, point.attr, None, point.dist.name if point.dist else "an installed package")

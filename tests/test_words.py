"""Plain words: phrases that readers stumbled over don't come back, and docstrings begin with a verb."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import boxwright

ROOT = Path(boxwright.__file__).parent
HERE = Path(__file__).parents[1]
SOURCES = sorted(ROOT.rglob("*.py"))
PAGES = [HERE / "README.md", *sorted((HERE / "docs").rglob("*.md"))]

PHRASES = (
    r"as they lie\b",
    r"what there is\b",
    r"by heart\b",
    r"tells? of\b",
    r"\bno longer training would",
    r"\bmends?\b|\bmended\b|\bmending\b",
    r"\blearnt\b",
    r"\w(al|im)is(e|ed|er|es|ing|ation)\b|\bcent(re|red|reness)\b|(col|behavi|fav|neighb)our|\b(un|mis)?label(led|ling)\b",
)
"""Each with plain words for it: fix, learn, describe ..."""

NO_VERBS = {
    *("a", "all", "an", "both", "each", "every", "how", "in", "its", "no", "of", "one", "or", "so", "some", "that"),
    *("the", "their", "these", "this", "those", "two", "what", "where", "whether", "which"),
}
PACKAGES = (
    *("_util", "adapters", "check", "cli", "compare", "criterion", "data/readers", "doctor", "evaluate", "export"),
    *(
        "hardest",
        "inspect",
        "losses",
        "matching",
        "models",
        "nms",
        "recipes",
        "report",
        "reproduce",
        "runs",
        "runtime",
        "serve",
    ),
    *("simulate", "training"),
)
"""Packages whose functions say first what they do."""
MODULES = ("boxes.py", "coding.py", "demo_data.py", "drawing.py", "mining.py", "parts.py", "types.py")


LINES = [
    (f"{path.name}:{number}: {line.strip()}", line)
    for path in [*SOURCES, *PAGES]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
]


@pytest.mark.parametrize("phrase", PHRASES)
def test_stumbling_blocks(phrase: str) -> None:
    assert len(LINES) > 40_000
    assert [place for place, line in LINES if re.search(phrase, line, flags=re.IGNORECASE)] == []


def first_words(path: Path) -> Iterator[tuple[str, str]]:
    """Name and first word of the docstring of each function that isn't a property."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (doc := ast.get_docstring(node)):
            decorators = " ".join(ast.unparse(each) for each in node.decorator_list)
            if "property" not in decorators:
                yield node.name, doc.split()[0]


@pytest.mark.parametrize("package", [*PACKAGES, *MODULES])
def test_functions_say_what_they_do(package: str) -> None:
    place = ROOT / package
    paths = [place] if place.is_file() else sorted(place.rglob("*.py"))
    words = [(path, *each) for path in paths for each in first_words(path)]
    assert words
    bad = [
        f"{path.relative_to(ROOT)}: {name}: {word} ..."
        for path, name, word in words
        if word.lower() in NO_VERBS or not word[0].isupper()
    ]
    assert bad == []

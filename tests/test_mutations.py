"""Every mutation of `make mutants` still fits the source: its text is there exactly once, and its tests are too."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from mutants import Mutation, read_mutations  # noqa: E402

MUTATIONS = read_mutations()


@pytest.mark.parametrize("row", MUTATIONS, ids=lambda row: f"{row.file}: {row.before.strip()[:30]}")
def test_a_mutation_fits_the_source(row: Mutation) -> None:
    source = (ROOT / "src" / "boxwright" / row.file).read_text(encoding="utf-8")
    assert source.count(row.before) == 1
    assert row.before != row.after
    ast.parse(source.replace(row.before, row.after))
    for test in row.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists()
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_no_mutation_stands_twice() -> None:
    assert len({(row.file, row.before, row.after) for row in MUTATIONS}) == len(MUTATIONS) >= 100

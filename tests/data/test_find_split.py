"""The split that a name means, and what an unknown name is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.data.splits import find_split
from boxwright.errors import DataError


@pytest.mark.parametrize(
    ("available", "split", "said"),
    [
        (("train", "val"), "test", "data: no split 'test'; there are train, val, which --split val measures on"),
        (("train", "test"), "val", "data: no split 'val'; there are test, train"),
        (("train",), "test", "data: no split 'test'; there are train"),
        ((), "test", "data: no split 'test'"),
    ],
)
def test_an_unknown_split_is_told_with_what_there_is(available: tuple[str, ...], split: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        find_split(available, split, Path("data"))
    assert str(error.value) == said

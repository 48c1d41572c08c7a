"""Words of messages."""

from math import nan

import pytest

from boxwright.text import decimals, plural


@pytest.mark.parametrize(
    ("number", "what", "words"),
    [
        (1, "error", "1 error"),
        (0, "error", "0 errors"),
        (2, "box", "2 boxes"),
        (3, "class", "3 classes"),
        (2, "validation image", "2 validation images"),
    ],
)
def test_plural(number: int, what: str, words: str) -> None:
    assert plural(number, what) == words


@pytest.mark.parametrize(
    ("values", "shown"),
    [((0.12345,), "0.123"), ((0.5, 0.25, 0.75), "0.500 [0.250, 0.750]"), ((0.5, nan, nan), "0.500"), ((nan,), "-")],
)
def test_numbers(values: tuple[float, ...], shown: str) -> None:
    assert decimals(*values) == shown

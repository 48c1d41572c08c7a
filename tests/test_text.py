"""Words of messages."""

import pytest

from boxwright.text import plural


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

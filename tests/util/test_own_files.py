"""What boxwright wrote and someone or something damaged is refused in one line."""

import os
from pathlib import Path
from typing import TypedDict

import pytest

from boxwright._util.own_files import read_own_json, typed
from boxwright.errors import RecipeError


class Content(TypedDict):
    number: int
    rows: list[dict[str, float]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"number": 1, "ro',
        b"\xff\xfe{\x00}\x00",
        b'{"number": 1, "rows": "caf\xe9"}',
        b"[" * 100_000,
        b'{"number": ' + b"1" * 5000 + b"}",
        b"[]",
        b"null",
        b'{"number": 1}',
        b'{"number": "1", "rows": []}',
        b'{"number": true, "rows": []}',
        b'{"number": 1, "rows": {}}',
        b'{"number": 1, "rows": [3]}',
        b'{"number": 1, "rows": [{"a": null}]}',
    ],
)
def test_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        typed(read_own_json(path, ": do this"), Content, path, ": do this")
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert str(caught.value).endswith(": do this")
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere"):
        with pytest.raises(RecipeError, match=f"can't read {path}: it is no file"):
            read_own_json(path)


def test_whole(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"number": 1, "rows": [{"a": 1, "b": NaN}], "more": "\\udce9"}')
    content = read_own_json(path)
    assert typed(content, Content, path)["rows"][0]["a"] == 1
    assert content["more"] == "\udce9"

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from boxwright._util.reading import as_text, as_utf8, escaped, map_regular, read_regular, readable

TEXT = "é 日本\n0 .5"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
    ],
)
def test_text_with_a_mark_in_any_unicode_encoding(data: bytes) -> None:
    assert as_text(data) == TEXT
    assert as_utf8(data) == TEXT.encode()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_text_without_a_mark_is_known_by_its_zeros(encoding: str) -> None:
    assert as_text("0 .5 .5\n".encode(encoding)) == "0 .5 .5\n"


@pytest.mark.parametrize(
    "data", [b"", b"a", b"\0", b"\0\0\0\0", b"\xff\xfe\x00", b"\xff\xfe\x00\xd8", b"\xff\xfe\x00\x00\x01"]
)
def test_half_a_character_breaks_nothing(data: bytes) -> None:
    as_text(data).encode("utf-8", "surrogateescape")


def test_bytes_that_are_no_utf8_stay_those_of_a_file_name() -> None:
    assert os.fsencode(as_text(b"caf\xe9.jpg")) == b"caf\xe9.jpg"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("car", "car"),
        (" car\t", "car"),
        ("\u3000車\xa0", "車"),
        ("caf\udce9 ", "café"),
        ("é\udce9", "éé"),
        ("\ud800x", "\\ud800x"),
        ("\udc81", "\ufffd"),
        (" ", ""),
    ],
)
def test_readable_names(text: str, expected: str) -> None:
    assert readable(text) == expected
    readable(text).encode()


def test_escaped() -> None:
    assert escaped("a\udce9é") == "a\\udce9é"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(tmp_path / "socket"))
    for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), tmp_path, tmp_path / "none"):
        with pytest.raises(OSError, match=r"pipe|No such|directory|device"):
            read_regular(path)
    (tmp_path / "file").write_bytes(b"x")
    assert read_regular(tmp_path / "file") == b"x"
    for name in ("a\0b", "\ud800"):
        with pytest.raises(ValueError, match=r"null|surrogates"):
            read_regular(tmp_path / name)


def test_beginning_and_end_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)))
    assert read_regular(path, 64) == bytes([*range(64), *range(196, 200)])
    assert read_regular(path, 198) == read_regular(path, 200) == bytes(range(200))


def test_a_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert map_regular(path)[:] == b"abc"
    path.write_bytes(b"")
    assert map_regular(path)[:] == b""
    with pytest.raises(OSError, match="directory"):
        map_regular(tmp_path)

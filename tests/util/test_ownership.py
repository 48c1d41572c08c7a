"""What boxwright wrote may be replaced, what people wrote may not."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from boxwright._util.ownership import GENERATOR, MADE_BY, claim, is_marked, is_ours, mark_folder, mark_new_folder
from boxwright.errors import WriteError


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        ("", True),
        ("[]\n", True),
        (json.dumps({"generator": GENERATOR, "images": []}), True),
        (json.dumps([{"generator": GENERATOR, "image_id": 1}], indent=2), True),
        (f'<!doctype html><meta name="generator" content="{GENERATOR}">', True),
        ('{"images": []}', False),
        ("<html>boxwright</html>", False),
    ],
)
def test_a_file_says_who_wrote_it(tmp_path: Path, content: str, ours: bool) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    assert is_ours(file) is ours
    if ours:
        claim(file)
    else:
        with pytest.raises(WriteError, match=r"file is there, and boxwright didn't write it: .* --overwrite"):
            claim(file)
        claim(file, overwrite=True)


def test_what_a_command_reads_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps({"generator": GENERATOR}))
    (tmp_path / "link.json").symlink_to("train.json")
    with pytest.raises(WriteError, match=r"link\.json is read by this very command"):
        claim(tmp_path / "link.json", overwrite=True, inputs=[tmp_path / "train.json"])


def test_new_files_and_marked_folders(tmp_path: Path) -> None:
    claim(tmp_path / "new.json")
    assert not is_marked(tmp_path)
    mark_folder(tmp_path / "run", "run")
    assert is_marked(tmp_path / "run")
    with pytest.raises(WriteError, match="it is a folder"):
        claim(tmp_path / "run", overwrite=True)


def test_all_are_looked_at_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(WriteError, match=r"mine\.json is there"):
        claim(tmp_path / "new.html", tmp_path / "mine.json")


def test_inputs_are_known_by_any_name(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"pixels")
    (tmp_path / "hard.jpg").hardlink_to(photo)
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("hard.jpg", "folder/photo.jpg", "folder/folder/photo.jpg"):
        with pytest.raises(WriteError, match="read by this very command"):
            claim(tmp_path / name, overwrite=True, inputs=[tmp_path / "missing.jpg", Path("\0"), photo])


def test_inputs_are_left_alone_where_all_is_new(tmp_path: Path) -> None:
    def inputs() -> Iterator[Path]:
        raise AssertionError
        yield

    claim(tmp_path / "new.json", inputs=inputs())


def test_dangling_links_and_odd_places(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to("nowhere.json")
    with pytest.raises(WriteError, match=r"link\.json is there"):
        claim(tmp_path / "link.json")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    for place, reason in (
        ("loop/x.json", "loop is no folder"),
        ("file/x.json", "file is no folder"),
        ("x" * 256, "file name too long"),
    ):
        with pytest.raises(WriteError, match=reason):
            claim(tmp_path / place)


def test_a_folder_that_takes_nothing_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # as on a read-only file system
    with pytest.raises(WriteError, match="nothing may be written into"):
        claim(tmp_path / "new" / "x.json")


def test_a_pipe_holds_nothing_and_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    claim(tmp_path / "pipe")
    assert not is_ours(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"comment": MADE_BY, "quality": 92}), ("GIF", {"comment": MADE_BY.encode()}), ("JPEG", {})],
)
def test_pictures_say_it_in_their_comment(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "picture", kind, **options)
    assert is_ours(tmp_path / "picture") is bool(options)


def test_only_a_folder_without_anything_is_marked(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").touch()
    (tmp_path / "empty").mkdir()
    for name in ("mine", "empty", "new/deep"):
        mark_new_folder(tmp_path / name, "predictions")
    assert [is_marked(tmp_path / name) for name in ("mine", "empty", "new/deep")] == [False, True, True]

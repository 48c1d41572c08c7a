from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxwright._util.remembered import cache_folder
from boxwright.data import near
from boxwright.data.grouping import grouped
from boxwright.data.near import near_pairs, thumbnails_of
from dataset_builders import picture, write_picture


def test_copies_that_were_saved_again_are_near(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1)
    write_picture(tmp_path / "b.jpg", 1, quality=60)
    Image.fromarray(picture(1)).resize((160, 120)).save(tmp_path / "c.png")
    Image.fromarray((picture(1) * 0.8).astype(np.uint8)).save(tmp_path / "d.png")
    write_picture(tmp_path / "e.png", 2)
    names = ["a.png", "b.jpg", "c.png", "d.png", "e.png"]
    assert grouped(tmp_path, names) == [[0, 1, 2, 3], [4]]
    assert near_pairs(thumbnails_of(tmp_path, names).astype(np.float32)).keys() == {1, 2, 3}


def test_what_cannot_be_read_is_like_nothing(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture " + name.encode())
    names = ["a.jpg", "b.jpg", "missing.jpg", "gone.jpg"]
    Image.new("RGB", (40, 40)).save(tmp_path / "black.png")
    Image.new("RGB", (40, 41)).save(tmp_path / "dark.png")
    assert grouped(tmp_path, [*names, "black.png", "dark.png"]) == [[0], [1], [2], [3], [4], [5]]


def test_deep_pictures_are_compared_by_their_own_range(tmp_path: Path) -> None:
    gray = picture(5)[..., 0].astype(np.uint16)
    Image.fromarray(gray * 3).save(tmp_path / "a.png")
    Image.fromarray(gray * 200 + 100).save(tmp_path / "b.png")
    Image.fromarray(picture(6)[..., 0].astype(np.uint16) * 200).save(tmp_path / "c.png")
    assert grouped(tmp_path, ["a.png", "b.png", "c.png"]) == [[0, 1], [2]]


def test_thumbnails_are_kept_by_path_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{i}.png" for i in range(4)]
    for i, name in enumerate(names):
        write_picture(tmp_path / name, i)
    first = thumbnails_of(tmp_path, names)
    made: list[str] = []
    thumbnail = near._thumbnail
    monkeypatch.setattr(near, "_thumbnail", lambda path: made.append(path.name) or thumbnail(path))
    np.testing.assert_array_equal(thumbnails_of(tmp_path, names), first)
    assert made == []
    write_picture(tmp_path / "2.png", 9)
    os.utime(tmp_path / "2.png", ns=(1, 1))
    write_picture(tmp_path / "4.png", 10)
    again = thumbnails_of(tmp_path, [*names, "4.png"])
    assert sorted(made) == ["2.png", "4.png"]
    np.testing.assert_array_equal(again[[0, 1, 3]], first[[0, 1, 3]])
    assert (again[2] != first[2]).any()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", b"\x80\x04."])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    write_picture(tmp_path / "a.png", 1)
    first = thumbnails_of(tmp_path, ["a.png"])
    for file in (cache_folder() / "thumbnails").iterdir():
        file.write_bytes(damage)
    np.testing.assert_array_equal(thumbnails_of(tmp_path, ["a.png"]), first)


def test_large_data_is_compared_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxwright.data.grouping.MOST_COMPARED", 1)
    write_picture(tmp_path / "a.png", 1)
    write_picture(tmp_path / "b.jpg", 1)
    write_picture(tmp_path / "c.jpg", 2)
    names = ["a.png", "b.jpg", "c.jpg"]
    assert grouped(tmp_path, names) == [[0], [1], [2]]
    assert grouped(tmp_path, names, "near") == [[0, 1], [2]]

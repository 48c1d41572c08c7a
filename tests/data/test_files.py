from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from boxwright._util.ownership import mark_folder
from boxwright._util.writing import write_json
from boxwright.data.files import Strings, Tree, parts_of
from boxwright.errors import DataError
from dataset_builders import write_picture, write_text


def test_a_walk_finds_all_files_in_order_but_hidden_ones_and_boxwrights_own(tmp_path: Path) -> None:
    for name in ("b/x.txt", "a.txt", "b/c/d/y.jpg", ".git/z.txt", "b/.w.txt", "runs/one/a.jpg", "runs/mine.txt"):
        write_text(tmp_path / name, "x")
    mark_folder(tmp_path / "runs" / "one", "run")
    tree = Tree(tmp_path)
    assert tree.below() == ["a.txt", "b/c/d/y.jpg", "b/x.txt", "runs/mine.txt"]
    assert tree.below("b") == ["b/c/d/y.jpg", "b/x.txt"]
    assert tree.images_below() == ["b/c/d/y.jpg"]
    assert tree.marked == ["runs/one"]
    assert tree.state("runs/one/a.jpg") == "missing"


def test_a_marked_folder_that_is_named_is_read(tmp_path: Path) -> None:
    mark_folder(tmp_path, "demo data")
    write_text(tmp_path / "a.txt", "x")
    assert Tree(tmp_path).below() == ["a.txt"]


def test_links_out_of_the_folder_are_followed_only_where_that_is_allowed(tmp_path: Path) -> None:
    write_text(tmp_path / "store" / "deep" / "a.jpg", "x")
    root = tmp_path / "data"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "store")
    (root / "one.jpg").symlink_to(tmp_path / "store" / "deep" / "a.jpg")
    (root / "loop").symlink_to(root)
    (tmp_path / "store" / "back").symlink_to(root)
    closed, followed = Tree(root), Tree(root, allow_links=True)
    assert closed.below() == ["images", "loop", "one.jpg"]
    assert (closed.state("one.jpg"), closed.state("images/deep/a.jpg")) == ("outside", "outside")
    assert closed.links["images"] == str(tmp_path / "store")
    with pytest.raises(DataError, match="outside"):
        closed.read("one.jpg")
    assert followed.below() == ["images/back", "images/deep/a.jpg", "loop", "one.jpg"]
    assert followed.read("images/deep/a.jpg") == b"x"
    assert followed.links["images"] == str(tmp_path / "store")


def test_a_folder_outside_is_admitted_only_where_that_is_allowed(tmp_path: Path) -> None:
    write_text(tmp_path / "store" / "a.jpg", "x")
    (tmp_path / "data").mkdir()
    for place in (str(tmp_path / "store"), "../store"):
        closed, followed = Tree(tmp_path / "data"), Tree(tmp_path / "data", allow_links=True)
        assert not closed.admit(place)
        assert followed.admit(place)
        assert not followed.admit("../nowhere")
        assert (closed.state(f"{place}/a.jpg"), followed.state(f"{place}/a.jpg")) == ("outside", "there")
        assert followed.images_below(f"{place}") == [f"{place}/a.jpg"]
        assert followed.state("../data2/a.jpg") == "outside"


def test_pipes_devices_and_dangling_links(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "to-pipe").symlink_to("pipe.txt")
    (tmp_path / "nowhere").symlink_to("none")
    tree = Tree(tmp_path)
    assert [tree.state(name) for name in ("pipe.txt", "to-pipe", "nowhere")] == ["special", "special", "missing"]
    with pytest.raises(DataError, match=r"pipe\.txt: is a pipe, a device or a socket, not a file"):
        tree.read("pipe.txt")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/home/me/set/images/a.jpg", "images/a.jpg"),
        ("C:\\set\\images\\a.jpg", "images/a.jpg"),
        ("../other/a.jpg", "images/a.jpg"),
        ("a.jpg", "images/a.jpg"),
        ("images/b.jpg", "images/b.jpg"),
        ("elsewhere/b.jpg", None),  # two are called so
        ("c.jpg", None),
        ("", None),
        ("..", None),
    ],
)
def test_paths_of_another_machine(tmp_path: Path, path: str, found: str | None) -> None:
    for name in ("images/a.jpg", "images/b.jpg", "more/b.jpg"):
        write_text(tmp_path / name, "x")
    assert Tree(tmp_path).nearest(path) == found


@pytest.mark.parametrize(
    ("written", "there", "found"),
    [
        ("a.jpg", ("x/a.JPG",), "x/a.JPG"),
        ("C:/x/a.jpeg", ("x/a.JPEG", "y/a.JPEG"), "x/a.JPEG"),
        ("a.jpg", ("x/a.JPG", "y/a.jpg"), "y/a.jpg"),
        ("a.jpg", ("x/a.JPG", "y/a.Jpg"), None),
        ("a.jpg", ("x/A.jpg",), None),  # another picture, as far as anybody knows
        ("caf\u00e9.jpg", ("x/cafe\u0301.jpg",), "x/cafe\u0301.jpg"),
        ("cafe\u0301.jpg", ("x/caf\u00e9.JPG",), "x/caf\u00e9.JPG"),
        ("https://host/x/a%201.jpg?token=7", ("x/a 1.jpg",), "x/a 1.jpg"),
        ("https://host/y/a.jpg", ("x/a.jpg",), "x/a.jpg"),
        ("a.jpg?token=7", ("x/a.jpg",), None),
    ],
)
def test_other_spellings_of_a_path(tmp_path: Path, written: str, there: tuple[str, ...], found: str | None) -> None:
    for name in there:
        write_text(tmp_path / name, "x")
    assert Tree(tmp_path).nearest(written) == found


@pytest.mark.parametrize(
    ("home", "found"),
    [
        ("", True),
        ("train", True),
        ("trainval2007/a", True),
        ("x/Train", True),
        ("valid", False),
        ("test/images", False),
    ],
)
def test_a_namesake_in_the_folder_of_another_split_is_not_meant(tmp_path: Path, home: str, found: bool) -> None:
    write_text(tmp_path / "train2017" / "a.jpg", "x")
    assert Tree(tmp_path).nearest("a.jpg", home) == ("train2017/a.jpg" if found else None)


def test_absurd_paths_take_no_time(tmp_path: Path) -> None:
    for place in range(40):
        (tmp_path / "/".join("a" * (place + 1))).mkdir()
    tree, start = Tree(tmp_path), time.process_time()
    for path in ("a/" * 3000, "a/" * 2000, "/" + "a/" * 2040, "a/../" * 800, "b/" * 1_000_000, "\0/a", "~" * 300):
        assert tree.nearest(path) is None
        assert tree.state(path) in ("missing", "outside", "there")
    assert time.process_time() - start < 1


def test_parts_of_a_path_of_any_system() -> None:
    assert parts_of("C:\\a\\b.jpg") == parts_of("/a/./b.jpg") == parts_of("../a//b.jpg") == ["a", "b.jpg"]


def test_own_files(tmp_path: Path) -> None:
    write_json(tmp_path / "ours.json", {"generator": "boxwright 1", "images": []})
    write_text(tmp_path / "empty.json", "[]\n")
    write_picture(tmp_path / "ours.jpg", 1, comment=b"made by boxwright 1")
    write_picture(tmp_path / "theirs.jpg", 1)
    names = ("ours.json", "empty.json", "ours.jpg", "theirs.jpg", "none.json")
    assert [Tree(tmp_path).is_own(name) for name in names] == [True, False, True, False, False]
    assert not Tree(tmp_path, own=True).is_own("ours.json")


def test_strings_keep_names_that_are_no_unicode() -> None:
    assert Strings.pack(["caf\udce9.jpg"])[0] == "caf\udce9.jpg"

"""Which files a prediction is about."""

import os
from pathlib import Path

import pytest
from PIL import Image

from boxwright._util.ownership import MADE_BY, mark_folder
from boxwright.errors import BoxwrightWarning, DataError
from boxwright.runs.predict import find_images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", "below/a.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "images"


def test_folders_are_searched_below_and_other_files_left_alone(folder: Path) -> None:
    (folder / "._b.jpg").touch()  # macOS leaves these beside the images
    (folder / "folder.jpg").mkdir()
    assert find_images([str(folder)]) == [folder / "a.PNG", folder / "b.jpg", folder / "below" / "a.png"]


def test_pictures_that_need_a_plugin_or_another_format_are_found(folder: Path) -> None:
    for name in ("c.heic", "d.AVIF", "e.dng"):
        (folder / name).touch()
    assert find_images([str(folder)])[2:] == [
        folder / "below" / "a.png",
        *(folder / n for n in ("c.heic", "d.AVIF", "e.dng")),
    ]


def test_globs_relative_and_absolute(folder: Path) -> None:
    assert find_images(["images/*.jpg"]) == [Path("images/b.jpg")]
    assert find_images([str(folder / "*" / "*.png")]) == [folder / "below" / "a.png"]
    assert find_images(["images/**/*.png"])[-1] == Path("images/below/a.png")
    assert len(find_images(["images/**"])) == 3


def test_each_image_once_in_the_order_of_the_sources(folder: Path) -> None:
    assert find_images(["images/b.jpg", "images"]) == [
        Path("images/b.jpg"),
        Path("images/a.PNG"),
        Path("images/below/a.png"),
    ]


def test_a_name_with_the_signs_of_a_glob_is_a_name(folder: Path) -> None:
    (folder / "[b]*?.jpg").touch()
    assert find_images(["images/[b]*?.jpg"]) == [Path("images/[b]*?.jpg")]


@pytest.mark.parametrize(
    "source",
    ["images/c.jpg", "", "**a", "***", "/**a", "[", "[!]", "images/*.gif", "images/notes.tx?", "~", "x" * 300, "a\0b"],
)
def test_a_source_without_images_is_named(source: str, folder: Path) -> None:
    with pytest.raises(DataError, match="no image at ") as told:
        find_images(["images/b.jpg", source])
    assert source in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_links_that_loop_are_not_followed(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / "below" / "up").symlink_to("..")
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "linked.jpg").symlink_to("b.jpg")
    names = ["a.PNG", "b.jpg", "below/a.png", "linked.jpg"]
    assert find_images([str(folder)]) == [folder / name for name in names]
    assert find_images(["images/**/*.png"]) == [Path("images/below/a.png")]


def test_pipes_and_devices_are_left_out_by_name(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    assert len(find_images([str(folder)])) == 3
    with pytest.warns(BoxwrightWarning, match=r"left out images/pipe\.jpg: it is no regular file"):
        assert find_images(["images/pipe.jpg", "images/b.jpg"]) == [Path("images/b.jpg")]
    for source in ("images/pipe.jpg", "/dev/null"):
        with pytest.raises(DataError, match=f"no image at {source}: it is no regular file"):
            find_images([source])


def test_what_boxwright_made_is_no_photograph(folder: Path) -> None:
    mark_folder(folder / "found", "predictions")
    (folder / "found" / "b.jpg").touch()
    Image.new("RGB", (8, 8)).save(folder / "drawn.jpg", comment=MADE_BY)
    with pytest.warns(BoxwrightWarning) as told:
        assert len(find_images([str(folder)])) == 3
    said = [str(warning.message) for warning in told]
    assert said == [
        f"left out the folder {folder / 'found'}: boxwright made it",
        f"left out 1 of the pictures at {folder}: boxwright drew them",
    ]
    assert find_images([str(folder / "drawn.jpg")]) == [folder / "drawn.jpg"]  # where it is named
    assert find_images([str(folder / "found")]) == [folder / "found" / "b.jpg"]

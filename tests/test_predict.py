"""Which files a prediction is about."""

from pathlib import Path

import pytest

from boxwright.errors import DataError
from boxwright.predict import find_images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", "below/a.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "images"


def test_folders_are_searched_below_and_other_files_left_alone(folder: Path) -> None:
    assert find_images([str(folder)]) == [folder / "a.PNG", folder / "b.jpg", folder / "below" / "a.png"]


def test_globs_relative_and_absolute(folder: Path) -> None:
    assert find_images(["images/*.jpg"]) == [Path("images/b.jpg")]
    assert find_images([str(folder / "*" / "*.png")]) == [folder / "below" / "a.png"]
    assert find_images(["images/**/*.png"])[-1] == Path("images/below/a.png")


def test_each_image_once_in_the_order_of_the_sources(folder: Path) -> None:
    assert find_images(["images/b.jpg", "images"]) == [
        Path("images/b.jpg"),
        Path("images/a.PNG"),
        Path("images/below/a.png"),
    ]


def test_a_source_without_images_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="no image at images/c"):
        find_images(["images/b.jpg", "images/c.jpg"])

"""Folders are made at once, for one process, and never in the place of people's files."""

from pathlib import Path

import pytest

from boxwright._util.folders import taken_folder
from boxwright._util.ownership import is_marked
from boxwright.errors import RecipeError, WriteError

NAMES = ("plan.json", "runs")


def take(folder: Path, *, begin: bool = True) -> None:
    with taken_folder(folder, "comparison", NAMES, "x.lock"):
        if begin:
            (folder / "plan.json").write_text('{"generator": "boxwright 1"}')


def everything(folder: Path) -> dict[str, str | None]:
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in folder.rglob("*")}


def test_a_new_folder_is_marked_and_goes_again_where_nothing_was_begun(tmp_path: Path) -> None:
    take(tmp_path / "a" / "b", begin=False)
    assert everything(tmp_path) == {}
    take(tmp_path / "a" / "b")
    assert is_marked(tmp_path / "a" / "b")
    assert not is_marked(tmp_path / "a")
    take(tmp_path / "a" / "b", begin=False)
    assert (tmp_path / "a" / "b" / "plan.json").exists()


def test_an_empty_folder_is_marked_and_stays_where_nothing_was_begun(tmp_path: Path) -> None:
    take(tmp_path, begin=False)
    assert everything(tmp_path) == {}
    take(tmp_path)
    assert is_marked(tmp_path)


def test_a_folder_of_people_stays_theirs_and_may_be_used_again(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    take(tmp_path, begin=False)
    assert everything(tmp_path) == {"notes.txt": "mine"}
    for _ in range(2):
        take(tmp_path)
    assert everything(tmp_path).keys() == {"notes.txt", "plan.json", "x.lock"}


@pytest.mark.parametrize("name", NAMES)
def test_what_people_have_there_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(WriteError, match=rf"{name} is there, and boxwright didn't write it: .*--out"):
        take(tmp_path)
    assert everything(tmp_path) == {name: "{}"}


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(WriteError, match="can't write"):
            take(folder)
    assert everything(tmp_path) == {"a": "mine"}


def test_only_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with (
        taken_folder(folder, "comparison", NAMES, "x.lock"),
        pytest.raises(RecipeError, match="is in use by process"),
        taken_folder(folder, "comparison", NAMES, "x.lock"),
    ):
        pass
    assert not folder.exists()

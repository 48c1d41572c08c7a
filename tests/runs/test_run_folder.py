"""A run folder is made for one process alone, and never in the place of something."""

from pathlib import Path

import pytest
from run_builders import untrained

from boxwright._util.ownership import is_marked
from boxwright.errors import RecipeError, WriteError
from boxwright.runs import Run
from boxwright.runs.folder import held_run, new_run


def begin(out: Path | None, *, end: str = "model.safetensors") -> Run:
    with new_run(out, "data-lite320") as run:
        run.recipe_file.write_text("detector: lite320\n")
        (run.folder / end).write_text("")
    return run


def test_folders_are_numbered_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [begin(None), begin(None)]
    with new_run(None, "data-lite320") as third, new_run(None, "data-lite320") as fourth:
        runs += [third, fourth]
    names = ["data-lite320", "data-lite320-2", "data-lite320-3", "data-lite320-4"]
    assert [run.folder for run in runs] == [Path("runs") / name for name in names]
    assert sorted(path.name for path in Path("runs").iterdir()) == names[:2]  # nothing was begun in the others
    assert all(is_marked(run.folder) for run in runs[:2])


def test_nothing_is_left_where_nothing_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (None, tmp_path / "a" / "b"):
        with pytest.raises(ZeroDivisionError), new_run(out, "x"):
            raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", ["model.safetensors", "best.ckpt", "last.ckpt"])
def test_a_run_is_never_begun_over_another(tmp_path: Path, kept: str) -> None:
    begin(tmp_path / "a", end=kept)
    with pytest.raises(RecipeError, match=r"a holds a run already: .*--out, or --resume"), new_run(tmp_path / "a", ""):
        pass
    assert {path.name for path in (tmp_path / "a").iterdir()} == {".boxwright", "recipe.yaml", "run.lock", kept}


def test_what_was_killed_before_its_first_checkpoint_may_begin_again(tmp_path: Path) -> None:
    for end in ("metrics.csv", "data.json", "model.safetensors"):
        begin(tmp_path / "a", end=end)


def test_a_recipe_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("lr: 1\n")
    with pytest.raises(RecipeError, match="holds a run already"), new_run(tmp_path, ""):
        pass
    (tmp_path / "recipe.yaml").rename(tmp_path / "data.json")
    with pytest.raises(WriteError, match=r"data\.json is there, and boxwright didn't write it"), new_run(tmp_path, ""):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    run = begin(tmp_path / "a", end="data.json")
    with new_run(tmp_path / "a", ""), pytest.raises(RecipeError, match="a is in use by process"), held_run(run):
        pass
    with held_run(run), pytest.raises(RecipeError, match="a is in use by process"), new_run(tmp_path / "a", ""):
        pass


def test_what_cannot_go_on_gets_no_lock(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(RecipeError, match=r"can't resume .*: it has no recipe\.yaml$"), held_run(Run(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    run = begin(tmp_path / "a", end="metrics.csv")
    with pytest.raises(RecipeError, match=rf"no data\.json: start it again with --out {run.folder}"), held_run(run):
        pass


def test_an_untrained_run_loads(tmp_path: Path) -> None:
    assert untrained(tmp_path).load().classes == ("cat", "dog")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[1, 2]", b"detector: nope", b"width: {}", b"lr: [", b"classes: 3\nwidth: x"]
)
def test_a_damaged_recipe_is_one_line(tmp_path: Path, content: bytes) -> None:
    run = untrained(tmp_path)
    run.recipe_file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"^[^\n]*recipe\.yaml[^\n]*$"):
        run.load()


def test_a_folder_in_the_place_of_the_recipe(tmp_path: Path) -> None:
    run = untrained(tmp_path)
    run.recipe_file.unlink()
    run.recipe_file.mkdir()
    with pytest.raises(RecipeError, match=r"is no run folder: it has no recipe\.yaml"):
        run.load()
    with pytest.raises(RecipeError, match=r"is no run folder: it has no recipe\.yaml"):
        _ = run.recipe

"""A comparison's folder: for one process at a time, beside people's files, and damage in it is one line."""

import copy
import json
import os
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from boxwright._util.locking import locked
from boxwright._util.ownership import is_marked
from boxwright.compare import compare
from boxwright.compare import comparison as workflow
from boxwright.compare.plan import plan
from boxwright.compare.results.results import METRICS, RunResult
from boxwright.compare.run import execute as execution
from boxwright.compare.run import executors, features
from boxwright.compare.run.execute import _clear, execute
from boxwright.compare.run.features import Features, cache_features
from boxwright.compare.run.jobs import Job, write_result
from boxwright.data import read_dataset
from boxwright.errors import RecipeError, WriteError
from command_line import Boxwright
from comparison_builders import TINY, fake, job, recipe
from damages import DAMAGES, is_one_line, within

VARY = {"lr": [0.001, 0.002]}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    jobs: list[Job] = []
    monkeypatch.setattr(executors, "run_locally", fake(jobs))
    return jobs


def again(data: Path, folder: Path) -> None:
    compare(data, VARY, out=folder, console=Console(quiet=True), seeds=1, steps=8, **TINY)


@pytest.fixture
def made(data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished comparison; no training is timed."""
    monkeypatch.setattr(plan, "seconds_per_step", lambda *_: 0.1)
    again(data, tmp_path / "c")
    return tmp_path / "c"


def test_it_is_marked_and_goes_on(made: Path, data: Path, ran: list[Job]) -> None:
    assert is_marked(made)
    assert all(json.loads((made / name).read_text())["generator"] for name in ("plan.json", "compare.json"))
    again(data, made)
    assert len(ran) == 2


def test_a_second_one_at_the_same_time_is_refused(
    data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "seconds_per_step", lambda *_: 0.1)
    begun = workflow._run

    def meanwhile(*arguments: Any) -> Any:
        with pytest.raises(RecipeError, match=rf"c is in use by process {os.getpid()} on .*: wait"):
            again(data, tmp_path / "c")
        return begun(*arguments)

    monkeypatch.setattr(workflow, "_run", meanwhile)
    again(data, tmp_path / "c")
    assert len(ran) == 2


def test_beside_files_of_people_and_never_over_them(
    data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "seconds_per_step", lambda *_: 0.1)
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):  # it goes on too
        again(data, tmp_path)
    assert not is_marked(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "compare.json").write_text("mine")
    with pytest.raises(WriteError, match=r"compare\.json is there, and boxwright didn't write it: .*--out"):
        again(data, tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["compare.json"]


def damaged(content: Any, *place: Any, value: Any) -> Any:
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


CONTENTS: list[Callable[[Any], bytes]] = [
    lambda _: b"",
    lambda content: json.dumps(content).encode()[:-9],
    lambda content: json.dumps(content).encode("utf-16"),
    lambda _: b"[]",
    lambda _: b"{}",
]
OF_PLAN = [
    *(("plan", key) for key in ("steps", "seconds_per_step", "box_weights", "weights_by", "seconds_of_features")),
    ("plan",),
    ("request",),
]
OF_RESULT = ["arm", "seed", "metrics", "per_class", "errors", "seconds", "images_per_second", "peak_memory_mb", "steps"]


def test_a_damaged_plan_is_one_line(made: Path, data: Path) -> None:
    file = made / "plan.json"
    whole = json.loads(file.read_text())
    contents = [damage(whole) for damage in CONTENTS]
    contents += [json.dumps(damaged(whole, *place, value=[{}])).encode() for place in OF_PLAN]
    contents += [json.dumps(damaged(whole, "plan", "steps", value=0)).encode()]
    for content in contents:
        file.write_bytes(content)
        with pytest.raises(RecipeError, match=r"^[^\n]*plan\.json is damaged: [^\n]*: name another folder with --out$"):
            plan._kept_plan(file, {})
    with pytest.raises(RecipeError, match=r"plan\.json is damaged"):
        again(data, made)
    assert file.read_bytes() == content
    file.unlink()
    file.mkdir()
    with pytest.raises(RecipeError, match=r"can't read .*plan\.json: it is no file"):
        again(data, made)


def test_a_damaged_result_is_one_line_and_never_run_over(made: Path, data: Path, ran: list[Job]) -> None:
    file = ran[0].result_file
    whole = json.loads(file.read_text())
    contents = [damage(whole) for damage in CONTENTS]
    contents += [json.dumps(damaged(whole, key, value=[[]])).encode() for key in OF_RESULT]
    contents += [json.dumps(damaged(whole, "metrics", value={"AP": 0.5})).encode()]
    contents += [json.dumps(damaged(whole, "per_class", "1", value={})).encode()]
    for content in contents:
        file.write_bytes(content)
        with pytest.raises(RecipeError, match=r"^[^\n]*result\.json is damaged: [^\n]*: remove it, and the same"):
            _ = ran[0].result
    with pytest.raises(RecipeError, match=r"result\.json is damaged"):
        again(data, made)
    assert file.read_bytes() == content
    for key, value in (("arm", "another"), ("seed", 7)):
        file.write_text(json.dumps(damaged(whole, key, value=value)))
        with pytest.raises(RecipeError, match=r"result\.json is of another run: remove it"):
            _ = ran[0].result
    assert len(ran) == 2
    file.unlink()
    file.mkdir()
    with pytest.raises(RecipeError, match=r"can't read .*result\.json: it is no file: remove it"):
        again(data, made)


@pytest.mark.parametrize(
    ("name", "damages", "read"),
    [
        ("plan.json", DAMAGES, set()),
        ("RUN/result.json", DAMAGES, set()),
        ("RUN/predictions/val.json", DAMAGES, {"list"}),  # nothing was found
        ("test.json", ["garbage", "UTF-16", "folder", "pipe"], set()),
        ("compare.json", ["garbage", "folder", "pipe"], {"garbage"}),  # it is written again
        ("RUN/last.ckpt", ["pipe"], {"pipe"}),  # nothing goes on from a finished run
    ],
)
def test_a_damaged_file_of_a_comparison(
    made: Path,
    data: Path,
    ran: list[Job],
    boxwright: Boxwright,
    name: str,
    damages: Collection[str],
    read: set[str],
) -> None:
    (made / "test.json").write_text(json.dumps({"arm": ran[0].arm, "runs": [], "mean": dict.fromkeys(METRICS, 0.5)}))
    settings = [f"--set={key}={value}" for key, value in TINY.items()]
    options = ["--vary", "lr=0.001,0.002", "--seeds=1", "--steps=8", "--test", "--out", made]
    path = made / name.replace("RUN", str(ran[0].folder))
    whole = path.read_bytes() if path.exists() else b"1, 2"
    found = set()
    for damage in damages:
        remove(path)
        DAMAGES[damage](path, whole)
        with within(60):
            outcome = boxwright("compare", data, *options, *settings)
        if outcome.code == 0:
            found.add(damage)
        else:
            assert outcome.code == 2, (damage, outcome)
            assert is_one_line(outcome, path.name), (damage, outcome.err)
    assert found == read
    assert len(ran) == 2


def remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def test_a_class_that_another_run_does_not_have_is_a_dash(made: Path, data: Path, ran: list[Job]) -> None:
    file = ran[0].result_file
    file.write_text(json.dumps(damaged(json.loads(file.read_text()), "per_class", value={})))
    comparison = compare(data, VARY, out=made, console=Console(quiet=True), seeds=1, steps=8, **TINY)
    assert np.isnan(comparison.class_mean(ran[0].arm, "1"))


def test_a_damaged_test_is_one_line(tmp_path: Path) -> None:
    for content in (b"", b"[]", b'{"arm": 1}', b'{"arm": "a", "runs": [], "mean": {}}', b'{"arm": "a", "runs": [3]}'):
        (tmp_path / "test.json").write_bytes(content)
        with pytest.raises(RecipeError, match=r"test\.json is damaged: [^\n]*: remove it, and the test split"):
            workflow._kept_test(tmp_path / "test.json")


def test_features_are_whole_or_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    cache_features(recipe(), read_dataset(data, "train").subset([0, 1]), whole)
    assert sorted(path.name for path in whole.iterdir()) == [
        *("map-0.npy", "map-1.npy", "map-2.npy", "meta.json", "targets.npz"),
    ]
    for file in sorted(whole.iterdir()):
        content = file.read_bytes()
        for damage in (b"", content[: len(content) // 2], b"something else", None):
            if damage is None:
                file.unlink()
            else:
                file.write_bytes(damage)
            with pytest.raises(RecipeError, match=r"^[^\n]*: remove the folder, and the features are computed again$"):
                Features.open(whole)
        file.write_bytes(content)
    assert Features.open(whole).images == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("name", ["map-1.npy", "targets.npz", "meta.json"])
def test_a_disk_that_fills_up_leaves_no_features(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / f".{name}.partial").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"can't write .*: no space left on device: free some space"):
        cache_features(recipe(), read_dataset(data, "train").subset([0, 1]), tmp_path)
    assert not features.is_cached(tmp_path)
    assert not list(tmp_path.glob(".*.partial"))


def test_a_job_waits_for_one_that_outlives_its_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes its result, rather than to clear the folder under it."""
    one = job(tmp_path, tmp_path / "a", recipe())
    one.folder.mkdir()
    result = RunResult("arm", 0, dict.fromkeys(METRICS, 0.5), {}, {}, 1.0, 2.0, 3.0, 4)
    held = ExitStack()
    held.enter_context(locked(one.lock_file))

    def end(_: float) -> None:
        write_result(one.result_file, result)
        held.close()

    monkeypatch.setattr("boxwright._util.locking.time.sleep", end)
    monkeypatch.setattr(execution, "train", None)  # would be called
    assert execute(one) == result


def test_what_is_cleared_and_what_stays(tmp_path: Path) -> None:
    for name in ("run.log", "job.lock", ".boxwright", "recipe.yaml", "last.ckpt"):
        (tmp_path / name).write_text("")
    (tmp_path / "predictions").mkdir()
    _clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".boxwright", "job.lock", "run.log"]

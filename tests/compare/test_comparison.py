"""The whole of a comparison but the trainings, in whose place stand detections of a known quality."""

import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from boxwright.cli.app import app
from boxwright.cli.compare import render_comparison
from boxwright.compare import compare
from boxwright.compare.plan import plan
from boxwright.compare.plan.options import CompareOptions
from boxwright.compare.results.results import METRICS, Comparison
from boxwright.compare.run import executors
from boxwright.compare.run.jobs import Job
from boxwright.data import read_dataset
from boxwright.errors import BoxwrightError, DataError, RecipeError
from boxwright.recipes import get_recipe
from comparison_builders import DIGITS, TINY, fake
from dataset_builders import write_voc

VARY = {"box_loss": ["giou", "ciou", "iou:mode=log"]}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that a comparison would have run; the arm ciou finds more than the others."""
    jobs: list[Job] = []
    monkeypatch.setattr(executors, "run_locally", fake(jobs))
    monkeypatch.setattr(plan, "seconds_per_step", lambda *_: 0.1)
    return jobs


def run(data: Path, out: Path, vary: dict[str, Any] = VARY, **options: Any) -> tuple[Comparison, str]:
    console = Console(record=True, width=300, quiet=False, file=io.StringIO())
    comparison = compare(data, vary, out=out, console=console, **{"seeds": 2, "steps": 8, **TINY, **options})
    return comparison, console.export_text()


def test_a_better_arm_is_found_and_recommended(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    comparison, said = run(data, tmp_path)
    assert [(job.seed, job.arm) for job in ran] == [(seed, arm) for seed in (0, 1) for arm in VARY["box_loss"]]
    assert comparison.differences["ciou"].verdict == "better"
    assert comparison.differences["iou:mode=log"].verdict == "no detectable difference"
    assert comparison.baseline.name == "giou"
    assert comparison.facts["recommended"] == "ciou"
    assert "3 arms x 2 seeds = 6 runs of 8 steps" in said
    assert re.search(r"with 6 validation images \(\d+ objects\) and 2 seeds a difference of about .* can be seen", said)
    assert said.index("6 runs of 8") < said.index("1 of 6  giou, seed 0")


def test_a_run_without_a_detection_is_said(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    run(data, tmp_path)
    ran[1].detections_file.write_text("[]")
    comparison, _ = run(data, tmp_path)
    assert comparison.facts["without detections"] == ["ciou, seed 0"]
    console = Console(record=True, file=io.StringIO(), width=200)
    render_comparison(comparison, console)
    assert "ciou, seed 0: its predictions file holds no detection" in console.export_text()
    page = next(tmp_path.rglob("compare.html")).read_text(encoding="utf-8")
    assert "ciou, seed 0 has no detection in its predictions file." in page


def test_the_files_say_the_same(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    comparison, _ = run(data, tmp_path)
    content = json.loads((tmp_path / "compare.json").read_text(), parse_constant=lambda _: pytest.fail("NaN"))
    assert content["headline"] == comparison.headline.lines
    console = Console(record=True, width=300, file=io.StringIO())
    render_comparison(comparison, console)
    shown = re.sub(r"<[^>]*>", "", (tmp_path / "compare.html").read_text(encoding="utf-8"))
    assert comparison.headline.advice == "Take ciou."
    for line in comparison.headline.lines:
        assert line in console.export_text(clear=False)
        assert line in shown
    assert content["facts"]["steps"] == 8
    assert content["differences"]["ciou"]["verdict"] == "better"
    assert content["means"]["ciou"]["AP"]["mean"] == comparison.spread("ciou", "AP")[0]
    assert content["runs"][0]["metrics"]["APl"] is None
    rows = list(csv.DictReader((tmp_path / "compare.csv").open()))
    assert len(rows) == 6
    assert {"arm", "seed", "AP", "APl", "AP.7", "dAP.Loc", "peak_memory_mb"} <= rows[0].keys()
    assert float(rows[1]["AP"]) == comparison.of_arm("ciou")[0].metrics["AP"]
    assert (tmp_path / "compare.html").stat().st_size > 1000
    recommended = get_recipe(tmp_path / "recommended.yaml")
    weight = comparison.facts["box weights"]["values"]["ciou"]
    assert recommended == get_recipe("lite320", box_loss="ciou", box_weight=weight, **TINY)
    assert ran[1].recipe == recommended.replace(classes=DIGITS)


def test_the_recommendation_names_the_splits_that_were_used(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    parts = {split: read_dataset(data, split) for split in ("train", "val")}
    names = {split: [each.name(i) for i in range(len(each))] for split, each in parts.items()}
    file = tmp_path / "parts.json"
    file.write_text(json.dumps({"splits": names}))
    comparison, _ = run(data, tmp_path / "out", split_file=str(file))
    console = Console(record=True, width=300, file=io.StringIO())
    render_comparison(comparison, console)
    assert f"recommended.yaml (with --split-file {file})" in console.export_text()


@pytest.mark.slow
def test_without_a_better_arm_the_baseline_is_recommended(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    comparison, _ = run(data, tmp_path, {"box_loss": ["giou", "diou"]})
    assert comparison.facts["recommended"] == "giou"
    assert get_recipe(tmp_path / "recommended.yaml").box_loss == "giou"


@pytest.mark.slow
def test_finished_runs_are_not_run_again_and_seeds_may_be_added(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    first, _ = run(data, tmp_path)
    del ran[:]
    again, said = run(data, tmp_path)
    assert ran == []
    assert "6 of them finished already" in said
    assert again.differences == first.differences
    assert "assumed, by the blood cells" in said
    run(data, tmp_path, seeds=3)
    assert [job.seed for job in ran] == [2, 2, 2]
    _, said = run(data, tmp_path, seeds=4)
    assert "measured on 9 finished runs" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "changed"), [({"steps": 9}, "steps"), ({"lr": 0.1}, "recipe"), ({"vary": {"lr": [1, 2]}}, "arms")]
)
def test_a_folder_holds_one_comparison(
    data: Path, tmp_path: Path, ran: list[Job], options: dict[str, Any], changed: str
) -> None:
    run(data, tmp_path)
    with pytest.raises(RecipeError, match=f"other .*{changed}.*--out"):
        run(data, tmp_path, **options)


def test_a_failed_arm_leaves_the_others_alone(
    data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "run_locally", fake(ran, broken="iou:mode=log"))
    comparison, said = run(data, tmp_path)
    assert comparison.differences.keys() == {"ciou"}
    assert "iou:mode=log, seed 1: failed: RuntimeError: broken" in said
    assert [run.failed for run in comparison.runs].count("RuntimeError: broken") == 2
    assert (tmp_path / "compare.html").is_file()
    console = Console(record=True, width=300, file=io.StringIO())
    render_comparison(comparison, console)
    assert "iou:mode=log, seed 0 failed: RuntimeError: broken" in console.export_text()


@pytest.mark.slow
def test_a_failed_baseline_leaves_nothing_to_compare(
    data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "run_locally", fake(ran, broken="giou"))
    comparison, _ = run(data, tmp_path, {"box_loss": ["giou", "ciou"]})
    assert comparison.differences == {}
    assert comparison.facts["recommended"] is None
    assert not (tmp_path / "recommended.yaml").exists()
    console = Console(record=True, width=300, file=io.StringIO())
    render_comparison(comparison, console)
    assert "Nothing can be said: no run of the baseline, giou, has a result" in console.export_text()


@pytest.mark.parametrize(("broken", "code"), [("giou", 1), ("ciou", 0)])
def test_the_exit_code_says_whether_anything_was_measured(
    data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch, broken: str, code: int
) -> None:
    monkeypatch.setattr(executors, "run_locally", fake(ran, broken=broken))
    assert ask(data, tmp_path, "--vary=box_loss=giou,ciou").exit_code == code


@pytest.mark.slow
def test_ctrl_c_says_how_far_it_came(
    data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "run_locally", fake(ran, stop_after=4))
    console = Console(record=True, width=300, file=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        compare(data, VARY, out=tmp_path, console=console, seeds=2, steps=8, **TINY)
    assert "stopped with 4 of 6 runs finished" in console.export_text()
    monkeypatch.setattr(executors, "run_locally", fake(ran))
    run(data, tmp_path)
    assert len(ran) == 6


@pytest.mark.slow
def test_minutes_become_steps_once_and_epochs_too(
    data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path / "a", steps=None, minutes=1.0)
    assert {job.steps for job in ran} == {600}
    monkeypatch.setattr(plan, "seconds_per_step", lambda *_: 99.0)  # a slower day
    run(data, tmp_path / "a", steps=None, minutes=1.0, seeds=3)
    assert {job.steps for job in ran} == {600}
    del ran[:]
    run(data, tmp_path / "b", steps=None, epochs=3)
    assert {job.steps for job in ran} == {3 * 16 // 4}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vary", "options", "text"),
    [
        (VARY, {}, "equalized"),
        (VARY, {"box_weights": "fixed"}, "fixed by the user"),
        (VARY, {"box_weight": 3.0}, "fixed by the user"),
        ({**VARY, "box_weight": [1, 2]}, {}, "fixed by the user"),
        ({"lr": [1e-3, 2e-3]}, {}, "same in all arms"),
    ],
)
def test_box_weights_are_equal_or_the_users(
    data: Path, tmp_path: Path, ran: list[Job], vary: dict[str, Any], options: dict[str, Any], text: str
) -> None:
    comparison, _ = run(data, tmp_path, vary, seeds=1, **options)
    assert text in comparison.facts["box weights"]["how"]
    weights = comparison.facts["box weights"]["values"]
    assert weights.keys() == ({"ciou", "iou:mode=log"} if text == "equalized" else set())
    given = {job.arm: job.recipe.box_weight for job in ran}
    assert {name: given[name] for name in weights} == weights
    if "box_weight" in options:
        assert set(given.values()) == {3.0}


@pytest.mark.slow
def test_a_loss_of_another_coder_keeps_its_weight(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    arms = [{}, {"box_loss": "ciou"}, {"name": "deltas", "box_loss": "smooth_l1", "coder": "delta"}]
    comparison = compare(data, arms=arms, out=tmp_path, console=Console(quiet=True), seeds=1, steps=8, **TINY)
    weights = comparison.facts["box weights"]
    assert weights["values"].keys() == {"ciou"}
    assert "Not so smooth_l1" in weights["how"]


def test_arms_that_cannot_be_trained_are_left_out_and_the_rest_runs(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    comparison, said = run(data, tmp_path, {"box_loss": ["smooth_l1", "giou", "ciou", "alpha_iou:alpha=-1"]}, seeds=1)
    assert [arm.name for arm in comparison.arms] == ["giou", "ciou"] == [job.arm for job in ran]
    assert comparison.baseline.name == "giou"
    assert comparison.facts["left out"].keys() == {"smooth_l1", "alpha_iou:alpha=-1"}
    assert "smooth_l1 is left out: " in said
    assert "choose coder=delta" in said
    assert "the baseline is giou" in said
    assert "smooth_l1" in json.loads((tmp_path / "compare.json").read_text())["facts"]["left out"]
    assert "smooth_l1 was left out" in (tmp_path / "compare.html").read_text()


def test_where_one_arm_is_left_nothing_starts(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RecipeError, match="2 of 3 arms can't be trained, and two are needed") as raised:
        run(data, out, {"box_loss": ["giou", "smooth_l1", "alpha_iou:alpha=-1"]})
    assert "smooth_l1: " in str(raised.value)
    assert "alpha_iou:alpha=-1: " in str(raised.value)
    assert not out.exists()


def test_without_boxes_to_learn_from_or_to_compare_by_nothing_starts(tmp_path: Path) -> None:
    cat = [("cat", 10, 10, 40, 40)]
    for root, train, val, text in (
        ("a", [], cat, "nothing-to-train: .*split 'train'"),
        ("b", cat, [], "split 'val' has no box, and arms are compared on two images or more: --val-split NAME"),
    ):
        write_voc(tmp_path / root, {"i": train, "j": val}, {"train": ["i"], "val": ["j"]})
        with pytest.raises(DataError, match=text):
            run(tmp_path / root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"vary": {"boxloss": ["giou", "ciou"]}},
        {"vary": {"box_loss": ["giou"]}},
        {"vary": {"epochs": [1, 2]}},
        {"vary": {"classes": ["0", "1"]}},
        {"val_split": "holdout"},
        {"split": "training"},
        {"executor": "slurm"},
        {"tier": "cheap"},
        {"box_weights": "same"},
        {"seeds": 0},
        {"minutes": 1.0},
        {"threads": 0},
        {"lrr": 1},
    ],
)
def test_wrong_options_leave_nothing_behind(data: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    out = tmp_path / "out"
    with pytest.raises(BoxwrightError):
        run(data, out, **options)
    assert not out.exists()


def test_values_or_arms() -> None:
    with pytest.raises(RecipeError, match="either values"):
        compare("nowhere")
    with pytest.raises(RecipeError, match="either values"):
        compare("nowhere", VARY, arms=[{}, {"lr": 1}])


def test_options_are_split_from_the_recipes() -> None:
    options, recipe = CompareOptions.take({"seeds": 5, "out": "a", "lr": 0.1})
    assert (options.seeds, options.out, recipe) == (5, Path("a"), {"lr": 0.1})


def ask(data: Path, out: Path, *arguments: str) -> Result:
    settings = [f"--set={key}={value}" for key, value in TINY.items()]
    command = ["compare", str(data), *arguments, "--seeds=2", "--steps=8", f"--out={out}", *settings]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_the_pages_example_leaves_no_arm_out(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "compare.md").read_text(encoding="utf-8")
    (vary,) = re.findall(r"^boxwright compare .*--vary (\S+)", page, flags=re.MULTILINE)
    result = ask(data, tmp_path, "--vary", vary)
    assert result.exit_code == 0
    assert {job.arm for job in ran} == set(vary.partition("=")[2].split(","))


def test_the_command_line_asks_for_the_same(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    miners = "--vary=miner=none,hard_negatives:ratio=3,scope=batch"
    result = ask(data, tmp_path, "--vary=box_loss=giou,ciou", miners)
    assert result.exit_code == 0
    assert len(ran) == 8
    assert {job.recipe.miner for job in ran} == {"none", "hard_negatives:ratio=3,scope=batch"}
    assert "Stay with box_loss=giou miner=none" in result.output
    assert all(len(line) < 400 for line in result.output.splitlines())
    kept = yaml.safe_load((tmp_path / "recommended.yaml").read_text())
    assert kept["classes"] == []


def test_run_options_are_no_recipe_keys(data: Path) -> None:
    result = CliRunner().invoke(app, ["compare", str(data), "--vary=lr=1,2", "--set=steps=3"])
    assert isinstance(result.exception, RecipeError)
    assert "use --steps" in str(result.exception)


@pytest.mark.slow
def test_tables_on_a_terminal(data: Path, tmp_path: Path, ran: list[Job]) -> None:
    comparison, _ = run(data, tmp_path)
    console = Console(record=True, width=160, force_terminal=True, file=io.StringIO())
    render_comparison(comparison, console)
    text = console.export_text()
    assert "better" in text
    assert "images/s" in text
    assert "Take ciou." in text


@pytest.mark.slow
def test_the_test_split_is_measured_once_with_the_recommended_arm(
    data: Path, tmp_path: Path, ran: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def evaluate(folder: Path, *_: Any, **options: Any) -> Any:
        asked.append(folder.name)
        return SimpleNamespace(metrics=SimpleNamespace(numbers=dict.fromkeys(METRICS, 0.25)))

    monkeypatch.setattr("boxwright.runs.assess.evaluate_run", evaluate)
    comparison, _ = run(data, tmp_path)
    assert "test" not in comparison.facts
    comparison, _ = run(data, tmp_path, test=True)
    assert comparison.facts["test"]["arm"] == "ciou"
    assert comparison.facts["test"]["mean"]["AP"] == 0.25
    assert asked == ["ciou-seed0", "ciou-seed1"]
    again, _ = run(data, tmp_path, test=True)
    assert len(asked) == 2
    assert again.facts["test"] == comparison.facts["test"]

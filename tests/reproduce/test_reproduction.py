"""Claims are run once, go on where they were stopped, and one that fails leaves the others alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from boxwright.cli.app import app
from boxwright.compare.plan import plan
from boxwright.compare.run import executors
from boxwright.compare.run.jobs import Job
from boxwright.errors import RecipeError
from boxwright.reproduce import CLAIMS, SIZES, Outcome, experiments, reproduce, reproduction
from boxwright.reproduce.claims import Regression
from boxwright.reproduce.experiments import Place, Values, run_experiment
from boxwright.simulate import simulate
from boxwright.simulate.cases import CASES_A_CENTER
from comparison_builders import fake

QUIET = Console(file=io.StringIO())
BOXES = [claim.name for claim in CLAIMS if claim.experiment == "boxes"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The experiments that would have been run: the later an arm stands, the better; "focal" fails."""
    names: list[str] = []

    def run(name: str, experiment: Any, place: Place) -> Values:
        names.append(name)
        if name == "focal":
            raise RuntimeError("broken")
        scores = {arm: [rank + 0.1 * seed for seed in range(3)] for rank, arm in enumerate(experiment.arms)}
        return Values({"AP": scores, "error left": scores, "error over the steps": scores})

    monkeypatch.setattr(reproduction, "run_experiment", run)
    return names


def ask(out: Path, *names: str, **options: Any) -> dict[str, Outcome]:
    return {found.claim: found for found in reproduce(names, out=out, console=QUIET, **options)}


def test_all_claims_have_an_outcome_and_one_experiment_s_fault_is_its_own(tmp_path: Path, ran: list[str]) -> None:
    found = ask(tmp_path)
    assert list(found) == [claim.name for claim in CLAIMS]
    assert len(set(ran)) == len(ran) == 8
    failed = {claim.name for claim in CLAIMS if claim.experiment == "focal"}
    assert {name for name, outcome in found.items() if outcome.verdict == "failed"} == failed
    assert found["focal-gamma"].why == "RuntimeError: broken"
    assert found["ciou-training"].verdict == "as stated"
    assert found["mining-1"].verdict == "opposite"
    assert found["giou-regression"].verdict == "opposite"  # more error
    assert found["ciou-training"].difference == pytest.approx(1.0)


def test_what_is_finished_is_not_run_again_and_what_failed_is(tmp_path: Path, ran: list[str]) -> None:
    first = ask(tmp_path, *BOXES, "focal-gamma")
    del ran[:]
    assert ask(tmp_path, *BOXES, "focal-gamma") == first
    assert ran == ["focal"]
    ask(tmp_path, BOXES[0], size="full")
    assert ran == ["focal", "boxes"]


def test_a_changed_experiment_is_run_again(tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ask(tmp_path, BOXES[0])
    monkeypatch.setattr(reproduction, "LITTLE", {"image_size": 64})
    ask(tmp_path, BOXES[0])
    assert ran == ["boxes", "boxes"]


@pytest.mark.parametrize(
    ("names", "size", "text"),
    [
        (("giou-trainin",), "small", "giou-trainin.*did you mean.*giou-training"),
        ((), "tiny", "trial, small, full.*tiny"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_made(
    names: tuple[str, ...], size: str, text: str, tmp_path: Path, ran: list[str]
) -> None:
    with pytest.raises(RecipeError, match=text):
        ask(tmp_path / "out", *names, size=size)
    assert not (tmp_path / "out").exists()
    assert ran == []


def test_boxes_that_are_down_already_are_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, SIZES["trial"], QUIET)
    sent: list[tuple[str, int]] = []

    def spy(losses: list[str], *, centers: int, seed: int) -> Any:
        if len(sent) == 3 and "stopped" not in seen:
            seen.append("stopped")
            raise KeyboardInterrupt
        sent.append((losses[0], seed))
        return simulate(losses, centers=centers, seed=seed)

    seen: list[str] = []
    monkeypatch.setattr(experiments, "simulate", spy)
    experiment = Regression(("giou", "eiou"))
    with pytest.raises(KeyboardInterrupt):
        run_experiment("regression", experiment, place)
    found = run_experiment("regression", experiment, place)
    assert sent == [(arm, seed) for seed in range(3) for arm in ("giou", "eiou")]
    direct = [simulate(["eiou"], centers=2, seed=seed).losses["eiou"].error / (2 * CASES_A_CENTER) for seed in range(3)]
    assert found.mean("eiou", "error left") == pytest.approx(np.mean([errors[-1] for errors in direct]))
    assert found.mean("eiou", "error over the steps") == pytest.approx(np.mean(direct))


def test_the_command_prints_and_writes_the_page(tmp_path: Path, ran: list[str]) -> None:
    page = tmp_path / "page.md"
    words = ["reproduce", *BOXES, "--out", str(tmp_path / "out"), "--page", str(page)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "as stated" in result.output
    assert page.read_text(encoding="utf-8").count("**as stated**: ") == 1
    assert page.read_text(encoding="utf-8").count("**as stated** |") == len(BOXES)
    assert CliRunner().invoke(app, words).exit_code == 0  # its own page is replaced
    page.write_text("mine")
    refused = CliRunner().invoke(app, words)
    assert "boxwright didn't write it" in str(refused.exception)
    assert page.read_text() == "mine"
    failed = CliRunner().invoke(app, ["reproduce", "focal-gamma", "--out", str(tmp_path / "out")])
    assert failed.exit_code == 1


def test_trainings_are_compared_with_the_arm_that_the_claim_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detections stand in for trainings; those of ciou are better than all others, and eiou's runs fail."""
    jobs: list[Job] = []
    monkeypatch.setattr(executors, "run_locally", fake(jobs, broken="eiou"))
    monkeypatch.setattr(plan, "seconds_per_step", lambda *_: 0.1)
    found = ask(tmp_path, *BOXES, size="trial")
    verdicts = [found[name].verdict for name in BOXES]  # giou v iou, diou v giou, ciou v diou, eiou v ciou
    assert verdicts == ["no difference at this size", "no difference at this size", "as stated", "failed"]
    assert found["eiou-training"].why == "eiou: RuntimeError: broken"
    best, other = found["ciou-training"], found["diou-training"]
    assert best.against == other.arm
    assert best.difference == pytest.approx(best.arm - best.against)
    assert [job.seed for job in jobs if job.arm == "ciou"] == [0, 1]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trial")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["giou-regression", "own-anchor", "diou-nms"])
def test_a_claim_of_each_kind_runs_and_is_not_run_again(name: str, trial: Path) -> None:
    first = ask(trial, name, size="trial", threads=1)[name]
    assert first.verdict != "failed", first.why
    assert first.low is not None
    assert first.low <= first.difference <= first.high
    (trial / "trial" / "claims" / f"{name}.json").unlink()
    runs = {file: file.stat().st_mtime_ns for file in trial.rglob("model.safetensors")}
    again = ask(trial, name, size="trial", threads=1)[name]
    assert again == first
    assert runs == {file: file.stat().st_mtime_ns for file in trial.rglob("model.safetensors")}

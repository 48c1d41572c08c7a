"""The three kinds of experiments. Each runs what is not finished yet, and can then compare any two of its arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from rich.console import Console

from boxwright._util.own_files import read_own_json, typed
from boxwright._util.printing import say
from boxwright._util.writing import write_json
from boxwright.compare import compare
from boxwright.compare.plan.arms import folder_name
from boxwright.compare.results.statistics import compare_arms
from boxwright.compare.run.executors import run_locally
from boxwright.compare.run.jobs import Job
from boxwright.compare.run.progress import View
from boxwright.data import read_dataset
from boxwright.errors import RecipeError
from boxwright.evaluate import MatchTable, detection_metrics, read_results
from boxwright.recipes import get_recipe
from boxwright.reproduce.claims import LITTLE, Claim, Experiment, Measure, Regression, Suppression, Training
from boxwright.reproduce.outcomes import Interval, paired_interval
from boxwright.reproduce.scenes import make_scenes
from boxwright.reproduce.sizes import Size
from boxwright.runs import Run, load
from boxwright.runs.predict import predict_dataset
from boxwright.simulate import simulate
from boxwright.simulate.cases import CASES_A_CENTER

_CURE = ": remove it, and the same command makes it again"


class Found(Protocol):
    """A finished experiment."""

    @property
    def seeds(self) -> int:
        """The number of runs per arm."""

    def mean(self, arm: str, measure: Measure) -> float:
        """Return the mean of a measure over an arm's runs."""

    def difference(self, claim: Claim) -> Interval:
        """Return the measure of the claim's arm minus that of the other.

        Raises:
            RecipeError: If runs of them are missing.
        """


@dataclass(frozen=True)
class Place:
    """Folder and settings of the experiments of one size."""

    folder: Path
    size: Size
    console: Console
    threads: int | None = None

    def scenes(self, name: str) -> Path:
        """Return the folder of a data set, which is made if it is missing."""
        return make_scenes(self.folder / "data" / name, name, self.size.images, self.size.validation)


def run_experiment(name: str, experiment: Experiment, place: Place) -> Found:
    """Run whatever is not finished of an experiment."""
    folder = place.folder / name
    if isinstance(experiment, Regression):
        return _regress(experiment, folder, place)
    if isinstance(experiment, Suppression):
        return _suppress(experiment, folder, place)
    return _train(experiment, folder, place)


@dataclass(frozen=True)
class Values:
    """Measures of each arm, one value per seed."""

    values: Mapping[Measure, Mapping[str, list[float]]]

    @property
    def seeds(self) -> int:
        """The number of values per arm."""
        return len(next(iter(next(iter(self.values.values())).values())))

    def mean(self, arm: str, measure: Measure) -> float:
        """Return the mean of an arm's values."""
        return fmean(self.values[measure][arm])

    def difference(self, claim: Claim) -> Interval:
        """Return the paired difference of the claim's two arms."""
        values = self.values[claim.measure]
        return paired_interval(values[claim.arm], values[claim.against])


@dataclass(frozen=True)
class Tables:
    """Match tables of each arm, one per seed; arms with a failed run hold the reason instead."""

    tables: Mapping[str, list[MatchTable]]
    scores: Mapping[str, list[float]]
    """AP by arm."""
    failed: Mapping[str, str]

    @property
    def seeds(self) -> int:
        """The number of tables per arm."""
        return max((len(runs) for runs in self.tables.values()), default=0)

    def mean(self, arm: str, measure: Measure) -> float:
        """Return the mean AP of an arm."""
        return fmean(self.scores[arm])

    def difference(self, claim: Claim) -> Interval:
        """Return the paired difference of the claim's two arms."""
        for arm in (claim.arm, claim.against):
            if arm in self.failed:
                raise RecipeError(f"{arm}: {self.failed[arm]}")
        others = {arm: runs for arm, runs in self.tables.items() if arm != claim.against}
        found = compare_arms(self.tables[claim.against], others)[claim.arm]
        return Interval(found.mean, found.low, found.high)


def _regress(experiment: Regression, folder: Path, place: Place) -> Values:
    left: dict[str, list[float]] = {arm: [] for arm in experiment.arms}
    over: dict[str, list[float]] = {arm: [] for arm in experiment.arms}
    for seed in range(place.size.draws):
        for arm in experiment.arms:
            errors = _descended(folder / f"{arm}-seed{seed}.json", arm, seed, place)
            left[arm].append(errors[-1])
            over[arm].append(fmean(errors))
    return Values({"error left": left, "error over the steps": over})


def _descended(file: Path, arm: str, seed: int, place: Place) -> list[float]:
    """Compute the mean error of a box after each step."""
    if not file.exists():
        found = simulate([arm], centers=place.size.centers, seed=seed)
        write_json(file, (found.losses[arm].error / (place.size.centers * CASES_A_CENTER)).tolist(), indent=None)
        say(place.console, f"{arm}, seed {seed}: {found.losses[arm].seconds:.0f} s")
    return typed(read_own_json(file, _CURE), list[float], file, _CURE)


def _train(experiment: Training, folder: Path, place: Place) -> Tables:
    rows: list[dict[str, Any]] = [{"name": arm, **settings} for arm, settings in experiment.arms.items()]
    size = place.size
    options: dict[str, Any] = {**LITTLE, **experiment.common, "threads": place.threads}
    data = place.scenes(experiment.scenes)
    found = compare(data, arms=rows, out=folder, seeds=size.seeds, steps=size.steps, console=place.console, **options)
    validation = read_dataset(data, "val")
    failed: dict[str, str] = {run.arm: run.failed for run in found.runs if run.failed} | dict(found.facts["left out"])
    tables, scores = {}, {}
    for arm in found.arms:
        if arm.name not in failed:
            runs = [folder / "runs" / f"{folder_name(arm)}-seed{seed}" for seed in range(size.seeds)]
            kept = [read_results(Run(run).results_file("val"), validation) for run in runs]
            tables[arm.name] = [detection_metrics(each, validation, validation.classes).matches for each in kept]
            scores[arm.name] = [run.metrics["AP"] for run in found.of_arm(arm.name)]
    return Tables(tables, scores, failed)


def _suppress(experiment: Suppression, folder: Path, place: Place) -> Tables:
    data = place.scenes(experiment.scenes)
    validation = read_dataset(data, "val")
    recipe = get_recipe("lite320", **LITTLE).replace(classes=validation.classes)
    jobs = [
        Job(
            "network",
            seed,
            recipe,
            recipe,
            place.size.steps,
            (folder / f"seed{seed}").resolve(),
            data.resolve(),
            threads=place.threads,
        )
        for seed in range(place.size.seeds)
    ]
    with View(jobs, place.console) as view:
        for result in run_locally([job for job in jobs if not job.finished], view.watch):
            view.finished(result)
            if result.failed:
                raise RecipeError(result.failed)
    tables: dict[str, list[MatchTable]] = {arm: [] for arm in experiment.arms}
    scores: dict[str, list[float]] = {arm: [] for arm in experiment.arms}
    for job in jobs:
        detector = load(job.folder)
        for arm, kind in experiment.arms.items():
            detector.recipe = detector.recipe.replace(nms=kind)
            metrics = detection_metrics(predict_dataset(detector, validation)[0], validation, validation.classes)
            tables[arm].append(metrics.matches)
            scores[arm].append(metrics.AP)
    return Tables(tables, scores, {})

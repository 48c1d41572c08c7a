"""Compare arms: plan, run, measure the differences, write the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from rich.console import Console

from boxwright._util.folders import taken_folder
from boxwright._util.own_files import read_own_json, typed
from boxwright._util.printing import say
from boxwright._util.progress import bar
from boxwright._util.writing import write_json
from boxwright.compare.plan.arms import combine, list_arms, read_arms
from boxwright.compare.plan.options import CompareKeys, CompareOptions
from boxwright.compare.results.files import NAMES, write_results
from boxwright.compare.results.results import METRICS, Arm, Comparison, RunResult
from boxwright.data.readers.reader import finding
from boxwright.errors import RecipeError
from boxwright.own_code import import_code
from boxwright.recipes import Recipe, get_recipe
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.compare.plan.plan import Plan
    from boxwright.compare.plan.study import Setting
    from boxwright.compare.results.statistics import Difference
    from boxwright.compare.run.jobs import Job
    from boxwright.evaluate import DetectionColumns


def compare(
    data: str | Path,
    vary: Mapping[str, Sequence[Any]] | None = None,
    *,
    arms: str | Path | Sequence[Mapping[str, Any]] | None = None,
    recipe: str | Path | Recipe | None = None,
    console: Console | None = None,
    allow_code: Sequence[str] | str = (),
    **options: Unpack[CompareKeys],
) -> Comparison:
    """Train every arm with every seed, and tell which arms are better than the first, the baseline.

    ``vary``: recipe key -> values, of which every combination is an arm; or ``arms``: a list of recipe keys and values,
    or a YAML file of one. Beside the recipe's keys an arm may have ``recipe``, what it stands on, and ``start``, what
    its trainings start from. ``recipe``: what all stand on (None: what their start brings, else lite320). ``options``:
    fields of ``CompareOptions`` and keys of the recipe. A value may be a part itself, a function of a module;
    ``allow_code``: modules of your own parts that recipe and arms name, to be imported, here and in the runs'
    processes.

    An arm whose parts do not fit together is left out, with the reason in ``facts["left out"]``; if it is the first,
    the next one is the baseline. An arm that fails later is recorded and does not affect the others; nothing is
    recommended if no run of the baseline has a result.

    Args:
        data: The data set.
        vary: Recipe key -> values, every combination of which is an arm.
        arms: Instead of ``vary``, a list of recipe keys and values, or a YAML file of one.
        recipe: What the arms have in common; None: lite320.
        console: Where progress is printed.
        allow_code: Modules of your own parts, named by recipe and arms, that may be imported, also in the runs'
            processes. A value may also be a part itself, a function of a module.
        options: Fields of ``CompareOptions`` and keys of the recipe.

    Raises:
        DataError: If the data cannot be used, before anything is trained.
        RecipeError: If the arms or options are wrong, before anything is trained.

    Examples:
        >>> comparison = bw.compare.compare("data", {"box_loss": ["giou", "ciou"]}, minutes=10)  # doctest: +SKIP
        >>> print(comparison.headline)  # doctest: +SKIP
    """
    import_code(allow_code)
    chosen, recipe_options = CompareOptions.take(options)
    listed = _arms(vary, arms)
    base = get_recipe(recipe) if isinstance(recipe, str | Path) else recipe

    from boxwright.compare.plan.study import set_out

    console = console or Console()
    setting = set_out(Path(data), listed, base, recipe_options, chosen)
    classes = tuple(recipe_options.get("classes", () if base is None else base.classes))
    with taken_folder(setting.folder, "comparison", NAMES, "compare.lock"):
        return _compare(setting, classes, console)


def _compare(setting: Setting, classes: tuple[str, ...], console: Console) -> Comparison:
    from boxwright.compare.plan.forecast import outlook
    from boxwright.compare.plan.plan import jobs_of, make_plan

    with bar("timing the baseline, measuring gradients", console):
        plan = make_plan(setting)
    jobs = jobs_of(setting, plan)
    for name, decisions in setting.decided.items():
        for decision in decisions:
            say(console, f"{name}: {decision}")
    for line in outlook(setting, plan, jobs):
        say(console, line)
    results = _run(setting, jobs, console)
    comparison = conclude(setting, plan, jobs, results)
    recommended = comparison.facts["recommended"]
    recipe = None if recommended is None else plan.recipe_of(setting, recommended).replace(classes=classes)
    write_results(setting.folder, comparison, recipe)
    return comparison


def _arms(vary: Mapping[str, Sequence[Any]] | None, arms: str | Path | Sequence[Mapping[str, Any]] | None) -> list[Arm]:
    if (vary is None) == (arms is None):
        raise RecipeError("Expected either values to vary or a list of arms")
    if vary is not None:
        return combine(vary)
    return read_arms(Path(arms)) if isinstance(arms, str | Path) else list_arms(arms or ())


def _run(setting: Setting, jobs: Sequence[Job], console: Console) -> list[RunResult]:
    """Run the jobs that aren't finished, and return the results of all, in the jobs' order."""
    from boxwright.compare.run.execute import training_images
    from boxwright.compare.run.executors import run_locally, run_on_ray
    from boxwright.compare.run.features import cache_features, is_cached
    from boxwright.compare.run.progress import View

    left = [job for job in jobs if not job.finished]
    with View(jobs, console) as view:
        for job in left:
            if job.features is not None and not is_cached(job.features):
                cache_features(job.recipe, training_images(job), job.features, view.features)
        run = run_on_ray if setting.options.executor == "ray" else run_locally
        try:
            for result in run(left, view.watch):
                view.finished(result)
        except KeyboardInterrupt:
            done = sum(job.finished for job in jobs)
            view.say(f"stopped with {done} of {plural(len(jobs), 'run')} finished: the same command goes on")
            raise
    found = (job.result for job in jobs)
    return [result for result in found if result is not None]


def conclude(setting: Setting, plan: Plan, jobs: Sequence[Job], results: Sequence[RunResult]) -> Comparison:
    """Compare the arms with the baseline, choose the one to recommend if there is one, and collect the facts."""
    from boxwright.evaluate import read_results

    measured = [(job, read_results(job.detections_file, setting.validation)) for job in jobs if job.finished]
    differences = _differences(setting, measured)
    gains = {name: each.mean for name, each in differences.items() if each.verdict == "better"}
    baseline = setting.arms[0].name
    recommended = max(gains, key=gains.__getitem__) if gains else None
    if recommended is None and any(job.arm == baseline for job, _ in measured):
        recommended = baseline
    facts = {
        **_facts(setting, plan, jobs),
        "recommended": recommended,
        "without detections": [f"{job.arm}, seed {job.seed}" for job, kept in measured if not len(kept.score)],
    }
    if setting.options.test and recommended is not None:
        facts["test"] = _test(setting, jobs, recommended)
    title = f"{setting.baseline.detector} on {setting.data.name}"
    return Comparison(title, setting.arms, results, differences, facts)


def _facts(setting: Setting, plan: Plan, jobs: Sequence[Job]) -> dict[str, Any]:
    """Collect the conditions under which the arms were compared."""
    from boxwright.compare.plan.forecast import FROZEN_NOTE, what_can_be_seen
    from boxwright.environment import environment_line

    options = setting.options
    parted_by = {"split file": options.split_file, "group by": options.group_by}
    return {
        "steps": plan.steps,
        "budget": _budget(setting, plan),
        "seeds": list(range(options.seeds)),
        "tier": options.tier,
        "tier note": FROZEN_NOTE if options.tier == "frozen" else "",
        "executor": options.executor,
        "box weights": {"how": plan.weights_by, "values": plan.box_weights},
        "data": {
            "folder": str(setting.data),
            "training images": len(setting.training),
            "validation images": len(setting.validation),
            "classes": list(setting.training.classes),
            **{name: value for name, value in parted_by.items() if value},
        },
        "what can be seen": what_can_be_seen(setting, jobs),
        "left out": dict(setting.left_out),
        "decided": dict(setting.decided),
        "folder": str(setting.folder),
        "environment": environment_line(),
        "command": options.command,
    }


def _budget(setting: Setting, plan: Plan) -> str:
    steps, minutes = plural(plan.steps, "step"), setting.options.minutes
    if minutes is None:
        return steps
    return f"{steps}, which the baseline makes in {minutes:g} min ({plan.seconds_per_step:.3g} s a step)"


def _differences(setting: Setting, measured: Sequence[tuple[Job, DetectionColumns]]) -> dict[str, Difference]:
    """Compare the arms that have a result for every seed that the baseline has one for."""
    from boxwright.compare.results.statistics import compare_arms
    from boxwright.evaluate import MatchTable, detection_metrics

    tables: dict[str, dict[int, MatchTable]] = {arm.name: {} for arm in setting.arms}
    for job, detections in measured:
        metrics = detection_metrics(detections, setting.validation, setting.validation.classes)
        tables[job.arm][job.seed] = metrics.matches
    first, *others = tables
    seeds = sorted(tables[first])
    complete = [name for name in others if tables[name].keys() >= set(seeds)]
    if not seeds or not complete:
        return {}
    return compare_arms(
        [tables[first][seed] for seed in seeds], {name: [tables[name][seed] for seed in seeds] for name in complete}
    )


def _test(setting: Setting, jobs: Sequence[Job], arm: str) -> dict[str, Any]:
    """Measure an arm's runs on the test split, once: a kept result is returned, whichever arm it belongs to."""
    from boxwright.runs.assess import evaluate_run

    file = setting.folder / "test.json"
    if file.exists():
        return _kept_test(file)
    found = [
        evaluate_run(job.folder, setting.data, "test", **finding(setting.options)).metrics.numbers
        for job in jobs
        if job.arm == arm and job.finished
    ]
    content = {"arm": arm, "runs": found, "mean": {name: fmean(run[name] for run in found) for name in METRICS}}
    write_json(file, content)
    return content


class _Test(TypedDict):
    arm: str
    runs: list[dict[str, float]]
    mean: dict[str, float]


def _kept_test(file: Path) -> dict[str, Any]:
    cure = ": remove it, and the test split is measured again"
    kept = typed(read_own_json(file, cure), _Test, file, cure)
    if not kept["mean"].keys() >= set(METRICS):
        raise RecipeError(f"{file} is damaged: there are metrics missing{cure}")
    return dict(kept)

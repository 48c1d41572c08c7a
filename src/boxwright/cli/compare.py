"""``boxwright compare``: options, and the tables that it prints."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from boxwright._util.printing import is_screen, printable, say, say_table
from boxwright.cli.arguments import (
    MAX_WORKERS,
    AllowCode,
    AllowLinks,
    Data,
    GroupBy,
    Reader,
    SplitFile,
    Steps,
    check_settings,
    number,
    typed_settings,
)
from boxwright.cli.completion import complete_recipe, complete_setting
from boxwright.cli.output import Output
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.compare import Comparison

_WHOLE, _SIZES = ("AP", "AP50", "AP75"), ("APs", "APm", "APl")


def compare(
    data: Data,
    reader: Reader = None,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="KEY=A,B,C",
            autocompletion=complete_setting,
            help="Values of a recipe key, of recipe or start; again for another. Every combination is an arm, the "
            "first the baseline.",
        ),
    ] = [],  # noqa: B006
    arms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Instead: a YAML list of arms, each of recipe keys, recipe and start, and values."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=complete_recipe,
            help="What the arms have in common.",
            show_default="lite320 or the start's",
        ),
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            autocompletion=complete_setting,
            help="Another value for a recipe key, in all arms.",
        ),
    ] = [],  # noqa: B006
    seeds: Annotated[int, typer.Option(callback=number(1, 1000), help="Runs of each arm.")] = 3,
    minutes: Annotated[
        float | None,
        typer.Option(
            callback=number(0, above=True),
            help="Minutes of the baseline's training steps; all arms make as many steps.",
        ),
    ] = None,
    steps: Steps = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="The folder of the comparison; the same one goes on."),
    ] = None,
    executor: Annotated[str, typer.Option(help="local: one run after the other; ray: on a Ray cluster.")] = "local",
    tier: Annotated[
        str, typer.Option(help="full, or frozen: heads alone are trained, on features that are computed once.")
    ] = "full",
    box_weights: Annotated[
        str, typer.Option(help="equal: by the gradient's norm at the start; fixed: the recipe's.")
    ] = "equal",
    test: Annotated[bool, typer.Option("--test", help="Measure the recommended arm on the test split, once.")] = False,
    val_split: Annotated[str, typer.Option(help="Split that the arms are compared on.")] = "val",
    allow_links: AllowLinks = False,
    group_by: GroupBy = None,
    split_file: SplitFile = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or xpu.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(callback=number(1, 4096), help="Processor threads of each run.", show_default="all cores"),
    ] = None,
    workers: Annotated[
        int, typer.Option(callback=number(0, MAX_WORKERS), help="Processes of each run that augment.")
    ] = 0,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """Find out which matching, mining and loss is best on your data: train every arm with several seeds.

    The same command goes on with a comparison that was stopped. Exit code 1: no run of the baseline has a result.
    """
    from boxwright.compare import compare as run_comparison
    from boxwright.compare.plan.arms import parse_vary
    from boxwright.data.layout import check_splits
    from boxwright.own_code import import_code, own_modules
    from boxwright.recipes import get_recipe

    options: dict[str, Any] = {
        "seeds": seeds,
        "minutes": minutes,
        "steps": steps,
        "out": out,
        "executor": executor,
        "tier": tier,
        "box_weights": box_weights,
        "test": test,
        "val_split": val_split,
        "allow_links": allow_links,
        "group_by": group_by,
        "split_file": None if split_file is None else str(split_file),
        "device": device,
        "threads": threads,
        "workers": workers,
        "command": shlex.join(["boxwright", *sys.argv[1:]]),
    }
    given = typed_settings(settings, recipe, reader)
    check_settings(given, options)
    common = get_recipe(recipe or "lite320", **given).reader_options
    finding = {"allow_links": allow_links, "group_by": group_by, "split_file": split_file, "reader": common["reader"]}
    check_splits(data, "train", val_split, **finding)  # before torch is imported
    varied = parse_vary(vary) if vary else None
    for key, values in (varied or {}).items():
        for value in values:
            import_code(own_modules({key: value}))
    comparison = run_comparison(data, varied, arms=arms, recipe=recipe, console=output.notes, **options, **given)
    render_comparison(comparison, output.results)
    output.write_json(comparison.to_json)
    if comparison.facts["recommended"] is None:
        raise typer.Exit(1)


def render_comparison(comparison: Comparison, console: Console) -> None:
    """Print a table of all arms, one by class, and what to take.

    Where the console is no terminal the same goes out as plain lines of columns, unwrapped.
    """
    for title, header, rows in _tables(comparison):
        if is_screen(console):
            say_table(console, header, rows, title=title)
        else:
            lines = [list(map(printable, row)) for row in (header, *rows)]
            widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
            for row in lines:
                cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
                say(console, "  ".join(cells))
            say(console, "")
    for line in _words(comparison):
        say(console, line)


def _tables(comparison: Comparison) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table."""
    names = [arm.name for arm in comparison.arms if comparison.of_arm(arm.name)]
    header = ["arm", *(f"{name} ± sd" for name in _WHOLE), "AP - baseline", "verdict"]
    yield "All classes", header, [_row(comparison, name) for name in names]
    classes = list(comparison.of_arm(names[0])[0].per_class) if names else []
    parts = [[_number(comparison.spread(name, size)[0]) for size in _SIZES] for name in names]
    parts = [
        row + [_number(comparison.class_mean(name, label)) for label in classes]
        for name, row in zip(names, parts, strict=True)
    ]
    yield "AP by size and class", ["arm", *_SIZES, *classes], [[n, *row] for n, row in zip(names, parts, strict=True)]
    costs = [
        [f"{mean:.0f}" if key != "images_per_second" else f"{mean:.1f}" for key, mean in comparison.costs(name).items()]
        for name in names
    ]
    header = ["arm", "seconds a run", "images/s", "peak MB"]
    yield "Cost", header, [[name, *row] for name, row in zip(names, costs, strict=True)]


def _row(comparison: Comparison, name: str) -> list[str]:
    cells = [" ± ".join(map(_number, comparison.spread(name, metric))) for metric in _WHOLE]
    if name == comparison.baseline.name:
        return [name, *cells, "", "baseline"]
    found = comparison.differences.get(name)
    if found is None:
        return [name, *cells, "-", "not compared"]
    interval = "" if found.low != found.low else f" [{found.low:+.3f}, {found.high:+.3f}]"
    return [name, *cells, f"{found.mean:+.3f}{interval}", found.verdict]


def _words(comparison: Comparison) -> Iterator[str]:
    facts = comparison.facts
    for run in comparison.runs:
        if run.failed:
            yield f"{run.arm}, seed {run.seed} failed: {run.failed}"
    yield from (f"{arm} was left out: {why}" for arm, why in facts["left out"].items())
    for name in facts["without detections"]:
        yield f"{name}: its predictions file holds no detection, so that it counts as finding nothing"
    if comparison.differences:
        yield "Differences are paired by seed; the intervals hold together with 95 %, over images, seeds and all arms."
    yield facts["box weights"]["how"]
    if facts["tier note"]:
        yield facts["tier note"]
    if "test" in facts:
        mean = facts["test"]["mean"]
        of = f"test split, {facts['test']['arm']}, mean over {plural(len(facts['test']['runs']), 'run')}"
        yield f"{of}: AP {mean['AP']:.3f}, AP50 {mean['AP50']:.3f}"
    advice, *findings = comparison.headline.lines
    yield advice
    yield from (f"  {finding}" for finding in findings)
    if facts["recommended"] is not None:
        yield f"the recipe is {facts['folder']}/recommended.yaml{_beside(comparison)}"
    yield f"the report is {facts['folder']}/compare.html"


def _beside(comparison: Comparison) -> str:
    """Name the options that a training of the recommended arm takes beside its recipe: its start, the same splits."""
    recommended, data = comparison.facts["recommended"], comparison.facts["data"]
    start = next(arm.start for arm in comparison.arms if arm.name == recommended)
    given = {"--start": start, "--split-file": data.get("split file"), "--group-by": data.get("group by")}
    words = " ".join(f"{option} {value}" for option, value in given.items() if value)
    return f" (with {words})" if words else ""


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"

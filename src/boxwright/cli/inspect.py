"""``boxwright inspect``: what each object gets from anchors and matcher."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from boxwright._util.ownership import claim
from boxwright._util.printing import printable, say
from boxwright._util.progress import bar
from boxwright.cli.arguments import (
    MAX_SEED,
    AllowCode,
    AllowLinks,
    Data,
    Overwrite,
    Reader,
    Settings,
    SplitFile,
    number,
    run_there,
    typed_settings,
)
from boxwright.cli.completion import complete_recipe, complete_run
from boxwright.cli.output import Output
from boxwright.errors import RecipeError

if TYPE_CHECKING:
    from boxwright.data import DetectionDataset
    from boxwright.inspect import Inspection
    from boxwright.inspect.coverage import Group
    from boxwright.recipes import Recipe


def inspect(
    data: Data,
    reader: Reader = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=complete_recipe,
            help="A built-in recipe or a YAML file.",
            show_default="lite320",
        ),
    ] = None,
    settings: Settings = [],  # noqa: B006
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            callback=run_there,
            autocompletion=complete_run,
            help="Also show the losses of this run's model; use its recipe.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split to look at.")] = "train",
    split_file: SplitFile = None,
    allow_links: AllowLinks = False,
    images: Annotated[int, typer.Option(callback=number(0, 1000), help="Images or inputs to show.")] = 24,
    inputs: Annotated[
        bool,
        typer.Option("--inputs", help="Show the first inputs of a training instead, as the network gets them."),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            callback=number(0, MAX_SEED),
            help="Seed of the training that --inputs shows.",
            show_default="the run's, or 0",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            dir_okay=False,
            help="The page; default inspect.html, or inputs.html and inputs-sheet.png; in the run if any.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """See the supervision: which objects have anchors, what would fit them better, and what is mined; or the inputs."""
    from boxwright.recipes import get_recipe

    if run is not None and (recipe is not None or settings):
        raise RecipeError("a run has its recipe: name no other, and set nothing")
    if seed is not None and not inputs:
        raise RecipeError("--seed is the seed of the training that --inputs shows: add --inputs")
    chosen = get_recipe(recipe or "lite320", **typed_settings(settings, recipe, reader))  # before torch is imported

    from boxwright.data import read_dataset
    from boxwright.data.layout import check_splits
    from boxwright.data.references import referred_files
    from boxwright.runs import Run
    from boxwright.runs.splits import split_file_for

    if run is not None:
        chosen = Run.of(run).recipe.replace(**typed_settings([], None, reader))
    options = chosen.reader_options | {"allow_links": allow_links}
    finding = {key: options[key] for key in ("allow_links", "reader")}
    if run is not None and split_file is None:
        split_file = split_file_for(Run.of(run), data, **finding)
    check_splits(data, split, **finding, split_file=split_file)
    options |= {"split_file": split_file}

    page = out or (Run.of(run).folder if run else Path()) / ("inputs.html" if inputs else "inspect.html")
    read = [*(Run.of(run).files if run else ()), *([Path(recipe)] if recipe else ())]
    pages = [page, page.with_name(f"{page.stem}-sheet.png")] if inputs else [page]
    claim(*pages, overwrite=overwrite, inputs=chain(read, referred_files(data, **finding)))

    if inputs:
        if seed is None:
            seed = Run.of(run).record["training"].get("seed", 0) if run else 0
        dataset = read_dataset(data, split, classes=chosen.classes or None, negatives=chosen.negatives, **options)
        chosen = _decided(chosen, dataset, output.notes)
        _show_inputs(dataset, chosen, seed, images, page, overwrite, output)
    else:
        from boxwright.inspect import inspect_supervision, write_page

        dataset = read_dataset(data, split, classes=chosen.classes or None, **options)
        chosen = _decided(chosen, dataset, output.notes)
        with bar("inspecting", output.notes) as advance:
            found = inspect_supervision(dataset, chosen, run, examples=images, advance=advance)
        write_page(page, found, overwrite=overwrite)
        _render(found, output.results)
        say(output.results, f"the page is {page}")
        output.write_json(lambda: {"page": page, **_content(found)})


def _decided(recipe: Recipe, dataset: DetectionDataset, console: Console) -> Recipe:
    """Replace what is auto in the recipe as a training on these images would, and print each decision."""
    from boxwright.recipes.fit import decide

    decided, decisions = decide(recipe, dataset)
    for decision in decisions:
        say(console, f"{decision}")
    return decided


def _show_inputs(
    dataset: DetectionDataset, recipe: Recipe, seed: int, images: int, page: Path, overwrite: bool, output: Output
) -> None:
    from boxwright.inspect import training_inputs, write_inputs_page
    from boxwright.inspect.inputs_page import advice, sheet_path, summary

    with bar("decoding", output.notes) as advance:
        found = training_inputs(dataset, recipe, seed=seed, inputs=images, advance=advance)
    write_inputs_page(page, found, overwrite=overwrite)
    for line in filter(None, (summary(found), advice(found))):
        say(output.results, line)
    say(output.results, f"the page is {page}, the first inputs as one picture {sheet_path(page)}")
    output.write_json(
        lambda: {"page": page, "sheet": sheet_path(page), "summary": summary(found), "advice": advice(found)}
    )


def _groups(found: Inspection) -> list[Group]:
    from boxwright.inspect.coverage import by_class, by_coco_size

    return [*by_coco_size(found.supervision), *by_class(found.supervision, found.dataset.classes)]


def _content(found: Inspection) -> dict[str, Any]:
    """Return what is printed as values."""
    return {
        "headline": found.headline,
        "advice": found.advice,
        "groups": _groups(found),
        "suggestion": {"setting": found.suggestion.setting, "reason": found.suggestion.reason},
    }


def _render(found: Inspection, console: Console) -> None:
    lines = [
        found.headline,
        found.advice,
        "",
        f"{'':<16}{'objects':>9}{'best IoU':>10}{'anchors':>9}{'forced':>8}{'none':>8}",
    ]
    for group in _groups(found):
        cells = f"{printable(group.name)[:15]:<16}{group.objects:>9}"
        if group.objects:
            cells += f"{group.best_iou:>10.2f}{group.positives:>9.1f}{group.forced:>8.1%}{group.unmatched:>8.1%}"
        lines.append(cells)
    lines += ["", found.suggestion.reason]
    if found.suggestion.setting:
        lines.append(f'--set "{found.suggestion.setting}"')
    for line in lines:
        say(console, line)

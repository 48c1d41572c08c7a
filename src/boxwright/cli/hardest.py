"""``boxwright hardest``: labels to look at, and the corrections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright._util.progress import bar
from boxwright.cli.arguments import (
    AllowCode,
    AllowLinks,
    Data,
    Overwrite,
    Reader,
    Settings,
    data_options,
    number,
    run_there,
    typed_settings,
)
from boxwright.cli.completion import complete_run
from boxwright.cli.output import Output
from boxwright.errors import RecipeError
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.hardest.review import Review

_LINES = 10


def hardest(
    data: Data,
    reader: Reader = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            callback=run_there,
            autocompletion=complete_run,
            help="The run whose detections are compared with the labels.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split whose labels are ranked.")] = "train",
    top: Annotated[int, typer.Option(callback=number(1, 100_000), help="Suspects on the page and in the list.")] = 200,
    apply: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Carry out what is accepted in a correction list.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="The page, default RUN/hardest.html, with the list beside it as .json; "
            "with --apply the new COCO file, default FILE-applied.json.",
        ),
    ] = None,
    settings: Settings = [],  # noqa: B006
    allow_links: AllowLinks = False,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """Labels that are probably wrong, most probable first: a page to review them on, and a correction list.

    Changes nothing of the data set: --apply writes new annotations, as COCO JSON.
    """
    if apply is not None:
        from boxwright.hardest.corrections import correct

        typed_settings([], None, reader)  # imports it: the list says which it is
        target = out or apply.with_name(f"{apply.stem}-applied.json")
        done = correct(data, apply, target, allow_links=allow_links, overwrite=overwrite)
        changed = plural(done.changed, "box")
        say(output.results, f"{changed} changed, {done.added} added, {done.removed} removed: {target}")
        output.write_json(
            lambda: {"file": target, "changed": done.changed, "added": done.added, "removed": done.removed}
        )
        return
    if run is None:
        raise RecipeError("Expected --run RUN, to compare its detections with the labels, or --apply FILE")

    reading = data_options(settings, None, None, reader)
    if reading.pop("classes"):
        raise RecipeError("a run has its classes: --set takes reader, voc_one_based, exif, depth_range and max_pixels")

    from boxwright.data.layout import check_splits
    from boxwright.runs import Run

    if reading["reader"] is None:
        reading["reader"] = Run.of(run).recipe.reader_options["reader"]
    check_splits(data, split, allow_links=allow_links, reader=reading["reader"])  # before torch is imported

    from boxwright.hardest.review import review_labels

    with bar("detecting", output.notes) as advance:
        review = review_labels(
            data,
            run,
            split,
            shown=top,
            out=out,
            reading=reading,
            allow_links=allow_links,
            overwrite=overwrite,
            advance=advance,
        )
    _render(review, output.results)
    output.write_json(lambda: _content(review))


def _content(review: Review) -> dict[str, Any]:
    """Return the result as values; the list of corrections itself is in its file."""
    from boxwright.hardest.ranking import KINDS

    return {
        "page": review.page,
        "corrections": review.corrections,
        "labels": review.witness.labels,
        "likely": dict(zip(KINDS, review.likely.tolist(), strict=True)),
        "unseen": review.witness.unseen,
        "doubt": review.witness.doubt,
    }


def _render(review: Review, console: Console) -> None:
    from boxwright.hardest.corrections import list_corrections
    from boxwright.hardest.ranking import KINDS

    unseen = review.witness.unseen
    for name, fault in list(unseen.items())[:_LINES]:
        say(console, f"not looked at: {name}: {fault}")
    if len(unseen) > _LINES:
        say(console, f"not looked at: {len(unseen) - _LINES} more, which are on the page")
    if review.witness.doubt:
        say(console, review.witness.doubt, "bold")
    first = list_corrections(review.suspects.take(slice(_LINES)), review.dataset)
    for item in first.corrections:
        where = item.image if item.box is None else f"{item.file} box {item.box}"
        say(console, f"{item.score:.2f}  {item.kind:<11}  {where}: {item.reason}")
    counts = ", ".join(f"{count} {kind}" for kind, count in zip(KINDS, review.likely.tolist(), strict=True))
    say(console, f"more probably wrong than right, of {plural(review.witness.labels, 'label')}: {counts}")
    say(console, f"the page: {review.page}")
    say(console, f"the correction list: {review.corrections}")

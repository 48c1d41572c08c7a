"""Arguments that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from boxwright.cli.completion import complete_reader, complete_setting
from boxwright.errors import DataError, RecipeError


def number(low: float, high: float = math.inf, *, above: bool = False) -> Callable[[float | None], float | None]:
    """Make a check for a flag's number: finite, from ``low`` (or ``above`` it) to ``high``.

    Typer's own ``min`` and ``max`` let nan pass, and say it differently from version to version.
    """
    expected = f"a number {'above' if above else 'of at least'} {low}" if math.isinf(high) else f"{low} to {high}"

    def check(value: float | None) -> float | None:
        if value is None or (math.isfinite(value) and low <= value <= high and not (above and value == low)):
            return value
        raise typer.BadParameter(f"Expected {expected} but got {value}")

    return check


def auto_or(least: int, most: int) -> Callable[[str | None], str | None]:
    """Make a check for a flag that is auto or a whole number in ``least``..``most``."""

    def check(text: str | None) -> str | None:
        if text is None or text == "auto" or (text.isdecimal() and len(text) < 5 and least <= int(text) <= most):
            return text
        raise typer.BadParameter(f"Expected auto or {least} to {most} but got {text}")

    return check


def check_precision(text: str) -> str:
    """Raise BadParameter unless it is one that predictions are computed in."""
    if text in ("float32", "bf16"):
        return text
    raise typer.BadParameter(f"Expected float32 or bf16 but got {text}")


def check_score(text: str | None) -> str | None:
    """Raise BadParameter unless it is a number in 0..1, precision=P or recall=R."""
    if text is not None and "=" in text:
        from boxwright.evaluate.thresholds import read_wish

        try:
            read_wish(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    elif text is not None:
        try:
            value = float(text)
        except ValueError:
            raise typer.BadParameter(f"Expected 0 to 1, precision=P or recall=R but got {text}") from None
        number(0, 1)(value)
    return text


def min_score(text: str | None) -> float | str | None:
    """Parse ``--score``: a number, or the text of a precision or a recall."""
    return text if text is None or "=" in text else float(text)


def batch_size(text: str) -> int | None:
    """Parse ``--batch``, the images at a time; None for auto."""
    return None if text == "auto" else int(text)


def run_there(path: Path | None) -> Path | None:
    """Return the path of a run; a run on the Hub is fetched first.

    Raises RecipeError where there is none, before the command imports what takes seconds.
    """
    from boxwright.runs.hub import fetch_run, hub_address

    if path is None or path.exists():
        return path
    address = hub_address(path)
    if address is None:
        raise RecipeError(f"no run or model at {path}")
    return fetch_run(address)


def run_or_start(path: Path) -> Path:
    """Return the folder of a run, here or on the Hub, or of published weights by name; an existing path comes first.

    Raises RecipeError where there is neither, and for weights that aren't fetched or are no whole detector.
    """
    from boxwright.runs.hub import fetch_run, hub_address
    from boxwright.starts.cache import detector_folder
    from boxwright.starts.known import KNOWN

    if path.exists():
        return path
    if str(path) in KNOWN:
        return detector_folder(str(path))
    address = hub_address(path)
    if address is not None:
        return fetch_run(address)
    near = get_close_matches(str(path), KNOWN, n=1)
    raise RecipeError(f"no run or model at {path}{f'; did you mean {near[0]!r}?' if near else ''}")


def data_there(path: Path) -> Path:
    """Raise DataError where there is no data set, before the command imports what takes seconds."""
    if not path.exists():
        raise DataError(f"{path}: no such folder")
    return path


Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        callback=data_there,
        help="A data set: VOC, COCO, YOLO, labelme ... (docs/data.md).",
    ),
]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", autocompletion=complete_setting, help="Another value for a recipe key."),
]
Classes = Annotated[str | None, typer.Option("--classes", metavar="A,B", help="Use only these classes, in this order.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Also replace files that boxwright didn't write; never those that the command reads, nor the data set's.",
    ),
]
AllowLinks = Annotated[
    bool,
    typer.Option("--allow-links", help="Follow links, and data.yaml's paths, out of DATA; where they lead is printed."),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="RULE",
        help="What stays together where data without splits is split: folder, near (nearly the same pictures; "
        "default up to 20,000 images), or a REGEX in the path, by its first group.",
    ),
]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--split-file",
        metavar="FILE|RUN",
        callback=run_there,
        help="Names the images of each split, instead of DATA's own splits: a run's split.json, or the like.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        callback=number(1, 10**12),
        help="Refuse pictures of more pixels; default the recipe's, 89,478,485.",
    ),
]
NmsOption = Annotated[
    str | None,
    typer.Option(
        "--nms",
        metavar="KIND",
        help="Instead of the recipe's: iou, diou, soft_linear, soft_gaussian, cluster_iou or cluster_soft.",
    ),
]
AgnosticOption = Annotated[
    bool | None,
    typer.Option("--nms-agnostic/--nms-per-class", help="Whether classes suppress one another; default the recipe's."),
]
Batch = Annotated[
    str,
    typer.Option(
        "--batch",
        metavar="N|auto",
        callback=auto_or(1, 9999),
        help="Images at a time; auto: up to 64, fewer the larger the network's input.",
    ),
]
OnDevice = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda|xpu", help="Where the network computes; auto: a GPU, if any.")
]
InPrecision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="float32|bf16",
        callback=check_precision,
        help="bf16 moves scores by some thousandths: for processors and GPUs that have it.",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(callback=number(0, above=True), help="Minutes of training steps, instead of epochs."),
]
Steps = Annotated[int | None, typer.Option(callback=number(1, 10**9), help="Optimizer steps, instead of epochs.")]
MAX_SEED = 2**32 - 1
MAX_WORKERS = 1024


def _import_allowed(modules: list[str]) -> list[str]:
    from boxwright.own_code import import_code

    import_code(modules)
    return modules


AllowCode = Annotated[
    list[str],
    typer.Option(
        "--allow-code",
        metavar="MODULE",
        callback=_import_allowed,
        help="Import this module, whose parts a recipe names; again for another. No other is imported for a file.",
    ),
]


Reader = Annotated[
    str | None,
    typer.Option(
        "--reader",
        metavar="NAME|MODULE:FUNCTION",
        autocompletion=complete_reader,
        help="What reads DATA: a layout, or a function of your own; default: whichever layout it is.",
    ),
]


def typed_settings(settings: list[str], recipe: str | None = None, reader: str | None = None) -> dict[str, Any]:
    """Values by key of what was typed behind ``--set``, and ``--reader``.

    The modules of own parts named there are imported, and that of an own detector named as the ``recipe``.
    """
    from boxwright.own_code import import_code, own_modules
    from boxwright.recipes import parse_settings

    options = parse_settings(settings)
    options |= {} if reader is None else {"reader": reader}
    import_code(own_modules({"detector": recipe, **options}))
    return options


def check_settings(settings: Mapping[str, Any], flags: Iterable[str]) -> None:
    """Raise RecipeError for a ``--set`` of what is a flag of the command and no recipe key."""
    reserved = sorted(set(flags) & settings.keys())
    if reserved:
        raise RecipeError(f"{reserved[0]} is no recipe key: use --{reserved[0].replace('_', '-')}")


def data_options(
    settings: list[str], classes: str | None, max_pixels: int | None = None, reader: str | None = None
) -> dict[str, Any]:
    """Return the options for reading a data set; ``reader`` is the function itself, None to detect the layout."""
    from boxwright.recipes import get_recipe

    options = typed_settings(settings, reader=reader)
    known = ("classes", "reader", "voc_one_based", "exif", "depth_range", "max_pixels")
    foreign = sorted(options.keys() - set(known))
    if foreign:
        raise RecipeError(f"{foreign[0]!r} has no meaning here: --set takes {', '.join(known[:-1])} and {known[-1]}")
    options |= {} if classes is None else {"classes": classes}
    options |= {} if max_pixels is None else {"max_pixels": max_pixels}
    recipe = get_recipe("lite320", **options)
    given = {key: value for key, value in recipe.pixels.to_dict().items() if key in options}
    reading = {key: recipe.reader_options[key] for key in ("reader", "voc_one_based")}
    return {"classes": recipe.classes or None, **reading, **given}

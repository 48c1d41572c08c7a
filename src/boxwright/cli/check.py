"""``boxwright check``: what is wrong with a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Console

from boxwright._util.ownership import GENERATOR, claim
from boxwright._util.printing import say, say_table
from boxwright._util.progress import bar
from boxwright._util.writing import write_json
from boxwright.cli.arguments import (
    AllowCode,
    AllowLinks,
    Classes,
    Data,
    GroupBy,
    JsonFile,
    MaxPixels,
    Overwrite,
    Reader,
    Settings,
    SplitFile,
    data_options,
)
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.check.report import CheckReport, Finding

_SHOWN = {"error": 10, "warning": 3}  # findings of a kind on a terminal


def check(
    data: Data,
    reader: Reader = None,
    classes: Classes = None,
    settings: Settings = [],  # noqa: B006
    allow_links: AllowLinks = False,
    group_by: GroupBy = None,
    split_file: SplitFile = None,
    max_pixels: MaxPixels = None,
    json: JsonFile = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
) -> None:
    """Look for everything that is wrong with a data set. Changes nothing.

    Exit code 0: trainable; 1: there are errors; 2: not recognised or not there.
    """
    from boxwright.check import check_dataset
    from boxwright.data.references import referred_files

    console = Console()
    options = data_options(settings, classes, max_pixels, reader)
    if json is not None:
        claim(json, overwrite=overwrite, inputs=referred_files(data, allow_links=allow_links, reader=options["reader"]))
    with bar("checking", console) as advance:
        report = check_dataset(
            data, **options, allow_links=allow_links, group_by=group_by, split_file=split_file, progress=advance
        )
    render_report(report, console)
    if json is not None:
        write_json(json, {"generator": GENERATOR, **report.to_json()})
    raise typer.Exit(report.exit_code)


def render_report(report: CheckReport, console: Console) -> None:
    """Print the table of splits and classes, then the findings.

    On a terminal they are grouped by kind, and shortened; anywhere else each is one unwrapped line.
    """
    if console.is_terminal:
        from boxwright.data.layout import title_of

        counts = f"{plural(report.images, 'image')}, {plural(report.boxes, 'box')}"
        say(console, f"{title_of(report.layout)} data set: {counts}", "bold")
        _render_table(report, console)
        _render_kinds(report, console)
    else:
        for split in report.splits:
            boxes = ", ".join(f"{name} {count}" for name, count in zip(report.classes, split.boxes, strict=True))
            say(console, f"{split.name}: {plural(split.images, 'image')}; {boxes}")
        for finding in report.findings:
            say(console, f"{finding.severity} {finding.kind} {_place(finding)}: {finding.message}")
    say(console, _summary(report))


def _render_table(report: CheckReport, console: Console) -> None:
    """Classes down, splits across; a data set may have many classes but has few splits."""
    images = ("images", *(str(split.images) for split in report.splits))
    boxes = [(name, *(str(s.boxes[label]) for s in report.splits)) for label, name in enumerate(report.classes)]
    say_table(console, ("class", *(split.name for split in report.splits)), [images, *boxes], ruled=[0])


def _render_kinds(report: CheckReport, console: Console) -> None:
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.findings:
        by_kind.setdefault((finding.severity, finding.kind), []).append(finding)
    for (severity, kind), findings in by_kind.items():
        shown = _SHOWN[severity]
        say(console, f"{severity} {kind} ({len(findings)})", "bold red" if severity == "error" else "bold yellow")
        for finding in findings[:shown]:
            say(console, f"  {_place(finding)}: {finding.message}")
        if len(findings) > shown:
            say(console, f"  ... and {len(findings) - shown} more; --json FILE writes them all", "dim")


def _place(finding: Finding) -> str:
    return finding.file if finding.box is None else f"{finding.file} box {finding.box}"


def _summary(report: CheckReport) -> str:
    counts = f"{plural(report.images, 'image')}, {plural(report.boxes, 'box')}"
    found = f"{plural(report.errors, 'error')}, {plural(report.warnings, 'warning')}"
    rounded = f"; {plural(report.rounded, 'box')} clipped by rounding (at most 1 px)" if report.rounded else ""
    return f"{counts}: {found}{rounded}. {report.verdict.capitalize()}."

"""``boxwright check``: what is wrong with a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Console

from boxwright._util.printing import is_screen, say, say_lines, say_table
from boxwright._util.progress import bar
from boxwright.cli.arguments import (
    AllowCode,
    AllowLinks,
    Classes,
    Data,
    GroupBy,
    MaxPixels,
    Reader,
    Settings,
    SplitFile,
    data_options,
)
from boxwright.cli.output import Output
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
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """Look for everything that is wrong with a data set. Changes nothing.

    Exit code 0: trainable; 1: there are errors; 2: not recognised or not there.
    """
    from boxwright.check import check_dataset

    options = data_options(settings, classes, max_pixels, reader)
    with bar("checking", output.notes) as advance:
        report = check_dataset(
            data, **options, allow_links=allow_links, group_by=group_by, split_file=split_file, progress=advance
        )
    render_report(report, output.results)
    output.write_json(report.to_json)
    raise typer.Exit(report.exit_code)


def render_report(report: CheckReport, console: Console) -> None:
    """Print the table of splits and classes, then the findings.

    On a terminal they are grouped by kind, and shortened; anywhere else each is one unwrapped line.
    """
    if is_screen(console):
        from boxwright.data.layout import title_of

        counts = f"{plural(report.images, 'image')}, {plural(report.boxes, 'box')}"
        say(console, f"{title_of(report.layout)} data set: {counts}", "bold")
        _render_table(report, console)
        _render_kinds(report, console)
    else:
        for split in report.splits:
            boxes = ", ".join(f"{name} {count}" for name, count in zip(report.classes, split.boxes, strict=True))
            say(console, f"{split.name}: {plural(split.images, 'image')}; {boxes}")
        findings = (f"{each.severity} {each.kind} {_place(each)}: {each.message}" for each in report.findings)
        say_lines(console, findings)
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
            say(console, f"  ... and {len(findings) - shown} more; --json has them all", "dim")


def _place(finding: Finding) -> str:
    return finding.file if finding.box is None else f"{finding.file} box {finding.box}"


def _summary(report: CheckReport) -> str:
    counts = f"{plural(report.images, 'image')}, {plural(report.boxes, 'box')}"
    found = f"{plural(report.errors, 'error')}, {plural(report.warnings, 'warning')}"
    rounded = f"; {plural(report.rounded, 'box')} clipped by rounding (at most 1 px)" if report.rounded else ""
    return f"{counts}: {found}{rounded}. {report.verdict.capitalize()}."

"""How a check is shown."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from boxwright.check.report import CheckReport, Finding

_SHOWN = 10  # findings of a kind on a terminal


def render_report(report: CheckReport, console: Console) -> None:
    """Prints the table of splits and classes, then the findings.

    On a terminal they are grouped by kind, and shortened; anywhere else each is one unwrapped line.
    """
    if not console.is_terminal:
        _render_plain(report, console)
        return
    console.print(f"{report.layout.upper()} data set: {report.images} images, {report.boxes} boxes", style="bold")
    console.print(_table(report))
    by_kind: dict[str, list[Finding]] = {}
    for finding in report.findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    for kind, findings in by_kind.items():
        colour = "red" if findings[0].severity == "error" else "yellow"
        console.print(f"[bold {colour}]{findings[0].severity}[/] [bold]{kind}[/] ({len(findings)})")
        for finding in findings[:_SHOWN]:
            console.print(f"  {escape(_place(finding))}: {escape(finding.message)}", highlight=False)
        if len(findings) > _SHOWN:
            console.print(f"  ... and {len(findings) - _SHOWN} more; --json FILE writes them all", style="dim")
    console.print(_summary(report))


def _render_plain(report: CheckReport, console: Console) -> None:
    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for split in report.splits:
        counts = ", ".join(f"{name} {boxes}" for name, boxes in zip(report.classes, split.boxes, strict=True))
        line(f"{split.name}: {split.images} images; {counts}")
    for finding in report.findings:
        line(f"{finding.severity} {finding.kind} {_place(finding)}: {finding.message}")
    line(_summary(report))


def _table(report: CheckReport) -> Table:
    """Classes down, splits across; a data set may have many classes but has few splits."""
    table = Table()
    table.add_column("class")
    for split in report.splits:
        table.add_column(split.name, justify="right")
    table.add_row("images", *(str(split.images) for split in report.splits), style="bold", end_section=True)
    for label, name in enumerate(report.classes):
        table.add_row(escape(name), *(str(split.boxes[label]) for split in report.splits))
    return table


def _place(finding: Finding) -> str:
    return finding.file if finding.box is None else f"{finding.file} box {finding.box}"


def _summary(report: CheckReport) -> str:
    counts = Counter(finding.severity for finding in report.findings)
    rounded = f"; {report.rounded} boxes clipped by rounding (at most 1 px)" if report.rounded else ""
    verdict = "trainable" if not counts["error"] else "erroneous boxes and files are left out of training"
    return (
        f"{report.images} images, {report.boxes} boxes: {counts['error']} errors, {counts['warning']} warnings"
        f"{rounded}. {verdict.capitalize()}."
    )

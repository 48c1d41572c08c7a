from __future__ import annotations

import io

from rich.console import Console

from boxwright.check import CheckReport, SplitCount
from boxwright.check.report import sorted_findings
from boxwright.cli.check import render_report
from boxwright.data.annotations import Fault

LONG = "a[b]/" + "very_" * 60 + "long name.jpg"
FAULTS = [
    *(Fault("no-boxes", f"images/{i:02d}.jpg", None, "has no boxes") for i in range(30)),
    Fault("not-rgb", LONG, None, "pixels are L"),
    Fault("zero-area", "annotations/x.json", 7, "no area: [/red]"),
]
REPORT = CheckReport(
    layout="coco",
    classes=("cat", "dog[s]"),
    images=31,
    boxes=8,
    rounded=2,
    splits=(SplitCount("train", 20, (4, 1)), SplitCount("val", 11, (2, 0))),
    findings=sorted_findings(FAULTS),
)


def rendered(terminal: bool) -> str:
    file = io.StringIO()
    render_report(REPORT, Console(file=file, force_terminal=terminal, width=80, color_system=None))
    return file.getvalue()


def test_each_finding_is_one_unwrapped_line_where_no_terminal_is() -> None:
    lines = rendered(terminal=False).splitlines()
    findings = [line for line in lines if line.startswith(("error ", "warning "))]
    assert len(findings) == 32
    assert findings[0] == "error zero-area annotations/x.json box 7: no area: [/red]"
    assert f"warning not-rgb {LONG}: pixels are L" in findings
    assert lines[0] == "train: 20 images; cat 4, dog[s] 1"
    assert lines[-1].startswith("31 images, 8 boxes: 1 errors, 31 warnings; 2 boxes clipped")


def test_a_terminal_gets_a_table_and_a_few_of_each_kind() -> None:
    text = rendered(terminal=True)
    assert "COCO data set: 31 images, 8 boxes" in text
    assert "dog[s]" in text
    assert "no area: [/red]" in text
    assert "no-boxes (30)" in text
    assert "images/09.jpg" in text
    assert "images/10.jpg" not in text
    assert "and 20 more" in text


def test_errors_come_first_and_nothing_twice() -> None:
    assert REPORT.findings[0].kind == "zero-area"
    assert len(sorted_findings([*FAULTS, *FAULTS])) == len(FAULTS)
    assert (REPORT.errors, REPORT.warnings, REPORT.exit_code) == (1, 31, 1)

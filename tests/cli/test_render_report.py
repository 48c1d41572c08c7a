from __future__ import annotations

import io
from dataclasses import replace

import pytest
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
    assert lines[-1].startswith("31 images, 8 boxes: 1 error, 31 warnings; 2 boxes clipped")


def test_a_terminal_gets_a_table_and_a_few_of_each_kind() -> None:
    text = rendered(terminal=True)
    assert "COCO data set: 31 images, 8 boxes" in text
    assert "dog[s]" in text
    assert "no area: [/red]" in text
    assert "no-boxes (30)" in text
    assert "images/02.jpg" in text
    assert "images/03.jpg" not in text
    assert "and 27 more; --json has them all" in text


def test_a_layout_is_called_as_in_the_documentation() -> None:
    file = io.StringIO()
    render_report(replace(REPORT, layout="imagefolder"), Console(file=file, force_terminal=True, color_system=None))
    assert "Hugging Face ImageFolder data set: 31 images" in file.getvalue()


def test_one_of_a_thing_is_singular() -> None:
    one = replace(REPORT, images=1, boxes=1, rounded=1, findings=sorted_findings(FAULTS[:1]))
    file = io.StringIO()
    render_report(one, Console(file=file, width=200))
    assert file.getvalue().splitlines()[-1] == (
        "1 image, 1 box: 0 errors, 1 warning; 1 box clipped by rounding (at most 1 px). Trainable."
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_names_of_any_kind_are_printed_as_they_are(terminal: bool) -> None:
    names = ("[/a]", "<!--<script>", ":cat:")
    fault = Fault("zero-area", "\x1b[31m[/b].xml", 0, "no area\nerror forged")
    report = replace(
        REPORT, classes=names, splits=(SplitCount("[/s]", 1, (1, 1, 1)),), findings=sorted_findings([fault])
    )
    file = io.StringIO()
    render_report(report, Console(file=file, force_terminal=terminal, width=120, color_system=None))
    text = file.getvalue()
    for name in (*names, "[/s]", "\\x1b[31m[/b].xml box 0: no area\\nerror forged"):
        assert name in text
    assert "\x1b" not in text


def test_errors_come_first_and_nothing_twice() -> None:
    assert REPORT.findings[0].kind == "zero-area"
    assert len(sorted_findings([*FAULTS, *FAULTS])) == len(FAULTS)
    assert (REPORT.errors, REPORT.warnings, REPORT.exit_code) == (1, 31, 1)

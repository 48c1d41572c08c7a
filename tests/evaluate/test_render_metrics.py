from __future__ import annotations

import io

import pytest
from coco_scenes import make_scene
from rich.console import Console

from boxwright.cli.evaluate import render_metrics
from boxwright.evaluate import detection_metrics


@pytest.fixture
def table():
    scene = make_scene(0, step=1.0)
    return detection_metrics(*scene.columns(), ["[red]apple", "pear", "plum"])


def text(table, **options) -> str:
    console = Console(file=io.StringIO(), **options)
    render_metrics(table, console)
    return console.file.getvalue()


@pytest.mark.parametrize("options", [{"width": 40}, {"width": 160, "force_terminal": True, "color_system": None}])
def test_every_number_protocol_class_and_warning_is_there(table, options):
    shown = text(table, **options)
    for name, value in table.numbers.items():
        assert f" {'-' if value != value else f'{value:.3f}'} " in next(
            row for row in shown.splitlines() if name in row
        )
    for word in (
        "area from the annotation",
        "VOC 2007: 11-point",
        "[red]apple",
        "pear",
        "plum",
        "localisation",
        "false negative",
        "Warning: Scores start",
    ):
        assert word in shown


def test_plain_text_is_one_unwrapped_line_a_number(table):
    lines = text(table, width=40).splitlines()
    assert len(lines) == 14 + 1 + 1 + 3 + 1 + 1 + 8 + len(table.warnings)
    assert lines[0].startswith("AP ")
    assert lines[0].endswith(table.protocols["AP"])
    assert not any(set(line) & set("│┃─━\x1b") for line in lines)
    assert lines[16].split()[0] == "[red]apple"
    assert lines[5].split()[:2] == ["APl", "-"]
    assert lines[20].split() == ["error", "AP50", "lost", "count"]
    cost = table.errors["classification"]
    assert lines[21].split() == ["classification", f"{cost.dap:.3f}", str(cost.count)]


def test_without_iou_one_half_no_errors_are_shown():
    scene = make_scene(0)
    table = detection_metrics(*scene.columns(), scene.classes, iou_thresholds=[0.75])
    assert "background" not in text(table)
    assert table.to_json()["errors"] == {}

from __future__ import annotations

import io

import pytest
from coco_scenes import make_scene
from rich.console import Console

from boxwright.cli.metrics import render_metrics
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
def test_every_number_class_and_warning_is_there(table, options):
    shown = text(table, **options)
    for name, value in table.numbers.items():
        expected = "-" if value != value else f"{value:.3f}"
        assert (f"{name} {expected}" in shown) or (name in ("AP", "AP50", "AP75") and f" {expected} [" in shown)
    for words in (
        "[red]apple",
        "pear",
        "plum",
        "all classes",
        "the annotation's area",
        "VOC: IoU >= 0.50",
        "4 images with objects: AP is known to ±",
        "fewer than 50 images",
        "localization",
        "false negative",
        "Warning: Scores start",
    ):
        assert words in shown


def test_plain_text_is_one_unwrapped_line_a_class_and_short(table):
    lines = text(table, width=40).splitlines()
    assert len(lines) == 1 + 3 + 1 + 4 + 1 + 1 + 8 + len(table.warnings)
    assert lines[0].split() == ["class", "targets", "AP", "AP50", "AP75", "best", "F1", "at", "score"]
    assert lines[1].split()[0] == "[red]apple"
    low, high = table.intervals["AP"]
    assert lines[4].startswith("all classes ")
    assert f" {table.AP:.3f} [{low:.3f}, {high:.3f}] " in lines[4]
    assert not any(set(line) & set("│┃─━\x1b") for line in lines)
    assert lines[6].split(", ")[2] == "APl -"
    assert lines[7] == table.protocol
    assert lines[8].startswith(
        f"calibration: scores from 0.05 up miss the share that is right by {table.calibration.ece:.3f} ["
    )
    assert lines[10].split() == ["error", "AP50", "lost", "count"]
    cost = table.errors["classification"]
    assert lines[11].split() == ["classification", f"{cost.dap:.3f}", str(cost.count)]


def test_without_iou_one_half_no_errors_are_shown():
    scene = make_scene(0)
    table = detection_metrics(*scene.columns(), scene.classes, iou_thresholds=[0.75])
    assert "background" not in text(table)
    assert table.to_json()["errors"] == {}

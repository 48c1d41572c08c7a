"""``boxwright parts``: every part by kind, one of them in full, and what is broken or unknown."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from boxwright import catalog
from command_line import Boxwright

CODE = """
import boxwright as bw

@bw.box_loss("deltas")
def mine(pred, target, x=3):
    "Mine, all mine."

def f():
    pass
"""


def test_all_parts_with_options_and_a_sentence(boxwright: Boxwright) -> None:
    done = boxwright("parts")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert "variant=aaai, gradient=exact" in lines["ciou"]
    assert "hardest negatives (SSD, arXiv 1512.02325, sec. 2.2)" in lines["hard_negatives"]
    assert all(f"{key}:" in lines for key in catalog.PART_KEYS)
    assert "smooth_l1" not in boxwright("parts", "miner").out


def test_one_part_in_full(boxwright: Boxwright) -> None:
    done = boxwright("parts", "focal_eiou")
    assert done.out.startswith(
        "box_loss=focal_eiou\nin boxwright.losses.iou_variants:focal_eiou_loss\n  gamma=0.5\n  detach=true\n"
    )
    assert "arXiv 2101.08158" in done.out


def test_a_part_of_ones_own(boxwright: Boxwright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "listed_parts.py").write_text(CODE)
    found = boxwright("parts", "listed_parts:mine").out
    assert found == "box_loss=listed_parts:mine\nin listed_parts:mine\n  x=3\n\nMine, all mine.\n"
    done = boxwright("parts", "listed_parts:f")
    assert done.code == 2
    assert done.err == "boxwright: listed_parts:f is no part: nothing declares it, see boxwright.parts\n"
    sys.modules.pop("listed_parts")


def test_a_broken_package_stops_nothing(boxwright: Boxwright, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "no_such_module:f", "boxwright.miner")
    monkeypatch.setattr(catalog, "entry_points", lambda group: [point] if group == point.group else [])
    catalog.installed.cache_clear()
    lines = boxwright("parts", "miner").out.splitlines()
    catalog.installed.cache_clear()
    assert lines[-1].split(maxsplit=1)[1].startswith("broken: miner 'theirs' of the package")
    assert any(line.startswith("  ohem") for line in lines)


def test_an_unknown_part(boxwright: Boxwright) -> None:
    done = boxwright("parts", "gio")
    assert done.code == 2
    assert done.err == "boxwright: unknown part 'gio'; did you mean 'giou'?\n"

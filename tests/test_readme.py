"""The README's Python runs as it is printed, and its figures and links are those of the pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import boxwright as bw
from boxwright.catalog import built_in
from boxwright.recipes import list_recipes
from boxwright.recipes.keys import Suppression

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def block(words: str) -> str:
    """The one block with these words."""
    (found,) = [text for text in BLOCKS if words in text]
    return found


def two_images() -> dict[str, Any]:
    """What the README's reader has: a padded batch of targets and the outputs of a head on SSD300's anchors."""
    anchors = bw.anchors.make_anchors(bw.anchors.SSD300, 300)
    boxes = torch.tensor([[[30.0, 40, 120, 160], [150, 20, 260, 250]], [[10, 10, 90, 90], [0, 0, 0, 0]]])
    labels = torch.tensor([[0, 1], [1, -1]])
    count = len(anchors)
    deltas = torch.zeros(2, count, 4, requires_grad=True)
    return {
        "anchors": anchors,
        "boxes": boxes,
        "labels": labels,
        "deltas": deltas,
        "class_losses": torch.rand(2, count, generator=torch.Generator().manual_seed(0)),
    }


def test_parts_alone() -> None:
    names = two_images()
    exec(block("hard_negatives(class_losses"), names)
    positives = int(names["positive"].sum())
    assert positives >= 3
    assert int(names["counted"].sum()) == 4 * positives
    names["box_loss"].backward()
    assert torch.isfinite(names["deltas"].grad).all()


def test_whole_job_is_valid_python() -> None:
    compile(block("bw.train("), "README.md", "exec")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)", README))))
def test_links_lead_somewhere(path: str) -> None:
    assert (Path(__file__).parents[1] / path).is_file()


def test_it_is_read_in_a_minute() -> None:
    assert README.count("\n") <= 120


def test_it_counts_what_there_is_to_choose_from() -> None:
    assert f"{len(built_in('box_loss'))} box losses, {len(built_in('class_loss'))} classification losses" in README
    assert len(get_args(Suppression)) == 6
    assert len(list_recipes()) == 12
    for words in ("six kinds of NMS", "Twelve [recipes]"):
        assert words in README


def test_its_figures_stand_on_the_pages_that_it_links() -> None:
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("benchmarks.md", "recipes.md")]
    accuracy, speed = (README.partition(f"## {name}\n")[2].partition("\n## ")[0] for name in ("Accuracy", "Speed"))
    ratios = re.findall(r"[\d.]+ \([\d.]+ to [\d.]+\)", speed)
    scores = re.findall(r"(?<=\| )(\.\d{3} \| \.\d{3} \| \.\d{3}) \|", accuracy)
    assert (len(ratios), len(scores)) == (7, 4)
    assert all(ratio in pages[0] for ratio in ratios)
    assert all(row in pages[1] for row in scores)

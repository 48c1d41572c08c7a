"""The README's Python runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import boxwright as bw

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
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
    logits = torch.zeros(2, count, 3, requires_grad=True)
    return {
        "anchors": anchors,
        "boxes": boxes,
        "labels": labels,
        "deltas": deltas,
        "class_losses": torch.rand(2, count, generator=torch.Generator().manual_seed(0)),
        "outputs": bw.types.DenseOutputs(logits, deltas),
        "targets": bw.types.Targets(boxes, labels, torch.zeros(2, 2, dtype=torch.bool)),
    }


def test_parts_alone() -> None:
    names = two_images()
    exec(block("hard_negatives(class_losses"), names)
    positives = int(names["positive"].sum())
    assert positives >= 3
    assert int(names["counted"].sum()) == 4 * positives
    names["box_loss"].backward()
    assert torch.isfinite(names["deltas"].grad).all()


def test_criterion() -> None:
    names = two_images()
    names["bw"] = bw
    exec(block("DenseCriterion("), names)
    assert names["losses"].positives >= 3
    assert names["losses"].total.item() > 0
    assert names["outputs"].logits.grad.abs().sum() > 0


def test_whole_job_is_valid_python() -> None:
    compile(block("bw.train("), "README.md", "exec")


@pytest.mark.parametrize("path", re.findall(r"\]\(([A-Z][\w.]*)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    assert (Path(__file__).parents[1] / path).is_file()

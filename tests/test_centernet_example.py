"""examples/centernet.py: whom its matcher matches, and that its network learns by it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import boxwright as bw
from boxwright.own_code import import_code
from boxwright.recipes.criterion import build_criterion

EXAMPLES = Path(__file__).parents[1] / "examples"
ANCHORS = bw.anchors.make_anchors(bw.anchors.AnchorSpec.squares((8,), 4.0), 64)  # 8 x 8 cells


@pytest.fixture(autouse=True)
def centernet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    import_code(["centernet"], str(EXAMPLES))
    yield
    del sys.modules["centernet"]


def match(boxes: list[list[float]], labels: list[int], ignore: list[bool]) -> bw.Matches:
    batch = torch.tensor([boxes]).reshape(1, -1, 4), torch.tensor([labels], dtype=torch.int64)
    ignored = torch.tensor([ignore], dtype=torch.bool)
    return sys.modules["centernet"].match_centers(ANCHORS, *batch, ignore=ignored)


def test_the_cell_of_the_center_is_positive_and_those_around_it_are_ignored() -> None:
    found = match([[4.0, 4, 44, 44]], [1], [False])  # its center, 24, lies between cells 2 and 3; 0.2 x 40 = 8 px
    state = found.state[0].view(8, 8)
    assert (state == 1).nonzero().tolist() == [[2, 2]]
    assert (state == -1).nonzero().tolist() == [[2, 3], [3, 2], [3, 3]]
    assert found.gt_index.sum() == 0
    assert found.iou[0, 18].item() == pytest.approx(0.5625, abs=0.1)


def test_the_smallest_target_takes_a_cell_and_ignored_ones_none() -> None:
    found = match([[0.0, 0, 40, 40], [12.0, 12, 28, 28], [40.0, 40, 60, 60]], [0, 1, 2], [False, False, True])
    assert (found.state[0] == 1).nonzero().tolist() == [[18]]
    assert found.gt_index[0, 18] == 1
    assert found.state[0].view(8, 8)[6, 6] == -1  # under the crowd
    nothing = match([], [], [])
    assert nothing.state.sum() == 0


def test_it_learns_a_picture() -> None:
    torch.manual_seed(0)
    detector = bw.create_detector("centernet:CENTERNET", 2, image_size=64, pretrained=False, freeze=0).train()
    criterion = build_criterion(detector.recipe)
    images = torch.rand(1, 3, 64, 64)
    targets = bw.Targets(torch.tensor([[[4.0, 6, 30, 40]]]), torch.tensor([[1]]), torch.zeros(1, 1, dtype=torch.bool))
    optimizer = torch.optim.AdamW(detector.parameters(), 3e-3)
    totals = []
    for _ in range(12):
        loss = criterion(detector.anchors, detector(images), targets).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < totals[0] / 2

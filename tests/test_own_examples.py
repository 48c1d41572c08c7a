"""examples/own_parts.py: each part against its formula, or as the criterion uses it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.criterion import DenseCriterion
from boxwright.own_code import import_code
from boxwright.parts import part_info
from boxwright.types import DenseOutputs, Targets

ROOT = Path(__file__).parents[1]
ANCHORS = make_anchors(AnchorSpec.squares((8, 16), 2.0), 64)
TARGETS = Targets(
    torch.tensor([[[4.0, 6, 30, 40], [30, 20, 62, 60]], [[10, 10, 50, 50], [0, 0, 0, 0]]]),
    torch.tensor([[0, 2], [1, -1]]),
    torch.zeros(2, 2, dtype=torch.bool),
)


@pytest.fixture(scope="module")
def own() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        import_code(["own_parts"], str(ROOT / "examples"))
        yield sys.modules["own_parts"]
        del sys.modules["own_parts"]


def test_the_page_shows_what_is_there(own: ModuleType) -> None:
    page = (ROOT / "docs" / "own-parts.md").read_text(encoding="utf-8")
    page = page.partition("## A backbone, a detector")[0]
    shown = re.findall(r"@bw\.(\w+)[^\n]*\n(?:def|class) (\w+)", page)
    roles = {"augmentation": "augment"}
    assert len(shown) == 8
    for decorator, name in shown:
        info = part_info(getattr(own, name))
        assert info is not None
        assert info.role == roles.get(decorator, decorator)


def test_the_page_shows_the_whole_reader() -> None:
    source = (
        (ROOT / "examples" / "own_reader.py").read_text(encoding="utf-8").partition("import boxwright as bw\n\n\n")[2]
    )
    assert source.startswith("@bw.reader")
    assert source in (ROOT / "docs" / "own-parts.md").read_text(encoding="utf-8")


def test_wing_loss_is_continuous_and_zero_for_equal_boxes(own: ModuleType) -> None:
    target = torch.tensor([[0.0, 0, 10, 20]])
    assert own.wing_loss(target, target).item() == 0
    near, far = (own.wing_loss(target + torch.tensor([[shift, 0, 0, 0]]), target) for shift in (9.999, 10.001))
    assert near.item() == pytest.approx(np.log1p(1 / 0.5), rel=1e-3)
    assert far.item() == pytest.approx(near.item(), abs=1e-3)


def test_a_criterion_of_them_all(own: ModuleType) -> None:
    criterion = DenseCriterion(
        matcher=own.match_by_prediction,
        coder=own.LinearCoder(),
        miner=own.above_median,
        class_loss=own.frequency_loss,
        box_loss=own.wing_loss,
        num_classes=3,
    )
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, len(ANCHORS), 4, generator=generator, requires_grad=True)
    deltas = (0.1 * torch.randn(2, len(ANCHORS), 4, generator=generator)).requires_grad_()
    outputs = DenseOutputs(logits, deltas)
    found = criterion(ANCHORS, outputs, TARGETS)
    found.total.backward()
    assert found.positives <= 4 * 3
    assert found.stats.matched.tolist() == criterion.class_state.tolist()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    kept = criterion.per_anchor(ANCHORS, outputs, TARGETS).counted
    assert 0.4 * kept.numel() < kept.sum() < 0.6 * kept.numel()
    nothing = Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
    assert criterion(ANCHORS, outputs, nothing).positives == 0


def test_the_coder_is_its_own_inverse(own: ModuleType) -> None:
    coder, boxes = own.LinearCoder(), TARGETS.boxes[0]
    anchors = ANCHORS.boxes[:2]
    torch.testing.assert_close(coder.decode(anchors, coder.encode(anchors, boxes)), boxes)


def test_a_blot_covers_a_ninth_of_the_image(own: ModuleType) -> None:
    image, boxes, labels = own.blot(
        np.zeros((90, 60, 3), np.uint8), np.zeros((1, 4), np.float32), np.zeros(1, np.int64), np.random.default_rng(0)
    )
    assert (image == 114).all(2).sum() == 30 * 20
    assert (boxes.shape, labels.shape) == ((1, 4), (1,))
    assert (own.linear(0.0), own.linear(1.0)) == (1.0, pytest.approx(0.01))

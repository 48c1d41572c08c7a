"""How often a step on an accelerator waits for it: once, where the criterion counts its positives."""

import pytest
import torch
from torch import Tensor

import boxwright as bw
from boxwright import losses
from boxwright.coding import DeltaCoder
from boxwright.ranking import highest
from boxwright.recipes.criterion import build_criterion
from boxwright.training.step import supervise
from boxwright.types import Targets
from device_waits import counted_waits

MATCHING = "criterion/dense.py:match"
"""Matchers have tests of their own for what they ask of the device."""
SMALL = {"backbone": "resnet18", "pretrained": False, "freeze": 0, "norm_mode": "group", "image_size": 128}
LITE = {"backbone": "tf_efficientnet_lite0", "pretrained": False, "freeze": 0}


def batch_of(side: int) -> tuple[Tensor, Targets]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, side, side), generator=generator, dtype=torch.uint8)
    corners = torch.rand(2, 4, 2, generator=generator) * side * 0.6
    boxes = torch.cat([corners, corners + side * (0.1 + 0.25 * torch.rand(2, 4, 2, generator=generator))], -1)
    return images, Targets(boxes, torch.randint(0, 3, (2, 4), generator=generator), torch.zeros(2, 4).bool())


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("lite320", {**LITE, "image_size": 128}),
        ("ssd300", LITE),
        ("retinanet", SMALL),
        ("unitbox", SMALL),
    ],
)
def test_one_stage_waits_once_a_step(recipe: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    detector = bw.create_detector(recipe, 3, **options).train()
    criterion = build_criterion(detector.recipe)
    images, targets = batch_of(detector.recipe.image_size)
    with counted_waits(monkeypatch, apart=[MATCHING]) as waits:
        supervise(detector, criterion, images, targets)[0].total.backward()
    assert waits == {"criterion/dense.py:_gather_positives": 1}


def test_two_stages_wait_in_sampling_and_nms_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = bw.create_detector("faster-rcnn", 3, **SMALL).train()
    criterion = build_criterion(detector.recipe)
    images, targets = batch_of(detector.recipe.image_size)
    nms = "models/faster_rcnn.py:propose"
    with counted_waits(monkeypatch, apart=[MATCHING, "matching/iou.py:match_iou", nms]) as waits:
        supervise(detector, criterion, images, targets)[0].total.backward()
    assert waits == {
        "criterion/two_stage.py:select_rois": 2,  # the true boxes, and the regions that are chosen, of all images
        "criterion/dense.py:_gather_positives": 2,  # of each stage
    }


def test_the_count_sees_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.tensor([1.0, -1.0], requires_grad=True)
    with counted_waits(monkeypatch) as waits:
        for ask in (
            lambda: bool((x > 0).any()),
            lambda: x[x > 0],
            lambda: x.sum().item(),
            lambda: torch.masked_select(x, x > 0),
            lambda: x.new_tensor([1.0, 2.0]),
            lambda: torch.zeros(2).index_put_((x > 0,), torch.ones(())),
            lambda: torch.unique(x),
            lambda: torch.repeat_interleave(torch.tensor([1, 2])),
        ):
            before = waits.total()
            ask()
            assert waits.total() > before
        before = waits.total()
        torch.where(x > 0, x, 0.0)[torch.zeros(1, dtype=torch.int64)].sum().backward()
        assert waits.total() == before


@pytest.mark.parametrize("rows", [True, False])
def test_focal_loss_of_all_rows_is_that_of_the_positive_ones(rows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(-1, 4, (50,), generator=generator)  # 3 is background

    def taken() -> tuple[Tensor, Tensor]:
        logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        loss = losses.sigmoid_focal_loss(logits, targets, reduction="rows" if rows else "none")
        loss.sum().backward()
        assert logits.grad is not None
        return loss.detach(), logits.grad

    here = taken()
    with counted_waits(monkeypatch) as waits:
        there = taken()
    assert not waits
    torch.testing.assert_close(here, there)
    assert not there[1][targets < 0].any()


def test_the_highest_are_the_same_where_their_number_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 9, (4, 30), generator=generator).float()  # many are equal
    eligible = torch.rand(4, 30, generator=generator) < 0.7
    counts = torch.tensor([[0], [3], [17], [40]])
    here = highest(values, eligible, counts)
    with counted_waits(monkeypatch) as waits:
        there = highest(values, eligible, counts)
        five = [highest(values, eligible, count) for count in (5, torch.full((4, 1), 5))]
    assert not waits
    assert torch.equal(*five)
    assert torch.equal(here, there)


def test_deltas_are_coded_without_a_copy_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors, boxes = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[1.0, 2, 9, 12]])
    coder = DeltaCoder(weights=(1.0, 2.0, 3.0, 4.0))
    with counted_waits(monkeypatch) as waits:
        deltas = coder.encode(anchors, boxes)
        decoded = coder.decode(anchors, deltas)
    assert not waits
    torch.testing.assert_close(decoded, boxes)
    torch.testing.assert_close(deltas, torch.tensor([[0.0, 0.4, 3 * torch.tensor(0.8).log().item(), 0.0]]))

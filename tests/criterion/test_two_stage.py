"""The criterion of two stages: which regions are chosen, and that a batch is the sum of its images."""

from functools import partial

import pytest
import torch
from torch import Tensor

import boxwright as bw
from boxwright import losses, matching, mining
from boxwright.coding import DeltaCoder
from boxwright.criterion import TwoStageCriterion, roi_losses, select_rois
from boxwright.types import DenseOutputs, RoIOutputs, Targets, TwoStageOutputs

CLASSES = 3
TARGETS = Targets(
    torch.tensor([[[10.0, 10, 50, 50], [60, 60, 90, 100]], [[0.0, 0, 30, 30], [0, 0, 0, 0]]]),
    torch.tensor([[0, 2], [1, -1]]),
    torch.zeros(2, 2, dtype=torch.bool),
)
PROPOSALS = [
    torch.tensor([[12.0, 10, 50, 52], [100, 100, 120, 120], [61, 60, 90, 99], [0, 80, 20, 120]]),
    torch.tensor([[0.0, 0, 28, 30], [70, 70, 90, 90]]),
]


def roi_criterion(**options: object) -> bw.DenseCriterion:
    parts = {
        "matcher": partial(matching.match_iou, force=None),
        "coder": DeltaCoder(),
        "class_loss": losses.cross_entropy,
        "box_loss": losses.smooth_l1_loss,
        "normalizer": "samples",
    }
    return bw.DenseCriterion(**{**parts, **options})  # type: ignore[arg-type]


def outputs_for(counts: list[int], deltas: int = 4 * CLASSES) -> RoIOutputs:
    generator = torch.Generator().manual_seed(0)
    rows = sum(counts)
    return RoIOutputs(
        torch.randn(rows, CLASSES + 1, generator=generator).requires_grad_(),
        torch.randn(rows, deltas, generator=generator).requires_grad_(),
    )


def test_true_boxes_are_among_the_regions_and_padding_is_not() -> None:
    chosen = select_rois(roi_criterion(), PROPOSALS, TARGETS)
    assert [len(boxes) for boxes in chosen] == [6, 3]
    assert torch.equal(chosen[0][4:], TARGETS.boxes[0])
    assert torch.equal(chosen[1][2:], TARGETS.boxes[1, :1])


def test_a_miner_without_losses_chooses_before_features_are_pooled() -> None:
    torch.manual_seed(0)
    miner = partial(mining.random_balanced, count=4, positive_fraction=0.5)
    chosen = select_rois(roi_criterion(miner=miner), PROPOSALS, TARGETS)
    assert [len(boxes) for boxes in chosen] == [4, 3]
    overlap = bw.boxes.box_iou(TARGETS.boxes[0], chosen[0]).amax(0)
    assert (overlap >= 0.5).sum() == 2  # half, though four were positive
    by_loss = select_rois(roi_criterion(miner=partial(mining.ohem, count=2)), PROPOSALS, TARGETS)
    assert [len(boxes) for boxes in by_loss] == [6, 3]


@pytest.mark.parametrize("normalizer", ["positives", "samples", "image", "batch"])
def test_a_batch_is_the_sum_of_its_images(normalizer: str) -> None:
    criterion = roi_criterion(normalizer=normalizer)
    rois = select_rois(criterion, PROPOSALS, TARGETS)
    said = outputs_for([6, 3])
    got = roi_losses(criterion, rois, said, TARGETS)
    target = torch.tensor([0, 3, 2, 3, 0, 2, 1, 3, 1])  # 3: background
    divisor, shares = {
        "positives": (6, torch.ones(9)),
        "samples": (9, torch.ones(9)),
        "image": (2, torch.tensor([1 / 4] * 6 + [1 / 2] * 3)),
        "batch": (2, torch.ones(9)),
    }[normalizer]
    entropy = torch.nn.functional.cross_entropy(said.logits, target, reduction="none")
    torch.testing.assert_close(got.classification, (entropy * shares).sum() / divisor)
    box = 0.0
    boxes = torch.cat(rois)
    for row, label in enumerate(target.tolist()):
        if label < CLASSES:
            image = int(row >= 6)
            wanted = TARGETS.boxes[image][TARGETS.labels[image] == label]
            code = criterion.coder.encode(boxes[row : row + 1], wanted)
            own = said.deltas[row : row + 1, 4 * label : 4 * label + 4]  # the box of the target's class
            box = box + shares[row] * losses.smooth_l1_loss(own, code).sum()
    torch.testing.assert_close(got.box, box / divisor)
    assert got.positives == 6
    assert got.stats.matched.tolist() == [2, 2, 2]
    assert got.divisor == divisor


def test_one_box_for_all_classes() -> None:
    criterion = roi_criterion()
    rois = select_rois(criterion, PROPOSALS, TARGETS)
    said = outputs_for([6, 3], deltas=4)
    repeated = RoIOutputs(said.logits, said.deltas.repeat(1, CLASSES))
    one, many = (roi_losses(criterion, rois, each, TARGETS).box for each in (said, repeated))
    torch.testing.assert_close(one, many)


def two_stages() -> tuple[TwoStageCriterion, Tensor, TwoStageOutputs]:
    anchors = torch.tensor([[0.0, 0, 40, 40], [50, 50, 100, 100], [0, 60, 40, 120]])
    rpn = bw.DenseCriterion(
        matcher=partial(matching.match_iou, positive=0.7, negative=0.3, force="ties"),
        coder=DeltaCoder((1, 1, 1, 1)),
        class_loss=losses.binary_cross_entropy,
        box_loss=losses.l1_loss,
        normalizer="samples",
    )
    criterion = TwoStageCriterion(rpn, roi_criterion())
    generator = torch.Generator().manual_seed(1)
    first = DenseOutputs(torch.randn(2, 3, 1, generator=generator), torch.randn(2, 3, 4, generator=generator))
    rois = criterion.select(PROPOSALS, TARGETS)
    return criterion, anchors, TwoStageOutputs(first, [torch.zeros(2, 1, 1, 1)], PROPOSALS, rois, outputs_for([6, 3]))


def test_the_first_stage_knows_one_class() -> None:
    criterion, anchors, outputs = two_stages()
    got = criterion(anchors, outputs, TARGETS)
    objects = TARGETS._replace(labels=torch.tensor([[0, 0], [0, -1]]))
    alone = criterion.rpn(anchors, outputs.rpn, objects)
    assert {name: got.terms[f"proposals {name}"] for name in alone.terms} == alone.terms
    assert got.terms.keys() == {"classification", "box", "proposals classification", "proposals box"}
    assert got.total.item() == pytest.approx((alone.total + got.classification + got.box).item())
    assert alone.positives == 3
    assert got.divisor == 2


def test_images_alone_have_their_own_losses() -> None:
    """What a loss that is not finite is searched with: divisors of the single images add up."""
    criterion, anchors, outputs = two_stages()
    both = criterion(anchors, outputs, TARGETS)
    alone = [criterion(anchors, outputs.of_image(row), TARGETS.of_image(row)) for row in range(2)]
    second = sum(losses.classification * count for losses, count in zip(alone, (6, 3), strict=True)) / 9
    assert both.classification.item() == pytest.approx(second.item(), rel=1e-5)


def test_regions_are_asked_for() -> None:
    criterion, anchors, outputs = two_stages()
    with pytest.raises(ValueError, match="regions chosen by select"):
        criterion(anchors, outputs._replace(rois=None), TARGETS)

"""Centerness: the formula, what the criterion teaches, and how it weights the boxes."""

import math
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection.fcos import FCOSHead

from boxwright import losses, matching, mining
from boxwright.anchors import Anchors, AnchorSpec, make_anchors
from boxwright.coding import DistanceCoder, centerness
from boxwright.criterion import DenseCriterion
from boxwright.types import DenseOutputs, Targets

CLASSES = 3
ANCHORS = make_anchors(AnchorSpec.squares((8, 16, 32), 1.0), 64)
CODER = DistanceCoder(unit=1.0)
TARGETS = Targets(
    torch.tensor([[[4.0, 6, 30, 40], [30, 20, 62, 60]], [[10, 10, 50, 50], [0, 0, 0, 0]], [[0.0] * 4] * 2]),
    torch.tensor([[0, 2], [1, -1], [-1, -1]]),
    torch.zeros(3, 2, dtype=torch.bool),
)


def some_criterion(**options: Any) -> DenseCriterion:
    chosen = {
        "matcher": matching.match_points,
        "coder": CODER,
        "class_loss": losses.sigmoid_focal_loss,
        "box_loss": partial(losses.iou_loss, mode="log"),
        "box_weight": 1.5,
    }
    return DenseCriterion(**{**chosen, **options})


def some_outputs(anchors: Anchors = ANCHORS) -> DenseOutputs:
    generator = torch.Generator().manual_seed(3)
    shapes = [(3, len(anchors), CLASSES), (3, len(anchors), 4), (3, len(anchors))]
    logits, logs, central = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return DenseOutputs(logits.requires_grad_(), logs.exp().requires_grad_(), central.requires_grad_())


def rows_of(batch: Any, rows: slice) -> Any:
    return type(batch)(*(field[rows] for field in batch))


def matched(outputs: DenseOutputs, **options: Any) -> Tensor:
    """(B, A) where positive."""
    return matching.match_points(ANCHORS, *TARGETS[:2], **options).state[: len(outputs.logits)] == 1


# --- the formula


def test_central_points_are_worth_more() -> None:
    box = torch.tensor([0.0, 0.0, 40.0, 20.0])
    points = {(20, 10): 1.0, (10, 10): math.sqrt(1 / 3), (30, 5): 1 / 3, (0, 10): 0.0, (-5, 10): 0.0, (-5, -5): 0.0}
    anchors = torch.tensor([[x - 3.0, y - 3.0, x + 3.0, y + 3.0] for x, y in points])
    torch.testing.assert_close(centerness(anchors, box), torch.tensor(list(points.values())))
    assert centerness(anchors, torch.tensor([10.0, 10, 10, 10])).tolist() == [0.0] * 6  # a box that is a point


coordinates = st.floats(-300, 300, width=32)
some_sides = st.sampled_from([0.0, 1e-3, 8.0]) | st.floats(0, 300, width=32)


@settings(deadline=None, max_examples=60)
@given(
    point=st.tuples(coordinates, coordinates), corner=st.tuples(coordinates, coordinates), size=st.tuples(some_sides)
)
def test_equals_the_formula_read_aloud(point: tuple[float, float], corner: tuple[float, float], size: tuple) -> None:
    (x, y), (x1, y1) = point, corner
    box = torch.tensor([x1, y1, x1 + size[0], y1 + 2 * size[0]], dtype=torch.float64)
    anchor = torch.tensor([x - 8, y - 4, x + 8, y + 4], dtype=torch.float64)
    got = centerness(anchor, box).item()
    left, top, right, bottom = x - box[0].item(), y - box[1].item(), box[2].item() - x, box[3].item() - y
    inside = min(left, top, right, bottom) > 0
    wanted = math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom)) if inside else 0.0
    assert got == pytest.approx(wanted, rel=1e-6, abs=1e-6)
    assert 0 <= got <= 1


# --- what the criterion teaches


def test_equals_a_loop_over_the_positives() -> None:
    outputs = some_outputs()
    matches = matching.match_points(ANCHORS, *TARGETS[:2])
    central, box, weights, positives = 0.0, 0.0, 0.0, 0
    for image, a in torch.nonzero(matches.state == 1).tolist():
        target, anchor = TARGETS.boxes[image, matches.gt_index[image, a]].tolist(), ANCHORS.boxes[a].tolist()
        x, y, side = (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2, anchor[2] - anchor[0]
        left, top, right, bottom = x - target[0], y - target[1], target[2] - x, target[3] - y
        wanted = math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))
        p = outputs.centerness[image, a].sigmoid().item()
        central -= wanted * math.log(p) + (1 - wanted) * math.log(1 - p)
        l, t, r, b = (side * d for d in outputs.deltas[image, a].tolist())  # noqa: E741
        shared = (min(l, left) + min(r, right)) * (min(t, top) + min(b, bottom))  # both boxes hold the point
        union = (l + r) * (t + b) + (left + right) * (top + bottom) - shared
        box -= 1.5 * wanted * math.log(shared / union)
        weights, positives = weights + wanted, positives + 1
    got = some_criterion()(ANCHORS, outputs, TARGETS)
    assert got.positives.item() == positives > 10
    assert got.terms["centerness"].item() == pytest.approx(central / positives, rel=1e-6)
    assert got.box.item() == pytest.approx(box / weights, rel=1e-5)
    assert got.total.item() == pytest.approx((got.classification + got.box + got.terms["centerness"]).item(), rel=1e-9)


def test_a_head_without_it_is_supervised_as_before() -> None:
    outputs = some_outputs()
    plain, central = (
        some_criterion()(ANCHORS, DenseOutputs(*outputs[:2]), TARGETS),
        some_criterion()(ANCHORS, outputs, TARGETS),
    )
    assert "centerness" not in plain.terms
    assert plain.total == plain.classification + plain.box
    assert plain.classification == central.classification
    assert plain.box != central.box


def test_torchvision_s_losses() -> None:
    """Its own, on points that our matcher chose. It does not weight the boxes."""
    outputs = DenseOutputs(*(value.detach().float() for value in some_outputs()))
    matches = matching.match_points(ANCHORS, *TARGETS[:2])
    assigned = [torch.where(s == 1, g, -1) for s, g in zip(matches.state, matches.gt_index, strict=True)]
    targets = [{"boxes": b[n >= 0], "labels": n[n >= 0]} for b, n in zip(TARGETS.boxes, TARGETS.labels, strict=True)]
    theirs = FCOSHead(32, 1, CLASSES).compute_loss(
        targets,
        {
            "cls_logits": outputs.logits,
            "bbox_regression": outputs.deltas,
            "bbox_ctrness": outputs.centerness[..., None],
        },
        [ANCHORS.boxes] * 3,
        assigned,
    )
    criterion = some_criterion(box_loss=losses.giou_loss, box_weight=1.0)
    got = criterion(ANCHORS, outputs, TARGETS)
    torch.testing.assert_close(got.classification, theirs["classification"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got.terms["centerness"], theirs["bbox_ctrness"], rtol=1e-5, atol=1e-6)
    unweighted = criterion(ANCHORS, DenseOutputs(*outputs[:2]), TARGETS)
    torch.testing.assert_close(unweighted.box, theirs["bbox_regression"], rtol=1e-5, atol=1e-6)


def test_only_positives_are_taught() -> None:
    outputs = some_outputs()
    gradient = torch.autograd.grad(some_criterion()(ANCHORS, outputs, TARGETS).total, outputs.centerness)[0]
    positive = matched(outputs)
    assert (gradient[positive] != 0).all()
    assert (gradient[~positive] == 0).all()


def test_no_object_no_loss_and_no_gradient() -> None:
    outputs = some_outputs()
    for width in (0, 2):
        empty = Targets(torch.zeros(3, width, 4), torch.full((3, width), -1), torch.zeros(3, width, dtype=torch.bool))
        got = some_criterion()(ANCHORS, outputs, empty)
        gradients = torch.autograd.grad(got.total, outputs)
        assert got.terms["centerness"].item() == got.box.item() == 0
        assert gradients[2].abs().max() == 0
        assert all(each.isfinite().all() for each in gradients)


# --- the weights of the boxes


@losses.box_loss(space="boxes")
def one_each(pred: Tensor, target: Tensor) -> Tensor:
    return 1 + 0 * pred.sum(1)


@pytest.mark.parametrize("normalizer", ["positives", "batch"])
@pytest.mark.parametrize("miner", [None, partial(mining.hard_examples, count=2)])
def test_the_weights_of_those_that_count_have_mean_one(normalizer: Any, miner: Any) -> None:
    criterion = some_criterion(box_loss=one_each, box_weight=1.0, normalizer=normalizer, miner=miner)
    outputs = some_outputs()
    got, plain = (criterion(ANCHORS, each, TARGETS) for each in (outputs, DenseOutputs(*outputs[:2])))
    assert plain.box.item() > 0
    assert got.box.item() == pytest.approx(plain.box.item(), rel=1e-6)


def test_a_dropped_positive_loses_it_too() -> None:
    outputs = some_outputs()
    criterion = some_criterion(miner=partial(mining.hard_examples, count=3))
    got = criterion(ANCHORS, outputs, TARGETS)
    gradient = torch.autograd.grad(got.total, outputs.centerness)[0]
    assert 0 < (gradient != 0).sum() == got.divisor < got.positives


def test_points_on_the_edge_alone_teach_no_box() -> None:
    """All weights are 0, and so is their mean."""
    anchors = torch.tensor([[0.0, 0.0, 20.0, 20.0]])
    targets = Targets(torch.tensor([[[10.0, 0.0, 20.0, 20.0]]]), torch.zeros(1, 1).long(), torch.zeros(1, 1).bool())
    outputs = DenseOutputs(*(torch.ones(shape, requires_grad=True) for shape in ((1, 1, 3), (1, 1, 4), (1, 1))))
    got = some_criterion(matcher=matching.match_iou)(anchors, outputs, targets)
    assert got.positives == 1
    assert got.box == 0
    assert got.terms["centerness"].item() == pytest.approx(math.log(1 + math.e), rel=1e-6)
    assert all(each.isfinite().all() for each in torch.autograd.grad(got.total, outputs))


def test_gradients() -> None:
    targets = rows_of(TARGETS, slice(0, 1))
    coarse = make_anchors(AnchorSpec.squares((16, 32), 1.0), 64)
    values = [value.detach()[:1, : len(coarse)].requires_grad_() for value in some_outputs()]

    def total(*values: Tensor) -> Tensor:
        return some_criterion()(coarse, DenseOutputs(*values), targets).total

    assert torch.autograd.gradcheck(total, values)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    outputs = some_outputs()
    large = outputs.centerness.detach().clone()
    large[:, ::2] *= torch.finfo(dtype).max / 8
    half = DenseOutputs(*(v.detach().to(dtype).requires_grad_() for v in (*outputs[:2], large)))
    raised = DenseOutputs(*(value.detach().float() for value in half))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = some_criterion()(ANCHORS, half, TARGETS)
    assert got.terms["centerness"].dtype == torch.float32
    assert got.total.isfinite()
    torch.testing.assert_close(
        got.terms["centerness"], some_criterion()(ANCHORS, raised, TARGETS).terms["centerness"], rtol=1e-5, atol=0
    )
    assert all(each.isfinite().all() for each in torch.autograd.grad(got.total, half))


def test_its_sums_add_up_over_batches() -> None:
    outputs, criterion = some_outputs(), some_criterion()
    parts = [criterion(ANCHORS, *(rows_of(b, slice(i, i + 1)) for b in (outputs, TARGETS))) for i in range(3)]
    whole = criterion(ANCHORS, outputs, TARGETS)
    for term in ("classification", "centerness"):
        total = sum(part.terms[term] * part.divisor.clamp(min=1) for part in parts) / whole.divisor
        assert total.item() == pytest.approx(whole.terms[term].item(), rel=1e-6)


def of_one_rank(rank: int, store: str, results: Any) -> None:
    """Image 0 on the first rank, images 1 and 2 on the second."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    outputs, rows = some_outputs(), slice(0, 1) if rank == 0 else slice(1, 3)
    total = some_criterion()(ANCHORS, rows_of(outputs, rows), rows_of(TARGETS, rows)).total
    gradients = torch.autograd.grad(total, outputs)
    for gradient in gradients:  # what DDP does
        torch.distributed.all_reduce(gradient)
    if rank == 0:
        results.put([(gradient / 2).numpy() for gradient in gradients])
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_give_the_gradient_of_one_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=of_one_rank, args=(r, str(tmp_path / "store"), results)) for r in range(2)]
    for process in processes:
        process.start()
    got = results.get()
    for process in processes:
        process.join()
    outputs = some_outputs()
    wanted = torch.autograd.grad(some_criterion()(ANCHORS, outputs, TARGETS).total, outputs)
    for ours, theirs in zip(got, wanted, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=1e-6, atol=1e-9)

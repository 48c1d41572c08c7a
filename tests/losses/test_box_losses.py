"""The overlap losses against closed forms and golden numbers, and what holds for every box loss."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from box_cases import (
    GOLDEN,
    ON_BOXES,
    ON_DELTAS,
    assert_golden,
    bound,
    odd_pairs,
    overlapping_pairs,
    random_pairs,
    value_and_gradient,
    wild_box,
    with_area,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright import losses
from boxwright._util import checks

PRED = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
TARGET = torch.tensor([[1.0, 0.0, 3.0, 2.0]])

log_iou = partial(losses.iou_loss, mode="log")
square_iou = partial(losses.iou_loss, mode="square")
tpami_ciou = partial(losses.ciou_loss, variant="tpami")
authors_ciou = partial(losses.ciou_loss, gradient="authors")


def test_closed_forms():
    assert losses.iou_loss(PRED, TARGET).item() == pytest.approx(2 / 3)
    assert log_iou(PRED, TARGET).item() == pytest.approx(math.log(3))
    assert square_iou(PRED, TARGET).item() == pytest.approx(8 / 9)
    assert losses.giou_loss(PRED, TARGET).item() == pytest.approx(2 / 3)
    assert losses.diou_loss(PRED, TARGET).item() == pytest.approx(2 / 3 + 1 / 13)
    assert losses.ciou_loss(PRED, TARGET).item() == pytest.approx(2 / 3 + 1 / 13)


@pytest.mark.parametrize(
    ("key", "loss"),
    [
        ("spec_iou_linear", losses.iou_loss),
        ("spec_iou_square", square_iou),
        ("spec_giou", losses.giou_loss),
        ("spec_diou", losses.diou_loss),
        ("spec_ciou", losses.ciou_loss),
        ("spec_ciou_gate05", tpami_ciou),
    ],
)
def test_equals_the_papers(key, loss):
    assert_golden(loss, key)


def test_log_iou_equals_the_paper_where_boxes_overlap():
    value, grad = value_and_gradient(log_iou, GOLDEN["pred"], GOLDEN["target"])
    overlap = GOLDEN["L_spec_iou_log"] < 13
    np.testing.assert_allclose(value.numpy()[overlap], GOLDEN["L_spec_iou_log"][overlap], rtol=1e-9, atol=1e-9)
    assert not overlap.all()
    np.testing.assert_allclose(value.numpy()[~overlap], -math.log(1e-6))
    smooth = overlap & GOLDEN["smooth"]
    np.testing.assert_allclose(grad.numpy()[smooth], GOLDEN["G_spec_iou_log"][smooth], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["giou", "diou", "ciou"])
def test_equals_torchvision_on_pixel_boxes(name):
    loss = getattr(losses, f"{name}_loss")
    value, grad = value_and_gradient(loss, GOLDEN["pred"], GOLDEN["target"])
    pixels = GOLDEN["kind"] != GOLDEN["kind_names"].tolist().index("tiny_unit")
    np.testing.assert_allclose(value.numpy()[pixels], GOLDEN[f"L_tv_{name}"][pixels], atol=1e-6)
    smooth = pixels & GOLDEN["smooth"]
    np.testing.assert_allclose(grad.numpy()[smooth], GOLDEN[f"G_tv_{name}"][smooth], atol=1e-6)
    pred, target = (torch.from_numpy(GOLDEN[key]) for key in ("pred", "target"))
    for reduction, tolerance in (("sum", 1e-2), ("mean", 1e-2 / len(pred))):  # the eps of the five tiny_unit rows
        reduced = loss(pred, target, reduction=reduction).item()
        assert reduced == pytest.approx(GOLDEN[f"R_tv_{name}_{reduction}"].item(), abs=tolerance)


def test_alpha_is_constant_in_the_gradient_and_v_is_not():
    _, grad = value_and_gradient(losses.ciou_loss, GOLDEN["pred"], GOLDEN["target"])
    attached = GOLDEN["G_spec_ciou_attached"]
    assert np.abs(grad.numpy() - attached)[GOLDEN["smooth"]].max() > 1e-4
    # Same center, same area, other aspect: only v can tell which way to turn.
    pred = torch.tensor([[-2.0, -1.0, 2.0, 1.0]])
    target = torch.tensor([[-1.0, -2.0, 1.0, 2.0]])
    _, ciou = value_and_gradient(losses.ciou_loss, pred, target)
    _, diou = value_and_gradient(losses.diou_loss, pred, target)
    assert (ciou - diou).abs().max() > 1e-2


def test_tpami_variant_has_no_aspect_term_below_half():
    pred = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0]])
    target = torch.tensor([[5.0, 5.0, 25.0, 15.0], [0.0, 0.0, 10.0, 8.0]])
    plain, aaai, tpami = losses.diou_loss(pred, target), losses.ciou_loss(pred, target), tpami_ciou(pred, target)
    assert (aaai > plain).all()
    assert tpami[0] == plain[0]
    assert tpami[1] == aaai[1]


def test_the_authors_gradient_is_the_exact_one_times_the_squared_diagonal():
    pred, target = (torch.from_numpy(GOLDEN[key]) for key in ("pred", "target"))
    plain, diou_grad = value_and_gradient(losses.diou_loss, pred, target)
    exact, exact_grad = value_and_gradient(losses.ciou_loss, pred, target)
    authors, authors_grad = value_and_gradient(authors_ciou, pred, target)
    assert torch.equal(exact, authors)
    diagonal = (pred[:, 2:] - pred[:, :2]).square().sum(-1, keepdim=True)
    assert (exact > plain).any()
    from_aspect = (exact_grad - diou_grad) * diagonal
    torch.testing.assert_close(authors_grad - diou_grad, from_aspect, rtol=1e-6, atol=1e-9 * diagonal.max().item())


@pytest.mark.parametrize(("loss", "factor"), [(losses.ciou_loss, 1 / 100), (authors_ciou, 100)])
def test_the_exact_gradient_of_v_falls_with_size_and_the_authors_grows(loss, factor):
    pred = torch.tensor([[-2.0, -1.0, 2.0, 1.0]])
    target = torch.tensor([[-1.0, -2.0, 1.0, 2.0]])

    def from_aspect(scale):
        _, grad = value_and_gradient(loss, pred * scale, target * scale)
        return grad - value_and_gradient(losses.diou_loss, pred * scale, target * scale)[1]

    assert from_aspect(1).abs().min() > 1e-3
    torch.testing.assert_close(from_aspect(100), from_aspect(1) * factor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_aspect_still_pulls_in_every_precision(dtype):
    pred = torch.tensor([[-40.0, -20.0, 40.0, 20.0]])
    target = torch.tensor([[-20.0, -40.0, 20.0, 40.0]])
    _, grad = value_and_gradient(losses.ciou_loss, pred, target, dtype)
    _, plain = value_and_gradient(losses.diou_loss, pred, target, dtype)
    wider, taller = (grad - plain).float()[0, 2:].tolist()
    assert wider > 1e-4  # the box is too wide and not tall enough
    assert taller < -1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("loss", ON_BOXES)
def test_identical_boxes_cost_nothing_and_pull_nowhere(loss, dtype):
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 5e4, 3.0], [0.1, 0.2, 0.3, 0.35], [-7.0, 5.0, 311.0, 5.5]])
    value, grad = value_and_gradient(loss, boxes, boxes, dtype)
    assert value.abs().max() < 1e-6
    assert grad.abs().max() < 1e-5


@pytest.mark.parametrize("loss", [*ON_BOXES, *ON_DELTAS])
@settings(deadline=None, max_examples=20)
@given(pairs=odd_pairs)
def test_finite_for_every_prediction(loss, pairs):
    pred, target = torch.tensor(pairs, dtype=torch.float32).unbind(1)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        most = 6e4 if dtype == torch.float16 else 1e6
        some = with_area(pred.clamp(-most, most), target.clamp(-most, most), dtype)
        value, grad = value_and_gradient(loss, *some, dtype)
        assert value.isfinite().all()
        assert (value >= -1e-6).all()
        assert grad.isfinite().all()


TARGETS = torch.tensor([[0.0, 0.0, 10.0, 10.0], [-5.0, -5.0, -4.0, 300.0], [1e-20, 0.0, 2e-20, 1e-19]])


@pytest.mark.parametrize("loss", [*ON_BOXES, *ON_DELTAS])
@settings(deadline=None, max_examples=30)
@given(boxes=st.lists(wild_box, min_size=1, max_size=6))
def test_finite_for_predictions_up_to_the_largest_numbers(loss, boxes):
    pred, target = torch.tensor(boxes).repeat_interleave(len(TARGETS), 0), TARGETS.repeat(len(boxes), 1)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        limit = min(torch.finfo(dtype).max, 2.0**127)
        some = with_area(pred.clamp(-limit, limit), target, dtype)
        value, grad = value_and_gradient(loss, *some, dtype)
        assert value.isfinite().all()
        assert value.sum().isfinite()
        assert (value >= -1e-5).all()
        assert grad.isfinite().all()


POINT, LINE, TINY, BOX = (
    [5.0, 5.0, 5.0, 5.0],
    [5.0, 2.0, 5.0, 8.0],
    [5.0, 5.0, 5.0 + 1e-8, 5.0 + 1e-8],
    [0.0, 0, 10, 10],
)
HUGE, TOUCHING, FAR, INVERTED = [0.0, 0, 1e5, 1e5], [10.0, 0, 20, 10], [1e5, 1e5, 1.1e5, 1.1e5], [8.0, 9.0, 2.0, 1.0]
UNIT, TWISTED = [5.0, 5.0, 6.0, 6.0], [1e3, 1e3, 5.5, 5.5]  # far outside of what encloses the two
ODD = [UNIT, TWISTED, POINT, LINE, TINY, BOX, HUGE, TOUCHING, FAR, INVERTED, [0.0, 0, 1e-8, 1e-8], [0.0, 0, 1e5, 1e-8]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
@pytest.mark.parametrize("loss", [*ON_BOXES, *ON_DELTAS])
def test_finite_for_boxes_without_area_nested_touching_disjoint_and_inverted(loss, seen, dtype, monkeypatch):
    """Where targets aren't looked at, as on CUDA, those without area too."""
    boxes = torch.tensor(ODD, dtype=dtype)
    pred, target = torch.cartesian_prod(torch.arange(len(ODD)), torch.arange(len(ODD))).unbind(1)
    golden = [torch.as_tensor(GOLDEN[key]) for key in ("deg_pred", "deg_target")]
    for pair in ((boxes[pred], boxes[target]), golden):
        pair = with_area(*pair, dtype) if seen else pair
        if not seen:
            monkeypatch.setattr(checks, "is_visible", lambda _: False)
        value, grad = value_and_gradient(loss, *pair, dtype)
        assert value.isfinite().all()
        assert grad.isfinite().all()


@pytest.mark.parametrize("loss", [case for case in ON_BOXES if "detach=False" not in case.id])
def test_gradient_widens_a_narrow_box(loss):
    _, grad = value_and_gradient(loss, torch.tensor([[5.0, 2.0, 5.001, 8.0]]), torch.tensor([BOX]), torch.float32)
    assert grad[0, 0] > 0 > grad[0, 2]  # descent moves the left side to the left and the right to the right


PULLING = [
    bound(losses.giou_loss),
    bound(losses.diou_loss),
    bound(losses.ciou_loss),
    bound(losses.ciou_loss, variant="tpami"),
    bound(losses.eiou_loss),
    bound(losses.siou_loss),
    bound(losses.alpha_iou_loss, kind="giou"),
    bound(losses.alpha_iou_loss, kind="diou"),
    bound(losses.wiou_loss),
    bound(losses.mpdiou_loss, image_size=100),
    bound(losses.inner_iou_loss, kind="diou"),
    bound(losses.inner_iou_loss, ratio=4.0),
]


@pytest.mark.parametrize("loss", PULLING)
def test_disjoint_boxes_are_pulled_together(loss):
    pred, target = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[30.0, 0.0, 40.0, 10.0]])
    _, grad = value_and_gradient(loss, pred, target)
    assert grad[0, [0, 2]].sum() < 0  # descent moves it to the right


NOT_WHOLLY_ATTACHED = ("ciou", "wiou", "focal_eiou_loss")
DIFFERENTIABLE = [case for case in ON_BOXES if not any(name in case.id for name in NOT_WHOLLY_ATTACHED)]
DIFFERENTIABLE += [bound(losses.focal_eiou_loss, detach=False)]


@pytest.mark.parametrize("loss", [*DIFFERENTIABLE, *ON_DELTAS])
def test_gradcheck(loss):
    pred, target = overlapping_pairs()
    assert torch.autograd.gradcheck(lambda p: loss(p, target), pred.requires_grad_())


@pytest.mark.parametrize("loss", [case for case in ON_BOXES if "mpdiou" not in case.id])
def test_scaling_both_boxes_changes_no_loss(loss):
    pred, target = (torch.from_numpy(GOLDEN[key]) for key in ("pred", "target"))
    value, scaled = loss(pred, target), loss(pred * 7.3, target * 7.3)
    torch.testing.assert_close(scaled, value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", ON_BOXES)
def test_moving_or_mirroring_both_boxes_changes_no_loss(loss):
    pred, target = overlapping_pairs(1)
    moved = torch.tensor([31.0, -7.0, 31.0, -7.0])
    torch.testing.assert_close(loss(pred + moved, target + moved), loss(pred, target))
    mirrored = [torch.stack([-b[:, 2], b[:, 1], -b[:, 0], b[:, 3]], dim=-1) for b in (pred, target)]
    torch.testing.assert_close(loss(*mirrored), loss(pred, target))
    many = loss(pred.reshape(2, 3, 4), target.reshape(2, 3, 4))
    torch.testing.assert_close(many, loss(pred, target).reshape(2, 3))


NOT_NORMALIZED = [case for case in [*ON_BOXES, *ON_DELTAS] if "focal_eiou" not in case.id]


@pytest.mark.parametrize("loss", NOT_NORMALIZED)
def test_mean_is_the_mean(loss):
    pred, target = random_pairs()
    torch.testing.assert_close(loss(pred, target, reduction="mean"), loss(pred, target).mean())


@pytest.mark.parametrize("loss", [*ON_BOXES, *ON_DELTAS])
def test_reductions_and_empty_input(loss):
    pred, target = random_pairs()
    each = loss(pred, target)
    assert each.shape == (5,)
    torch.testing.assert_close(loss(pred, target, reduction="sum"), each.sum())
    empty = torch.zeros(0, 4, requires_grad=True)
    for reduction in ("sum", "mean"):
        value = loss(empty, torch.zeros(0, 4), reduction=reduction)
        assert value.item() == 0
        value.backward()
        assert empty.grad.shape == (0, 4)
    with pytest.raises(ValueError, match=r"Expected a reduction out of .* but got 'avg'"):
        loss(pred, target, reduction="avg")
    with pytest.raises(ValueError, match=r"Expected pred and target of one shape \(N, 4\)"):
        loss(pred, target[:1])
    with pytest.raises(ValueError, match=r"Expected pred and target of one shape \(N, 4\)"):
        loss(pred[:, :3], target[:, :3])


@pytest.mark.parametrize("loss", [*ON_BOXES, *ON_DELTAS])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision(loss, dtype):
    pred, target = torch.tensor([[[1.0, 2.0, 30.0, 41.0]], [[3.0, 1.0, 28.0, 44.0]]], dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(pred, target)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(value.double(), loss(pred.double(), target.double()), rtol=1e-5, atol=1e-6)


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"Expected an IoU mode out of .* but got 'ln'"):
        losses.iou_loss(PRED, TARGET, mode="ln")
    with pytest.raises(ValueError, match=r"Expected a CIoU variant out of .* but got 'v2'"):
        losses.ciou_loss(PRED, TARGET, variant="v2")
    with pytest.raises(ValueError, match=r"Expected a CIoU gradient out of .* but got 'true'"):
        losses.ciou_loss(PRED, TARGET, gradient="true")

"""Golden numbers: the papers' formulas in float64 without eps (spec), torchvision, torch and fvcore."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright import losses

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "losses.npz")
PRED = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
TARGET = torch.tensor([[1.0, 0.0, 3.0, 2.0]])


def log_iou(pred, target):
    return losses.iou_loss(pred, target, mode="log")


def square_iou(pred, target):
    return losses.iou_loss(pred, target, mode="square")


def tpami_ciou(pred, target):
    return losses.ciou_loss(pred, target, variant="tpami")


ON_BOXES = [losses.iou_loss, log_iou, square_iou, losses.giou_loss, losses.diou_loss, losses.ciou_loss, tpami_ciou]
ON_DELTAS = [losses.l1_loss, losses.smooth_l1_loss]

corner = st.sampled_from([0.0, 1e-8, 0.5, 3.0, 1e5, -1e5]) | st.floats(-1e3, 1e3, width=32)
side = st.sampled_from([0.0, 1e-8, 1e-20, 1.0, 1e5]) | st.floats(0, 1e3, width=32)
odd_box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
odd_pairs = st.lists(st.tuples(odd_box, odd_box) | odd_box.map(lambda b: (b, b)), min_size=1, max_size=8)


def value_and_gradient(loss, pred, target, dtype=torch.float64):
    pred = torch.as_tensor(pred).detach().to(dtype, copy=True).requires_grad_()
    value = loss(pred, torch.as_tensor(target, dtype=dtype))
    value.sum().backward()
    return value.detach(), pred.grad


def test_closed_forms():
    assert losses.iou_loss(PRED, TARGET).item() == pytest.approx(2 / 3)
    assert log_iou(PRED, TARGET).item() == pytest.approx(math.log(3))
    assert square_iou(PRED, TARGET).item() == pytest.approx(8 / 9)
    assert losses.giou_loss(PRED, TARGET).item() == pytest.approx(2 / 3)
    assert losses.diou_loss(PRED, TARGET).item() == pytest.approx(2 / 3 + 1 / 13)
    assert losses.ciou_loss(PRED, TARGET).item() == pytest.approx(2 / 3 + 1 / 13)
    assert losses.l1_loss(PRED, TARGET).item() == 2
    assert losses.smooth_l1_loss(PRED, TARGET).item() == 1
    assert losses.smooth_l1_loss(PRED, TARGET, beta=2.0).item() == pytest.approx(2 * 0.25)


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
    value, grad = value_and_gradient(loss, GOLDEN["pred"], GOLDEN["target"])
    np.testing.assert_allclose(value.numpy(), GOLDEN[f"L_{key}"], rtol=1e-9, atol=1e-9)
    smooth = GOLDEN["smooth"]
    np.testing.assert_allclose(grad.numpy()[smooth], GOLDEN[f"G_{key}"][smooth], rtol=1e-6, atol=1e-9)


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


@pytest.mark.parametrize(
    ("key", "beta"),
    [
        ("torch_smooth_l1_beta1", 1.0),
        ("torch_smooth_l1_beta1_9", 1 / 9),
        ("torch_smooth_l1_beta0.5", 0.5),
        ("torch_smooth_l1_beta0", 0.0),
        ("torch_l1", 0.0),
        ("fv_smooth_l1_beta0.11", 0.11),
    ],
)
def test_smooth_l1_equals_the_references(key, beta):
    value, grad = value_and_gradient(
        lambda p, t: losses.smooth_l1_loss(p, t, beta=beta), GOLDEN["reg_pred"], GOLDEN["reg_target"]
    )
    np.testing.assert_allclose(value.numpy(), GOLDEN[f"L_{key}"].sum(1), rtol=1e-12)
    np.testing.assert_allclose(grad.numpy(), GOLDEN[f"G_{key}"], rtol=1e-12)


def test_smooth_l1_tends_to_l1():
    pred, target = (torch.from_numpy(GOLDEN[key]) for key in ("reg_pred", "reg_target"))
    small = losses.smooth_l1_loss(pred, target, beta=1e-9)
    torch.testing.assert_close(small, losses.l1_loss(pred, target), atol=1e-8, rtol=0)
    torch.testing.assert_close(losses.smooth_l1_loss(pred, target, beta=0.0), losses.l1_loss(pred, target))


def test_alpha_is_constant_in_the_gradient_and_v_is_not():
    _, grad = value_and_gradient(losses.ciou_loss, GOLDEN["pred"], GOLDEN["target"])
    attached = GOLDEN["G_spec_ciou_attached"]
    assert np.abs(grad.numpy() - attached)[GOLDEN["smooth"]].max() > 1e-4
    # Same centre, same area, other aspect: only v can tell which way to turn.
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


@pytest.mark.parametrize("loss", ON_BOXES)
def test_identical_boxes_cost_nothing_and_pull_nowhere(loss):
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 1e5, 3.0], [0.1, 0.2, 0.3, 0.35], [-7.0, 5.0, 311.0, 5.5]])
    value, grad = value_and_gradient(loss, boxes, boxes, torch.float32)
    assert value.abs().max() < 1e-6
    assert grad.isfinite().all()


@pytest.mark.parametrize("loss", [*ON_BOXES, *ON_DELTAS])
@settings(deadline=None, max_examples=30)
@given(pairs=odd_pairs)
def test_finite_for_every_box(loss, pairs):
    pred, target = torch.tensor(pairs, dtype=torch.float32).unbind(1)
    value, grad = value_and_gradient(loss, pred, target, torch.float32)
    assert value.isfinite().all()
    assert (value >= -1e-6).all()
    assert grad.isfinite().all()
    halves = pred.clamp(-6e4, 6e4).half(), target.clamp(-6e4, 6e4).half()
    value, grad = value_and_gradient(loss, *halves, torch.float16)
    assert value.isfinite().all()
    assert grad.isfinite().all()


@pytest.mark.parametrize("loss", [*ON_BOXES, *ON_DELTAS])
def test_gradient_reaches_and_repairs_boxes_without_area(loss):
    pred = GOLDEN["deg_pred"]
    value, grad = value_and_gradient(loss, pred, GOLDEN["deg_target"], torch.float32)
    assert value.isfinite().all()
    assert grad.isfinite().all()


@pytest.mark.parametrize("loss", [losses.giou_loss, losses.diou_loss, losses.ciou_loss, tpami_ciou])
def test_disjoint_boxes_are_pulled_together(loss):
    pred, target = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[30.0, 0.0, 40.0, 10.0]])
    _, grad = value_and_gradient(loss, pred, target)
    assert grad[0, [0, 2]].sum() < 0  # descent moves it to the right


@pytest.mark.parametrize("loss", [losses.iou_loss, log_iou, square_iou, losses.giou_loss, losses.diou_loss, *ON_DELTAS])
def test_gradcheck(loss):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 6, 2, generator=generator, dtype=torch.float64) * 5
    sides = 6 + torch.rand(2, 6, 2, generator=generator, dtype=torch.float64) * 5
    pred, target = torch.cat([corners, corners + sides], dim=-1)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), pred.requires_grad_())


@pytest.mark.parametrize("loss", [losses.giou_loss, losses.ciou_loss, losses.l1_loss, losses.smooth_l1_loss])
def test_reductions_and_empty_input(loss):
    pred, target = torch.rand(5, 4), torch.rand(5, 4)
    each = loss(pred, target)
    assert each.shape == (5,)
    torch.testing.assert_close(loss(pred, target, reduction="sum"), each.sum())
    torch.testing.assert_close(loss(pred, target, reduction="mean"), each.mean())
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


def reference_distribution_loss(logits, target):
    """Eq. 6, one side at a time."""
    total = []
    for row, distances in zip(logits, target, strict=True):
        sides = []
        for side_logits, y in zip(row, distances, strict=True):
            below = min(int(y), len(side_logits) - 2)
            log_p = side_logits.log_softmax(0)
            sides.append(-((below + 1 - y) * log_p[below] + (y - below) * log_p[below + 1]))
        total.append(torch.stack(sides).mean())
    return torch.stack(total)


def test_distribution_focal_loss():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 4, 9, generator=generator, dtype=torch.float64)
    target = torch.rand(7, 4, generator=generator, dtype=torch.float64) * 8
    target[0] = torch.tensor([0.0, 8.0, 3.0, 7.5])
    value = losses.distribution_focal_loss(logits, target)
    torch.testing.assert_close(value, reference_distribution_loss(logits, target))
    assert torch.autograd.gradcheck(lambda x: losses.distribution_focal_loss(x, target), logits.requires_grad_())
    beyond = losses.distribution_focal_loss(logits, torch.full_like(target, 99.0))
    torch.testing.assert_close(beyond, losses.distribution_focal_loss(logits, torch.full_like(target, 8.0)))
    certain = torch.full((1, 4, 9), -50.0).index_fill_(2, torch.tensor([3]), 50.0)
    assert losses.distribution_focal_loss(certain, torch.full((1, 4), 3.0)).item() == pytest.approx(0, abs=1e-6)
    assert losses.distribution_focal_loss(logits[:0], target[:0]).shape == (0,)
    with pytest.raises(ValueError, match=r"Expected logits \(N, 4, bins\) and target \(N, 4\)"):
        losses.distribution_focal_loss(logits.flatten(1), target)


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"Expected an IoU mode out of .* but got 'ln'"):
        losses.iou_loss(PRED, TARGET, mode="ln")
    with pytest.raises(ValueError, match=r"Expected a CIoU variant out of .* but got 'v2'"):
        losses.ciou_loss(PRED, TARGET, variant="v2")
    with pytest.raises(ValueError, match="Expected beta >= 0 but got -1"):
        losses.smooth_l1_loss(PRED, TARGET, beta=-1)

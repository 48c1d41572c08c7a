"""The sign of CIoU's aspect term: docs/ciou-gradient.md against autograd and against differences of v itself."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boxwright.boxes import convert_boxes
from boxwright.losses import ciou_loss, diou_loss

SIDES = st.floats(0.1, 10)
TARGET = (1.0, 1.0)


def aspect(w: float, h: float, target: tuple[float, float]) -> float:
    """v of CIoU (arXiv 1911.08287, eq. 9)."""
    return 4 / math.pi**2 * (math.atan(target[0] / target[1]) - math.atan(w / h)) ** 2


def printed(w: float, h: float, target: tuple[float, float]) -> tuple[float, float]:
    """dv/dw and dv/dh as the paper prints them (eq. 12)."""
    between = 8 / math.pi**2 * (math.atan(target[0] / target[1]) - math.atan(w / h))
    return between * h / (w * w + h * h), -between * w / (w * w + h * h)


def differences(w: float, h: float, target: tuple[float, float]) -> tuple[float, float]:
    """Central differences of v."""
    step = 1e-6 * min(w, h)
    return (
        (aspect(w + step, h, target) - aspect(w - step, h, target)) / (2 * step),
        (aspect(w, h + step, target) - aspect(w, h - step, target)) / (2 * step),
    )


def by_autograd(w: float, h: float, target: tuple[float, float], **options: str) -> tuple[float, float]:
    """dv/dw and dv/dh as ``ciou_loss`` passes them back: what it has more than DIoU, without alpha."""
    box = torch.tensor([[0.0, 0.0, w, h]], dtype=torch.float64, requires_grad=True)
    pair = (
        convert_boxes(box, "cxcywh", "xyxy"),
        convert_boxes(torch.tensor([[0.0, 0.0, *target]], dtype=torch.float64), "cxcywh", "xyxy"),
    )
    term = (ciou_loss(*pair, **options) - diou_loss(*pair)).sum()
    term.backward()
    alpha = term.item() / aspect(w, h, target)
    return box.grad[0, 2].item() / alpha, box.grad[0, 3].item() / alpha


@given(w=SIDES, h=SIDES, target=st.tuples(SIDES, SIDES))
def test_the_printed_formula_is_minus_the_derivative(w, h, target):
    for said, found in zip(printed(w, h, target), differences(w, h, target), strict=True):
        assert -said == pytest.approx(found, rel=1e-4, abs=1e-8)


@given(w=SIDES, h=SIDES)
def test_autograd_has_the_derivative(w, h):
    if abs(math.atan(w / h) - math.pi / 4) < 0.05:  # v vanishes, and what is left of it in the loss is rounding
        return
    found = by_autograd(w, h, TARGET)
    assert found == pytest.approx([-value for value in printed(w, h, TARGET)], rel=1e-5)
    assert found[0] == pytest.approx(-h / w * found[1], rel=1e-5)
    scaled = by_autograd(w, h, TARGET, gradient="authors")
    assert scaled == pytest.approx([value * (w * w + h * h) for value in found], rel=1e-5)


def test_a_step_against_the_printed_formula_moves_the_aspect_away():
    w, h = 2.0, 1.0  # the example of the page
    dw, dh = printed(w, h, TARGET)
    assert (aspect(w, h, TARGET), dw, dh) == pytest.approx((0.0420, -0.0522, 0.1043), abs=5e-5)
    assert aspect(w - 0.1 * dw, h - 0.1 * dh, TARGET) > aspect(w, h, TARGET)
    assert aspect(w + 0.1 * dw, h + 0.1 * dh, TARGET) < aspect(w, h, TARGET)

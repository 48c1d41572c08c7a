"""Golden numbers: torchvision 0.29.1 (tv), detectron2 (d2), and the papers' formulas in float64 without eps (spec)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.boxes import box_area, box_iou, clip_boxes, convert_boxes, paired_iou

GOLDEN = np.load(Path(__file__).parent / "golden" / "iou.npz")
KINDS = ["iou", "giou", "diou", "ciou"]

corner = st.sampled_from([0.0, 1e-8, 0.5, 3.0, -7.0, 320.0, 1e5, -1e5]) | st.floats(-1e3, 1e3, width=32)
side = st.sampled_from([0.0, 1e-8, 1e-20, 1e-3, 1.0, 1e5]) | st.floats(0, 1e3, width=32)
odd_box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
odd_pairs = st.lists(st.tuples(odd_box, odd_box), min_size=1, max_size=8)


def test_closed_forms():
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    b = torch.tensor([[1.0, 0.0, 3.0, 2.0]])
    # intersection 2, union 6, enclosing 3 x 2 = 6, centers 1 apart, diagonal^2 = 13, same aspect
    assert paired_iou(a, b).item() == pytest.approx(1 / 3)
    assert paired_iou(a, b, "giou").item() == pytest.approx(1 / 3)
    assert paired_iou(a, b, "diou").item() == pytest.approx(1 / 3 - 1 / 13)
    assert paired_iou(a, b, "ciou").item() == pytest.approx(1 / 3 - 1 / 13)
    assert box_area(torch.tensor([1.0, 2.0, 4.0, 7.0])).item() == 15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (5, 3), (1, 4), (0, 4), (4, 0)])
def test_matrix_is_rows_first_and_equals_pairs(kind, rows, columns):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(rows + columns, 2, generator=generator) * 10
    boxes = torch.cat([corners, corners + torch.rand(rows + columns, 2, generator=generator) * 10], dim=1)
    targets, anchors = boxes[:rows], boxes[rows:]
    matrix = box_iou(targets, anchors, kind)
    assert matrix.shape == (rows, columns)
    for i in range(rows):
        for j in range(columns):
            assert matrix[i, j] == paired_iou(targets[i], anchors[j], kind)
    assert torch.equal(box_iou(targets[None].expand(2, -1, -1), anchors, kind)[1], matrix)


@pytest.mark.parametrize("kind", KINDS)
def test_matrix_equals_the_papers(kind):
    a, b = (torch.from_numpy(GOLDEN[key]) for key in ("boxes_a", "boxes_b"))
    np.testing.assert_allclose(box_iou(a, b, kind).numpy(), GOLDEN[f"M_spec_{kind}"], atol=1e-12)
    np.testing.assert_allclose(box_iou(a, b, kind).numpy(), GOLDEN[f"M_tv_{kind}"], atol=1e-6)
    np.testing.assert_allclose(box_iou(a.float(), b.float(), kind).numpy(), GOLDEN[f"M_spec_{kind}"], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_matrix_gradient_equals_torchvision(kind):
    a, b = (torch.from_numpy(GOLDEN[key]) for key in ("boxes_a", "boxes_b"))
    a.requires_grad_()
    box_iou(a, b, kind).sum().backward()
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    smooth = ~(sides == 0).any(-1).any(
        -1
    )  # where two boxes touch there are two derivatives, and torch 2.6 has the other
    assert smooth.sum() >= 18
    np.testing.assert_allclose(a.grad[smooth].numpy(), GOLDEN[f"G_tv_{kind}"][smooth.numpy()], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("source", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("target", ["xyxy", "xywh", "cxcywh"])
def test_conversions(source, target):
    forms = {"xyxy": [2.0, 4.0, 8.0, 6.0], "xywh": [2.0, 4.0, 6.0, 2.0], "cxcywh": [5.0, 5.0, 6.0, 2.0]}
    assert convert_boxes(torch.tensor(forms[source]), source, target).tolist() == forms[target]
    golden = convert_boxes(torch.from_numpy(GOLDEN[f"C_{source}"]), source, target)
    np.testing.assert_allclose(golden.numpy(), GOLDEN[f"C_{target}"], atol=1e-12)


def test_conversion_returns_new_memory():
    boxes = torch.rand(3, 4)
    assert convert_boxes(boxes, "xyxy", "xyxy").data_ptr() != boxes.data_ptr()


def test_area_equals_torchvision():
    np.testing.assert_allclose(box_area(torch.from_numpy(GOLDEN["C_xyxy"])).numpy(), GOLDEN["area_xyxy"], rtol=1e-12)


def test_clip():
    boxes = torch.tensor([[-5.0, -6.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]])
    assert clip_boxes(boxes, (20, 10)).tolist() == [[0, 0, 10, 20], [1, 2, 3, 4]]


def test_boxes_without_area_overlap_by_nothing():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    line = torch.tensor([[3.0, 3.0, 9.0, 3.0]])
    for a, b in [(point, point), (line, line), (point, line)]:
        assert paired_iou(a, b).item() == 0
    for kind in KINDS:
        assert paired_iou(point, point, kind).item() == 0
    assert (
        paired_iou(torch.tensor([[5.0, 5.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 9.0, 9.0]])).item() == 0
    )  # inverted


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40)
@given(pairs=odd_pairs)
def test_finite_for_every_box(kind, pairs):
    a, b = torch.tensor(pairs, dtype=torch.float32).unbind(1)
    a, b = a.requires_grad_(), b.clone().requires_grad_()
    overlap = paired_iou(a, b, kind)
    overlap.sum().backward()
    assert overlap.isfinite().all()
    assert (overlap <= 1 + 1e-6).all()
    assert (overlap >= {"iou": 0, "giou": -1, "diou": -1, "ciou": -2}[kind] - 1e-6).all()
    assert a.grad.isfinite().all()
    assert b.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_types_are_raised_and_their_gradient_fits(dtype, kind):
    smallest = torch.finfo(dtype).smallest_normal / 64 if dtype == torch.float16 else 1e-8
    boxes = [[0.0, 0.0, smallest, smallest], [1.0, 2.0, 30.0, 40.0], [0.0, 0.0, 60000.0, 60000.0]]
    a = torch.tensor(boxes, dtype=dtype, requires_grad=True)
    overlap = paired_iou(a, a.detach() * 0.5, kind)
    assert overlap.dtype == torch.float32
    overlap.sum().backward()
    assert a.grad.dtype == dtype
    assert a.grad.isfinite().all()


def test_errors():
    boxes = torch.zeros(2, 4)
    with pytest.raises(ValueError, match=r"Expected an overlap kind out of .* but got 'iuo'"):
        box_iou(boxes, boxes, "iuo")
    with pytest.raises(ValueError, match=r"Expected boxes of shape \(\.\.\., 4\)"):
        paired_iou(boxes[:, :3], boxes[:, :3])
    with pytest.raises(ValueError, match=r"Expected a box format out of .* but got 'yxyx'"):
        convert_boxes(boxes, "xyxy", "yxyx")

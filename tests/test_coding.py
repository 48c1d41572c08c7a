"""Golden numbers: torchvision's BoxCoder and BoxLinearCoder (tv), ssd.pytorch with variances (amd), mmdet (mm)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright._util import checks
from boxwright.coding import MAX_LOG_SCALE, DeltaCoder, DistanceCoder, DistributionCoder

GOLDEN = {key: torch.from_numpy(value) for key, value in np.load(Path(__file__).parent / "golden/coder.npz").items()}
CODERS = [DeltaCoder(), DeltaCoder((1, 1, 1, 1)), DistanceCoder(), DistributionCoder(), DistributionCoder(33, 0.5)]
ANCHORS = torch.tensor([[0.0, 0.0, 32.0, 32.0], [10.0, 20.0, 42.0, 84.0], [40.0, 40.0, 104.0, 104.0]])
BOXES = torch.tensor([[4.0, 6.0, 30.0, 40.0], [11.0, 22.0, 50.0, 70.0], [60.0, 30.0, 90.0, 110.0]])


@pytest.mark.parametrize("coder", CODERS)
def test_decode_undoes_encode(coder):
    deltas = coder.encode(ANCHORS, BOXES)
    assert deltas.shape == (3, coder.dim)
    torch.testing.assert_close(coder.decode(ANCHORS, deltas), BOXES, rtol=1e-5, atol=1e-4)
    batch = coder.decode(ANCHORS, coder.encode(ANCHORS, BOXES.expand(2, -1, -1)))
    torch.testing.assert_close(batch, BOXES.expand(2, -1, -1), rtol=1e-5, atol=1e-4)
    assert coder.encode(ANCHORS[:0], BOXES[:0]).shape == (0, coder.dim)
    assert coder.decode(ANCHORS[:0], deltas[:0]).shape == (0, 4)


@settings(deadline=None, max_examples=40)
@given(
    anchor=st.tuples(*[st.floats(-50, 400)] * 2, *[st.floats(4, 300)] * 2),
    box=st.tuples(*[st.floats(-50, 400)] * 2, *[st.floats(0.5, 200)] * 2),
)
@pytest.mark.parametrize("coder", [DeltaCoder(), DistanceCoder()])
def test_round_trip_of_any_pair(coder, anchor, box):
    anchors, boxes = (torch.tensor([[b[0], b[1], b[0] + b[2], b[1] + b[3]]]) for b in (anchor, box))
    torch.testing.assert_close(coder.decode(anchors, coder.encode(anchors, boxes)), boxes, rtol=1e-4, atol=1e-2)


def test_delta_closed_form():
    anchor = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    box = torch.tensor([[3.0, 0.0, 13.0, 40.0]])
    # center moves by (3, 10) of sides (10, 20), sides grow by (1, 2)
    expected = torch.tensor([[3.0, 5.0, 0.0, 5 * np.log(2)]])
    torch.testing.assert_close(DeltaCoder().encode(anchor, box), expected.float())


def test_deltas_equal_the_references():
    priors, boxes, codes = GOLDEN["priors_xyxy"], GOLDEN["gt_xyxy"], GOLDEN["codes"].clone().requires_grad_()
    torch.testing.assert_close(DeltaCoder().encode(priors, boxes), GOLDEN["enc_tv_w10"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(DeltaCoder().encode(priors, boxes), GOLDEN["enc_amd_v"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        DeltaCoder((1, 1, 1, 1)).encode(priors, boxes), GOLDEN["enc_tv_w1"], rtol=1e-9, atol=1e-9
    )
    decoded = DeltaCoder().decode(priors, codes)
    torch.testing.assert_close(decoded, GOLDEN["dec_tv_w10"], rtol=1e-9, atol=1e-9)
    (decoded * GOLDEN["cotangent"]).sum().backward()
    torch.testing.assert_close(codes.grad, GOLDEN["decG_tv_w10"], rtol=1e-9, atol=1e-9)


def test_distances_equal_the_references():
    points, boxes = GOLDEN["ltrb_points"], GOLDEN["ltrb_boxes"]
    anchors = torch.cat([points - 5, points + 5], dim=1)
    torch.testing.assert_close(DistanceCoder().encode(anchors, boxes), GOLDEN["ltrb_mm"], rtol=1e-9, atol=1e-9)
    codes = GOLDEN["ltrb_codes"].clone().requires_grad_()
    torch.testing.assert_close(DistanceCoder().decode(anchors, codes), GOLDEN["ltrbdec_mm"], rtol=1e-9, atol=1e-9)
    anchors = GOLDEN["ltrb_anchors"]
    torch.testing.assert_close(DistanceCoder().encode(anchors, boxes), GOLDEN["ltrb_tv_raw"], rtol=1e-9, atol=1e-9)
    decoded = DistanceCoder().decode(anchors, codes)
    torch.testing.assert_close(decoded, GOLDEN["ltrbdec_tv_raw"], rtol=1e-9, atol=1e-9)
    (decoded * GOLDEN["ltrb_cotangent"]).sum().backward()
    torch.testing.assert_close(codes.grad, GOLDEN["ltrbdecG_tv_raw"], rtol=1e-9, atol=1e-9)


def test_scale_is_limited_from_above_only_and_loses_its_gradient_only_there():
    anchor = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    weights = (1.0, 1.0, 1.0, 1.0)
    for scale, side, slope in [(100.0, 1000.0, 0.0), (MAX_LOG_SCALE - 0.01, 990.05, 990.05), (-30.0, 0.0, 1.5e-12)]:
        deltas = torch.tensor([[0.0, 0.0, scale, 0.0]], requires_grad=True)
        box = DeltaCoder(weights).decode(anchor, deltas)
        width = box[0, 2] - box[0, 0]
        width.backward()
        assert width.item() == pytest.approx(side, rel=1e-4)
        assert deltas.grad[0, 2].item() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("coder", CODERS)
def test_boxes_and_anchors_without_sides_stay_finite(coder, monkeypatch):
    """Boxes where they aren't looked at, as on CUDA."""
    monkeypatch.setattr(checks, "is_visible", lambda _: False)
    point = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    for anchors, boxes in [(ANCHORS[:1], point), (point, BOXES[:1]), (point, point)]:
        deltas = coder.encode(anchors, boxes)
        assert deltas.isfinite().all()
        assert coder.decode(anchors, deltas).isfinite().all()


@pytest.mark.parametrize("coder", CODERS)
def test_gradients(coder):
    deltas = (coder.encode(ANCHORS, BOXES).double() * 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: coder.decode(ANCHORS.double(), d), deltas)


@pytest.mark.parametrize("coder", CODERS)
def test_half_precision_outputs_are_raised(coder):
    deltas = coder.encode(ANCHORS, BOXES).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        boxes = coder.decode(ANCHORS, deltas)
    assert boxes.dtype == torch.float32
    torch.testing.assert_close(boxes, coder.decode(ANCHORS, deltas.float()))


def test_distribution_shares_a_distance_between_two_bins():
    coder = DistributionCoder(bins=5, step=0.25)
    anchor = torch.tensor([[0.0, 0.0, 32.0, 32.0]])  # a bin is 8 px, the center (16, 16)
    box = torch.tensor([[6.0, 0.0, 18.0, 100.0]])
    torch.testing.assert_close(coder.distances(anchor, box), torch.tensor([[1.25, 2.0, 0.25, 4.0]]))
    probability = coder.encode(anchor, box).reshape(4, 5).softmax(-1)
    expected = torch.tensor([[0, 0.75, 0.25, 0, 0], [0, 0, 1, 0, 0], [0.75, 0.25, 0, 0, 0], [0, 0, 0, 0, 1]])
    torch.testing.assert_close(probability, expected.float(), atol=1e-6, rtol=0)
    # The bottom lies beyond the last bin: it stops there.
    torch.testing.assert_close(coder.decode(anchor, coder.encode(anchor, box)), torch.tensor([[6.0, 0.0, 18.0, 48.0]]))


def test_distribution_refuses_what_it_cannot_be():
    with pytest.raises(ValueError, match="at least 2 bins and a positive step"):
        DistributionCoder(bins=1)
    with pytest.raises(ValueError, match="at least 2 bins and a positive step"):
        DistributionCoder(step=0)

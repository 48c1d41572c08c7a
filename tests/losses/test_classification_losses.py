"""Golden numbers: torch's cross entropy, and quality focal loss as in mmdet (mm)."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from boxwright import losses

GOLDEN = {
    key.removeprefix("cls_"): torch.from_numpy(value)
    for key, value in np.load(Path(__file__).parents[1] / "golden" / "losses.npz").items()
    if key.startswith("cls_")
}


def test_closed_forms():
    assert losses.cross_entropy(torch.zeros(1, 4), torch.tensor([2])).item() == pytest.approx(math.log(4))
    # p = 1/2: |t - p|^2 x ln 2
    quality = losses.quality_focal_loss(torch.zeros(1, 2), torch.tensor([[0.9, 0.0]]))
    assert quality.tolist() == [pytest.approx([0.16 * math.log(2), 0.25 * math.log(2)])]


def test_cross_entropy_equals_the_references():
    logits = GOLDEN["logits"].clone().requires_grad_()
    value = losses.cross_entropy(logits, GOLDEN["labels"])
    torch.testing.assert_close(value, GOLDEN["L_spec_softmax_focal_g0"])
    value.sum().backward()
    torch.testing.assert_close(logits.grad, GOLDEN["G_spec_softmax_focal_g0"])
    logits, labels = GOLDEN["cw_logits"], GOLDEN["cw_labels"]
    value = losses.cross_entropy(logits, labels, weight=GOLDEN["cw_inv_log_1.10"].to(logits.dtype))
    torch.testing.assert_close(value, GOLDEN["L_cw_weighted_ce_none"])
    mean = losses.cross_entropy(logits, labels, weight=GOLDEN["cw_inv_log_1.10"].to(logits.dtype), reduction="mean")
    torch.testing.assert_close(mean, GOLDEN["R_cw_weighted_ce_sum_over_n"])


def test_label_smoothing_mixes_in_the_uniform_distribution():
    logits, labels = GOLDEN["logits"], GOLDEN["labels"]
    log_p = logits.log_softmax(1)
    expected = -0.9 * log_p.gather(1, labels[:, None])[:, 0] - 0.1 * log_p.mean(1)
    torch.testing.assert_close(losses.cross_entropy(logits, labels, label_smoothing=0.1), expected)


def test_ignored_rows_cost_nothing():
    logits = torch.randn(3, 4, requires_grad=True)
    for loss in (losses.cross_entropy, losses.quality_focal_loss):
        value = loss(logits, torch.tensor([-1, 2, -1]))
        assert not value[0].any()
        assert not value[2].any()
        assert value[1].any()
        (grad,) = torch.autograd.grad(value.sum(), logits)
        assert not grad[[0, 2]].any()


@pytest.mark.parametrize("beta", [2.0, 1.5])
def test_quality_focal_loss_equals_mmdet(beta):
    logits, labels = GOLDEN["logits"].clone().requires_grad_(), GOLDEN["labels_bg_last"]
    targets = torch.zeros_like(GOLDEN["logits"])
    rows = (labels < logits.shape[1]).nonzero().squeeze(1)
    targets[rows, labels[rows]] = GOLDEN["quality"][rows].to(targets.dtype)
    value = losses.quality_focal_loss(logits, targets, beta=beta).sum(1)
    torch.testing.assert_close(value, GOLDEN[f"L_mm_qfl_beta{beta:g}"])
    value.sum().backward()
    torch.testing.assert_close(logits.grad, GOLDEN[f"G_mm_qfl_beta{beta:g}"])


def test_quality_focal_loss_on_dense_targets_equals_mmdet():
    logits = GOLDEN["logits"].clone().requires_grad_()
    value = losses.quality_focal_loss(logits, GOLDEN["soft_target"]).sum(1)
    torch.testing.assert_close(value, GOLDEN["L_mm_qfl_tensor_beta2"])
    value.sum().backward()
    torch.testing.assert_close(logits.grad, GOLDEN["G_mm_qfl_tensor_beta2"])


def test_quality_focal_loss_on_indices_takes_quality_one():
    logits = torch.randn(4, 3)
    indices = torch.tensor([0, 2, 3, 1])  # 3 is background
    dense = functional.one_hot(indices, 4)[:, :3].float()
    torch.testing.assert_close(losses.quality_focal_loss(logits, indices), losses.quality_focal_loss(logits, dense))


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_quality_focal_gradient_where_the_prediction_is_right(beta):
    logits = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    value = losses.quality_focal_loss(logits, torch.full((1, 1), 0.5, dtype=torch.float64), beta=beta)
    value.sum().backward()
    assert value.item() == 0
    assert logits.grad.item() == 0


def test_gradcheck():
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(5, 3, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, -1])
    assert torch.autograd.gradcheck(lambda x: losses.quality_focal_loss(x, targets), logits)
    assert torch.autograd.gradcheck(lambda x: losses.cross_entropy(x, labels, label_smoothing=0.1), logits)


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_extreme_logits_stay_finite(scale):
    logits = (torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) * scale).requires_grad_()
    labels, dense = torch.tensor([0, 0]), torch.tensor([[1.0, 0.0], [0.3, 0.0]])
    for value in (losses.cross_entropy(logits, labels), losses.quality_focal_loss(logits, dense)):
        assert value.isfinite().all()
        (grad,) = torch.autograd.grad(value.sum(), logits)
        assert grad.isfinite().all()


def test_leading_dimensions_precision_and_reductions():
    logits, labels = torch.randn(2, 5, 3).bfloat16(), torch.randint(0, 3, (2, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        softmax, sigmoid = losses.cross_entropy(logits, labels), losses.quality_focal_loss(logits, labels)
    assert softmax.dtype == sigmoid.dtype == torch.float32
    assert softmax.shape == (2, 5)
    assert sigmoid.shape == (2, 5, 3)
    flat = losses.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
    torch.testing.assert_close(softmax.flatten(), flat)
    assert losses.cross_entropy(logits, labels, reduction="sum").item() == pytest.approx(flat.sum().item(), rel=1e-5)
    assert losses.cross_entropy(logits[0, :0], labels[0, :0], reduction="mean").item() == 0


def test_errors():
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"Expected logits \(N, K\) and targets \(N,\)"):
        losses.cross_entropy(logits, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"targets int64 \(N,\) or float \(N, K\)"):
        losses.quality_focal_loss(logits, torch.zeros(2))
    with pytest.raises(ValueError, match="Expected beta >= 1"):
        losses.quality_focal_loss(logits, torch.zeros(2, 3), beta=0.5)

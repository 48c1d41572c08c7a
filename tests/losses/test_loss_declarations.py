import pytest
import torch

from boxwright import losses
from boxwright.parts import part_info


def test_every_loss_declares_what_it_compares():
    assert losses.available() == {
        "cross_entropy": "softmax",
        "softmax_focal_loss": "softmax",
        "poly_loss": "softmax",
        "seesaw_loss": "softmax",
        "binary_cross_entropy": "sigmoid",
        "sigmoid_focal_loss": "sigmoid",
        "varifocal_loss": "sigmoid",
        "ghm_loss": "sigmoid",
        "quality_focal_loss": "sigmoid",
        "l1_loss": "deltas",
        "l2_loss": "deltas",
        "balanced_l1_loss": "deltas",
        "focal_l1_loss": "deltas",
        "smooth_l1_loss": "deltas",
        "iou_loss": "boxes",
        "giou_loss": "boxes",
        "diou_loss": "boxes",
        "ciou_loss": "boxes",
        "eiou_loss": "boxes",
        "focal_eiou_loss": "boxes",
        "siou_loss": "boxes",
        "alpha_iou_loss": "boxes",
        "wiou_loss": "boxes",
        "mpdiou_loss": "boxes",
        "inner_iou_loss": "boxes",
        "distribution_focal_loss": "distribution",
    }
    assert all(callable(getattr(losses, name)) for name in losses.available())
    assert part_info(losses.quality_focal_loss).soft_targets
    assert not part_info(losses.cross_entropy).soft_targets


@pytest.mark.slow
def test_compiles_without_a_graph_break():
    pred, target = torch.tensor([[[0.0, 0.0, 4.0, 4.0]], [[1.0, 1.0, 5.0, 6.0]]])
    compiled = torch.compile(losses.ciou_loss, backend="eager", fullgraph=True)
    assert torch.equal(compiled(pred, target), losses.ciou_loss(pred, target))

import pytest
import torch

from boxwright import losses

PRED = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
TARGET = torch.tensor([[1.0, 0.0, 3.0, 2.0]])


def test_closed_forms():
    assert losses.iou_loss(PRED, TARGET).item() == pytest.approx(2 / 3)
    assert losses.giou_loss(PRED, TARGET).item() == pytest.approx(2 / 3)
    assert losses.diou_loss(PRED, TARGET).item() == pytest.approx(2 / 3 + 1 / 13)
    assert losses.ciou_loss(PRED, TARGET).item() == pytest.approx(2 / 3 + 1 / 13)
    assert losses.l1_loss(PRED, TARGET).item() == 2
    assert losses.smooth_l1_loss(PRED, TARGET).item() == 1

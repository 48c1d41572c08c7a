import math

import pytest
import torch

from boxwright import losses


def test_closed_forms():
    assert losses.cross_entropy(torch.zeros(1, 4), torch.tensor([2])).item() == pytest.approx(math.log(4))
    # p = 1/2: |t - p|^2 x ln 2
    quality = losses.quality_focal_loss(torch.zeros(1, 2), torch.tensor([[0.9, 0.0]]))
    assert quality.tolist() == [pytest.approx([0.16 * math.log(2), 0.25 * math.log(2)])]

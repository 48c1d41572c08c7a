import pytest
import torch

from boxwright.coding import DeltaCoder, DistanceCoder, DistributionCoder

ANCHORS = torch.tensor([[0.0, 0.0, 32.0, 32.0], [10.0, 20.0, 42.0, 84.0], [40.0, 40.0, 104.0, 104.0]])
BOXES = torch.tensor([[4.0, 6.0, 30.0, 40.0], [11.0, 22.0, 50.0, 70.0], [60.0, 30.0, 90.0, 110.0]])


@pytest.mark.parametrize("coder", [DeltaCoder(), DeltaCoder((1, 1, 1, 1)), DistanceCoder(), DistributionCoder()])
def test_decode_undoes_encode(coder):
    deltas = coder.encode(ANCHORS, BOXES)
    assert deltas.shape == (3, coder.size)
    torch.testing.assert_close(coder.decode(ANCHORS, deltas), BOXES, rtol=1e-5, atol=1e-4)
    batch = coder.decode(ANCHORS, deltas.expand(2, -1, -1))
    torch.testing.assert_close(batch, BOXES.expand(2, -1, -1), rtol=1e-5, atol=1e-4)

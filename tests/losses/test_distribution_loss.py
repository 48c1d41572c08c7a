import pytest
import torch

from boxwright import losses


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

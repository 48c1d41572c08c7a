"""What happens to BatchNorm, by type."""

import torch
from timm.layers import BatchNormAct2d
from torch import nn

import boxwright as bw
from boxwright.models.layers import batch_norms, replace_batch_norm


def test_group_norm_replaces_what_learns_and_keeps_its_scale() -> None:
    net = nn.Sequential(nn.BatchNorm2d(48), nn.SyncBatchNorm(7), BatchNormAct2d(64), nn.BatchNorm2d(4))
    net[0].weight.data.fill_(3.0)
    net[3].requires_grad_(False)
    activation = net[2].act
    replace_batch_norm(net)
    assert (net[0].num_groups, net[1].num_groups, net[2][0].num_groups) == (24, 7, 32)
    assert (net[0].weight == 3).all()
    assert net[2][1] is activation
    assert isinstance(net[3], nn.BatchNorm2d)


def test_modes_of_the_default_detector() -> None:
    def learning(mode: str) -> tuple[int, int, int]:
        """Norms of the backbone that update their statistics, that learn a scale, and of the head that update."""
        detector = bw.create_detector("lite320", 2, norm_mode=mode).train()
        backbone = batch_norms(detector.net.backbone)
        return (
            sum(norm.training for norm in backbone),
            sum(norm.weight.requires_grad for norm in backbone),
            sum(norm.training for norm in batch_norms(detector.net.head)),
        )

    updating, scaled, head = learning("train")
    assert updating == scaled > 0
    assert learning("eval") == (0, scaled, head)
    assert learning("frozen") == (0, 0, head)
    assert learning("group") == (0, 0, 0)
    group = bw.create_detector("lite320", 2, norm_mode="group")
    assert group(torch.zeros(1, 3, 320, 320)).logits.isfinite().all()

"""Networks for inference: convolutions that do what a norm and an activation did, and nothing else changed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import boxwright as bw
from boxwright.models.efficientnet_lite import SamePadded
from boxwright.models.fused import FusedConv, fuse_convolutions
from boxwright.models.layers import batch_norms, fold_batch_norm
from boxwright.types import FeatureMap


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels).eval()
    nn.init.uniform_(layer.weight, 0.5, 2)
    nn.init.uniform_(layer.bias, -1, 1)
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.5, 2)
    return layer


class Residual(nn.Module):
    """Defines its activation behind its convolution, and uses it behind the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.conv(x))


NETS: dict[str, tuple[nn.Module, list[str]]] = {
    "relu": (nn.Sequential(nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU()), ["relu"]),
    "relu6 behind a norm": (nn.Sequential(nn.Conv2d(8, 6, 1, bias=False), norm(6), nn.ReLU6()), ["hardtanh"]),
    "leaky relu": (nn.Sequential(nn.Conv2d(8, 6, 3, 2, 1), nn.LeakyReLU(0.25)), ["leaky_relu"]),
    "depthwise, dilated": (nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8), nn.ReLU()), ["relu"]),
    "two in a row": (nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.ReLU()), ["none", "relu"]),
    "another activation": (nn.Sequential(nn.Conv2d(8, 8, 1), nn.SiLU()), ["none"]),
    "something between": (nn.Sequential(nn.Conv2d(8, 8, 1), nn.MaxPool2d(2), nn.ReLU()), ["none"]),
    "residual": (Residual(), ["none"]),
    "reflecting": (nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), nn.ReLU()), []),
    "padding in words": (nn.Sequential(nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU()), []),
}


@pytest.mark.parametrize("name", NETS)
@torch.inference_mode()
def test_fused_networks_do_the_same(name: str) -> None:
    net, activations = NETS[name]
    net = copy.deepcopy(net).eval().requires_grad_(False)
    x = 4 * torch.randn(3, 8, 9, 7, generator=torch.Generator().manual_seed(0))
    expected = net(x)
    fold_batch_norm(net)
    fuse_convolutions(net)
    assert [each.activation.name for each in net.modules() if isinstance(each, FusedConv)] == activations
    for layout in (torch.contiguous_format, torch.channels_last):
        for rows in (3, 1):
            torch.testing.assert_close(net(x[:rows].contiguous(memory_format=layout)), expected[:rows])


@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (3, 8), (5, 8)])
@torch.inference_mode()
def test_tensorflow_s_padding_is_that_of_every_size(kernel: int, groups: int) -> None:
    """One network after another size: the padding differs for even and odd sides, by row and by column."""
    net = nn.Sequential(SamePadded(8, 8, kernel, 2, groups=groups), nn.ReLU6()).requires_grad_(False)
    fused = copy.deepcopy(net)
    fuse_convolutions(fused)
    assert [each.activation.name for each in fused.modules() if isinstance(each, FusedConv)] == ["hardtanh"]
    for size in ((10, 10), (9, 7), (10, 7), (9, 12), (1, 2)):
        x = 4 * torch.randn(2, 8, *size, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(fused(x), net(x))


@torch.inference_mode()
def test_a_fused_network_that_has_computed_can_be_copied_and_converted() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()).requires_grad_(False)
    fuse_convolutions(net)
    x = torch.randn(1, 8, 9, 9)
    expected = net(x)
    torch.testing.assert_close(copy.deepcopy(net)(x), expected)
    torch.testing.assert_close(pickle.loads(pickle.dumps(net))(x), expected)
    net.double().float()
    torch.testing.assert_close(net.to(memory_format=torch.channels_last)(x), expected)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet10t", "mobilenetv3_small_050", "regnetx_002"])
@torch.inference_mode()
def test_timm_s_networks_do_the_same(name: str) -> None:
    """Activations inside their norms go with the convolutions; those behind a sum stay."""
    torch.manual_seed(0)
    net = timm.create_model(name, features_only=True).eval().requires_grad_(False)
    for each in net.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.uniform_(-0.1, 0.1)
            each.running_var.uniform_(0.5, 1)
    x = torch.rand(2, 3, 64, 64)
    expected = net(x)
    fold_batch_norm(net)
    fuse_convolutions(net)
    assert any(isinstance(each, FusedConv) for each in net.modules())
    for got, wanted in zip(net(x), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def test_the_detector_itself_is_as_it_was() -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"image_size": 64, "width": 16, "pretrained": False, "freeze": 0}
    detector = bw.create_detector("lite320", 2, **options)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    image = torch.rand(3, 50, 60)
    for precision in ("float32", "bf16"):
        detector.for_inference(precision).predict(image)  # type: ignore[arg-type]
    after = detector.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert detector.training
    assert all(parameter.requires_grad for parameter in detector.parameters())


def test_another_precision_is_refused() -> None:
    detector = bw.create_detector("lite320", 2, image_size=64, width=16, pretrained=False, freeze=0)
    with pytest.raises(ValueError, match=r"Expected a precision out of \('float32', 'bf16'\) but got 'fp16'"):
        detector.for_inference("fp16")  # type: ignore[arg-type]


@bw.backbone
class Swapped(nn.Module):
    """Defines each norm behind the other convolution: used in an order that folding doesn't know."""

    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.maps = [FeatureMap(8, stride) for stride in strides]
        self.first, self.norm_of_second = nn.Conv2d(3, 8, 3, 8, 1), nn.BatchNorm2d(8)
        self.second, self.norm_of_first = nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.stages = nn.ModuleList([self.first, self.second])

    def load(self, pretrained: bool | str) -> None:
        """There are no weights."""

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.norm_of_first(self.first(images)).relu()
        return [fine, self.norm_of_second(self.second(fine)).relu()]


def test_a_backbone_in_another_order_is_left_as_it_is() -> None:
    settings = {"strides": [8, 16], "pretrained": False, "freeze": 0, "freeze_depthwise": 0, "image_size": 64}
    detector = bw.create_detector("lite320", 3, backbone=Swapped, norm_mode="train", **settings).eval()
    for norm in batch_norms(detector.net.backbone):
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        there = detector.for_inference().net.backbone(images)
        for a, b in zip(there, detector.net.backbone(images), strict=True):
            torch.testing.assert_close(a, b)

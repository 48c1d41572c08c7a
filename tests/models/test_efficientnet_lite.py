"""EfficientNet-Lite0: bit for bit what timm's is, in weights, names, outputs and gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from boxwright.errors import RecipeError
from boxwright.models.efficientnet_lite import EfficientNetLite0
from boxwright.models.timm_backbone import TimmBackbone

NAME = "tf_efficientnet_lite0"


def pair(strides: tuple[int, ...], seed: int = 0) -> tuple[EfficientNetLite0, TimmBackbone]:
    torch.manual_seed(seed)
    ours = EfficientNetLite0(strides)
    after = torch.rand(())
    torch.manual_seed(seed)
    theirs = TimmBackbone(NAME, strides)
    assert torch.equal(after, torch.rand(())), "the random numbers that follow are others"
    return ours, theirs


@pytest.mark.parametrize("strides", [(8, 16, 32), (2, 4), (8, 16), (16,)])
def test_a_seed_gives_timms_weights_under_timms_names(strides: tuple[int, ...]) -> None:
    ours, theirs = pair(strides)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert (ours.maps, ours.mean, ours.std) == (theirs.maps, theirs.mean, theirs.std)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [(64, 96), (75, 50)])
def test_outputs_statistics_and_gradients_are_timms(training: bool, size: tuple[int, int]) -> None:
    ours, theirs = pair((4, 8, 16, 32))
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    for one, other in zip(ours.train(training)(images), theirs.train(training)(images), strict=True):
        assert torch.equal(one, other)
    for backbone in (ours, theirs):
        sum(x.square().sum() for x in backbone(images)).backward()
    others = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        assert torch.equal(weight.grad, others[name].grad), name
    buffers = dict(theirs.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in ours.named_buffers())


@pytest.mark.parametrize("strides", [(8, 16, 32), (4, 8)])
def test_stages_hold_the_weights_that_timms_do(strides: tuple[int, ...]) -> None:
    ours, theirs = pair(strides)
    shapes = [[[tuple(p.shape) for p in stage.parameters()] for stage in each.stages] for each in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 5


def test_folding_what_is_frozen_leaves_the_outputs_and_timms_names() -> None:
    ours, theirs = (each.double() for each in pair((8, 16, 32)))  # in float32 rounding comes to the bound
    images = torch.randn(1, 3, 64, 64).double()
    for backbone in (ours, theirs):
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(0))
        for stage in backbone.eval().stages[:2]:
            stage.requires_grad_(False)
    before = ours(images)
    ours.fold_frozen()
    theirs.fold_frozen()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert "body.conv_stem.bias" in ours.state_dict()
    for was, now, timms in zip(before, ours(images), theirs(images), strict=True):
        torch.testing.assert_close(now, was, rtol=1e-4, atol=1e-5)
        assert torch.equal(now, timms)


def test_published_weights_install_with_the_package() -> None:
    ours, theirs = EfficientNetLite0((8, 16, 32)), timm.create_model(NAME, features_only=True, out_indices=(2, 3, 4))
    ours.load(True)
    theirs.load_state_dict(ours.body.state_dict())
    images = torch.randn(1, 3, 64, 64)
    for one, other in zip(ours.eval()(images), theirs.eval()(images), strict=True):
        assert torch.equal(one, other)


def test_weights_from_a_file(tmp_path: Path) -> None:
    state = timm.create_model(NAME).state_dict()
    save_file(state, tmp_path / "own.safetensors")
    ours = EfficientNetLite0((8, 16))
    ours.load(str(tmp_path / "own.safetensors"))
    for name, value in ours.body.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_stride_that_it_lacks() -> None:
    with pytest.raises(RecipeError, match=r"no map of stride 64: it has \[2, 4, 8, 16, 32\]"):
        EfficientNetLite0((8, 64))

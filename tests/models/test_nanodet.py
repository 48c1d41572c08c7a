"""NanoDet-g: its maps, neck and limits; tests/starts holds it to the published graph."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import nn

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.models.nanodet import NanoDetG, NanoHead

SCRATCH = {"pretrained": False, "freeze": 0}


@pytest.mark.parametrize("size", [(64, 96), (75, 50)])
@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (8, 16, 32), (16,)])
def test_maps_are_as_told(size: tuple[int, int], strides: tuple[int, ...]) -> None:
    backbone = NanoDetG(strides)
    maps = backbone(torch.randn(1, 3, *size))
    for found, told, stride in zip(maps, backbone.maps, strides, strict=True):
        assert told.stride == stride
        assert found.shape == (1, told.channels, -(-size[0] // stride), -(-size[1] // stride))


def test_stages_hold_every_weight_once() -> None:
    backbone = NanoDetG((8, 16, 32))
    weights = [id(weight) for weight in chain.from_iterable(stage.parameters() for stage in backbone.stages)]
    assert sorted(weights) == sorted(id(weight) for weight in backbone.parameters())


def test_strides_that_it_lacks() -> None:
    with pytest.raises(RecipeError, match=r"nanodet_g has maps of strides \[4, 8, 16, 32\]: .* needs \[8, 64\]"):
        NanoDetG((8, 64))


def test_it_is_as_large_as_published() -> None:
    """Params = 3.8M, Flops = 4.2B, says its author's configuration, which counts products and sums."""
    from boxwright.models.size import network_size

    size = network_size(bw.get_recipe("nano416", **SCRATCH))
    assert round(size.parameters / 1e6, 1) == 3.8
    assert round(2 * size.multiply_adds / 1e9, 1) == 4.2
    assert size.anchors == 52**2 + 26**2 + 13**2


def test_the_neck_adds_and_nothing_else() -> None:
    """Constant maps of 1, 2 and 4: down the pyramid sums of what is coarser, up again sums of what is finer."""
    head = NanoHead([8, 8, 8], torch.zeros(1), torch.zeros(4), 8)
    seen: list[float] = []
    for lateral, tower in zip(head.laterals, head.towers, strict=True):
        nn.init.dirac_(lateral.weight)
        nn.init.zeros_(lateral.bias)
        tower.register_forward_hook(lambda module, given, made: seen.append(given[0].unique().item()))
    head([torch.full((1, 8, side, side), float(value)) for side, value in ((8, 1), (4, 2), (2, 4))])
    assert seen == [7, 7 + 6, 7 + 6 + 4]


def test_predictions_are_independent_of_the_batch() -> None:
    detector = bw.create_detector("nano416", 2, image_size=64, **SCRATCH).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        both, first = detector(images), detector(images[:1])
    torch.testing.assert_close(both.logits[:1], first.logits)
    assert both.logits.shape == (2, 84, 2)
    assert both.deltas.shape == (2, 84, 44)


def test_everything_learns_but_what_is_frozen() -> None:
    detector = bw.create_detector("nano416", 2, image_size=64, **SCRATCH)
    found = detector(torch.randn(2, 3, 64, 64))
    (found.logits.square().sum() + found.deltas.square().sum()).backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in detector.parameters())


def test_anchors_of_several_shapes() -> None:
    with pytest.raises(RecipeError, match="nano416 has one anchor a cell, squares or one of shapes"):
        bw.create_detector("nano416", 2, anchors="retinanet", **SCRATCH)

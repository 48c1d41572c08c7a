"""MobileNetV2 with TensorFlow's padding: what timm's is with the same padding and epsilon."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

import boxwright as bw
from boxwright.errors import BoxwrightWarning, MissingWeights, RecipeError
from boxwright.models.kept_weights import PREFIX
from boxwright.models.mobilenet_v2 import MobileNetV2
from boxwright.runs.weights import write_weights
from boxwright.starts.cache import seal

STRIDES = (2, 4, 8, 16, 32)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "starts" / "ssdlite-person"


def uneven(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


@pytest.mark.parametrize("size", [(64, 96), (75, 50)])
def test_all_maps_are_timms(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("mobilenetv2_100", pad_type="same", bn_eps=1e-3).eval()
    uneven(theirs)
    maps: list[Tensor] = []
    ends = [theirs.blocks[place] for place in (0, 1, 2, 4, 6)]
    for module in (*ends, theirs.blocks[5][0].bn1, theirs.bn2):
        module.register_forward_hook(lambda module, given, made: maps.append(made.clone()))
    images = torch.randn(2, 3, *size)
    theirs(images)
    *narrow, _, wide, last, head = maps[:4], maps[4], maps[4], maps[5], maps[6]
    for strides, expected, is_wide in ((STRIDES, [*narrow[0], last], False), ((16, 32), [wide, head], True)):
        ours = MobileNetV2(strides, wide=is_wide).eval()
        state = theirs.state_dict()
        ours.body.load_state_dict({name: state[name] for name in ours.body.state_dict()})
        for found, timms, told in zip(ours(images), expected, ours.maps, strict=True):
            torch.testing.assert_close(found, timms)
            assert found.shape[1] == told.channels
            assert found.shape[2] == -(-size[0] // told.stride)


@pytest.mark.parametrize(("strides", "wide"), [(STRIDES, False), ((8, 16), False), ((16, 32), True)])
def test_stages_hold_every_weight_once(strides: tuple[int, ...], wide: bool) -> None:
    backbone = MobileNetV2(strides, wide=wide)
    weights = list(chain.from_iterable(stage.parameters() for stage in backbone.stages))
    assert len(backbone.stages) == 5
    assert {id(weight) for weight in weights} == {id(weight) for weight in backbone.parameters()}
    assert len(weights) == len({id(weight) for weight in weights})


def test_folding_what_is_frozen_leaves_the_outputs() -> None:
    backbone = MobileNetV2((8, 16, 32)).eval()
    uneven(backbone)
    images = torch.randn(1, 3, 64, 64)
    before = backbone(images)
    for stage in backbone.stages[:3]:
        stage.requires_grad_(False)
    backbone.fold_frozen()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.stages[0].modules())
    for was, now in zip(before, backbone(images), strict=True):
        torch.testing.assert_close(now, was, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("strides", "wide"), [((64,), False), ((8, 16), True), ((16,), True)])
def test_strides_that_it_lacks(strides: tuple[int, ...], wide: bool) -> None:
    with pytest.raises(RecipeError, match="mobilenetv2_ssdlite has maps of strides"):
        MobileNetV2(strides, wide=wide)


def test_weights_of_the_cache_go_under_our_head(empty_cache: Path) -> None:
    """The start has the wide network; the narrow one takes what it has of it."""
    torch.manual_seed(1)
    start = MobileNetV2((16, 32), wide=True)
    write_weights(empty_cache / "model.safetensors", {PREFIX + k: v for k, v in start.state_dict().items()}, {})
    seal("ssdlite-person")
    detector = bw.create_detector("lite320", 2, backbone="mobilenetv2_ssdlite", freeze=0)
    found, expected = detector.net.backbone.state_dict(), start.state_dict()
    assert found.keys() < expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    frozen = bw.create_detector("lite320", 2, backbone="mobilenetv2_ssdlite", freeze=2).net.backbone
    assert not any(weight.requires_grad for weight in frozen.stages[1].parameters())


def test_weights_that_are_not_here_are_told_with_what_to_type() -> None:
    with pytest.raises(MissingWeights, match="boxwright start fetch ssdlite-person gets them"):
        MobileNetV2((8, 16, 32)).load(True)
    with pytest.warns(
        BoxwrightWarning, match="boxwright start fetch ssdlite-person gets them: everything is learned from"
    ):
        detector = bw.create_detector("lite320", 2, backbone="mobilenetv2_ssdlite")
    assert detector.recipe.pretrained is False


def test_files_that_hold_none(tmp_path: Path) -> None:
    backbone, path = MobileNetV2((16, 32)), tmp_path / "some.safetensors"
    with pytest.raises(RecipeError, match="no file of pretrained weights at"):
        backbone.load(str(path))
    path.write_bytes(b"no tensors")
    with pytest.raises(RecipeError, match="holds no weights: "):
        backbone.load(str(path))
    write_weights(path, {"other": torch.ones(1)}, {})
    with pytest.raises(RecipeError, match=r"it lacks net\.backbone\.body\.conv_stem\.weight"):
        backbone.load(str(path))
    state = {PREFIX + name: value for name, value in backbone.state_dict().items()}
    write_weights(path, {**state, f"{PREFIX}body.conv_stem.weight": torch.ones(1, 3, 3, 3)}, {})
    with pytest.raises(RecipeError, match="size mismatch for body"):
        backbone.load(str(path))
    write_weights(path, {**state, "net.head": torch.ones(1)}, {})
    backbone.load(str(path))

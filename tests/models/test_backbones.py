"""Backbones of any kind, one's own too: what is frozen, what is folded, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.models import backbones
from boxwright.models.backbones import make_backbone
from boxwright.models.layers import batch_norms, fold_batch_norm
from boxwright.recipes import get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.training.step import supervise
from boxwright.types import FeatureMap, Targets


def made(name: str, strides: Sequence[int], *, pretrained: bool = True, **keys: Any) -> Any:
    recipe = get_recipe("lite320", backbone=name, **{"freeze": 0, "freeze_depthwise": 0, **keys})
    return make_backbone(recipe, strides, pretrained)


def learning(backbone: nn.Module) -> set[str]:
    return {name for name, weight in backbone.named_parameters() if weight.requires_grad}


def test_frozen_stages_neither_learn_nor_follow_the_data() -> None:
    torch.manual_seed(0)
    backbone = made("tf_efficientnet_lite0", (8, 16, 32), freeze=2).train()
    frozen = [backbone.body.conv_stem, backbone.body.blocks[0], backbone.body.blocks[1]]
    assert not any(p.requires_grad for module in frozen for p in module.parameters())
    assert not any(isinstance(m, _BatchNorm) for module in frozen for m in module.modules())
    assert all(p.requires_grad for p in backbone.body.blocks[2].parameters())
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm)]
    assert norms
    assert all(m.training for m in norms)


def test_folding_changes_no_output() -> None:
    images = torch.rand(2, 3, 64, 64)
    plain = made("tf_efficientnet_lite0", (8, 16, 32)).eval()
    folded = made("tf_efficientnet_lite0", (8, 16, 32), freeze=3).eval()
    with torch.no_grad():
        before, after = plain(images), folded(images)
        for a, b in zip(before, after, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * float(a.abs().max()))
    fold_batch_norm(plain.requires_grad_(False))
    assert not any(isinstance(m, _BatchNorm) for m in plain.modules())


def test_structure_depends_on_the_recipe_alone() -> None:
    """A model that was saved from pretrained weights loads into one that was built without."""
    trained = made("tf_efficientnet_lite0", (8, 16), freeze=2)
    empty = made("tf_efficientnet_lite0", (8, 16), freeze=2, pretrained=False)
    empty.load_state_dict(trained.state_dict())


def test_large_depthwise_kernels_can_stay() -> None:
    backbone = made("tf_efficientnet_lite0", (8, 16, 32), pretrained=False, freeze_depthwise=5)
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    frozen = [m for m in convolutions if not m.weight.requires_grad]
    assert len(frozen) == 9
    assert all(m.groups == m.in_channels and m.kernel_size == (5, 5) for m in frozen)


@pytest.mark.parametrize("name", ["vgg16", "tf_efficientnet_lite0", "resnet18", "convnext_atto"])
def test_the_first_stages_are_frozen_one_by_one(name: str) -> None:
    strides = (8, 16, 32)
    stages = len(made(name, strides, pretrained=False).stages)
    left = [learning(made(name, strides, pretrained=False, freeze=count)) for count in range(stages + 1)]
    assert left[0] == {name for name, _ in made(name, strides, pretrained=False).named_parameters()}
    assert all(after < before for before, after in pairwise(left))
    with pytest.raises(RecipeError, match=rf"freeze in 0\.\.{stages} for this backbone but got 9"):
        made(name, strides, pretrained=False, freeze=9)


def test_behind_the_last_map_that_is_used_nothing_is_left_to_freeze() -> None:
    stages = made("resnet18", (8,), pretrained=False).stages
    assert [len(list(stage.parameters())) > 0 for stage in stages] == [True, True, True, False, False]
    assert learning(made("resnet18", (8,), pretrained=False, freeze=5)) == set()


class Own(nn.Module):
    """Three stages of stride 4, 2 and 2, the maps of the last two."""

    mean = (0.1, 0.2, 0.3)
    std = (0.5, 0.5, 0.5)

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.maps = [FeatureMap(12, stride) for stride in strides]
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, 12, 3, step, 1), nn.BatchNorm2d(12), nn.ReLU())
            for before, step in ((3, 4), (12, 2), (12, 2))
        )

    @property
    def stages(self) -> list[nn.Module]:
        return list(self.parts)

    def load(self, pretrained: bool | str) -> None:
        assert pretrained is True
        nn.init.constant_(self.parts[0][0].weight, 0.5)

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.parts[1](self.parts[0](images))
        return [fine, self.parts[2](fine)]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(backbones, "_maker", lambda name: Own)
    return Own


@pytest.mark.parametrize("norm_mode", ["train", "eval", "frozen", "group"])
def test_a_backbone_of_one_s_own_learns_what_the_recipe_lets_it(own: Any, norm_mode: str) -> None:
    torch.manual_seed(0)
    detector = bw.create_detector(
        "lite320", 2, backbone="own", image_size=64, strides=[8, 16], freeze=1, norm_mode=norm_mode
    ).train()
    assert detector.get_buffer("_mean").flatten().tolist() == pytest.approx([25.5, 51.0, 76.5])
    backbone = detector.net.backbone
    first, *later = backbone.stages
    assert (first[0].weight == 0.5).all()
    assert not any(p.requires_grad for p in first.parameters())
    assert not any(norm.training for norm in batch_norms(first))
    norms = [norm for stage in later for norm in batch_norms(stage)]
    assert len(norms) == {"group": 0}.get(norm_mode, 2)
    assert all(norm.training == (norm_mode == "train") for norm in norms)
    assert all(norm.weight.requires_grad == (norm_mode != "frozen") for norm in norms)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    targets = Targets(
        torch.tensor([[[4.0, 4, 40, 40]], [[20.0, 10, 60, 50]]]),
        torch.tensor([[0], [1]]),
        torch.zeros(2, 1, dtype=torch.bool),
    )
    losses, _ = supervise(detector, build_criterion(detector.recipe), torch.rand(2, 3, 64, 64) * 255, targets)
    losses.total.backward()
    torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], 0.1).step()
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert "parts.2.0.weight" in changed
    assert not any(name.startswith("parts.0.") for name in changed)
    assert ("parts.1.1.running_mean" in changed) == (norm_mode == "train")


def test_statistics_stay_after_a_prediction(own: Any) -> None:
    detector = bw.create_detector("lite320", 2, backbone="own", image_size=64, strides=[8, 16], norm_mode="eval")
    detector.predict(torch.zeros(3, 64, 64))
    assert detector.training
    assert not any(norm.training for norm in batch_norms(detector.net.backbone))
    assert all(norm.training for norm in batch_norms(detector.net.head))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda strides: "text", "Expected backbone 'own' to be an nn.Module but got str"),
        (lambda strides: nn.Identity(), "backbone 'own' has no 'maps'"),
        (
            lambda strides: Own((8, 32)),
            r"'own' gives maps of strides \[8, 32\], the detector needs \[8, 16\]",
        ),
    ],
)
def test_what_is_no_backbone_is_refused(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any], message: str
) -> None:
    monkeypatch.setattr(backbones, "_maker", lambda name: make)
    with pytest.raises(RecipeError, match=message):
        made("own", (8, 16))

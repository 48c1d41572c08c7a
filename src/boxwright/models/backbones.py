"""Backbones: the networks that a detector's neck and head are built on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from boxwright.choices import is_part, naming_failures, required
from boxwright.errors import RecipeError
from boxwright.models.efficientnet_lite import EfficientNetLite0
from boxwright.models.layers import batch_norms, freeze_depthwise
from boxwright.models.mobilenet_v2 import MobileNetV2
from boxwright.models.timm_backbone import TimmBackbone
from boxwright.recipes import Recipe
from boxwright.types import FeatureMap


class Backbone(Protocol):
    """An ``nn.Module`` made for certain strides, which returns a feature map for each, finest first."""

    @property
    def maps(self) -> Sequence[FeatureMap]:
        """Channels and stride of each map."""

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Its parts in order, of which ``freeze`` freezes the first ones."""

    @property
    def mean(self) -> Sequence[float]:
        """Mean per channel that its weights expect to be subtracted from the input in 0..1."""

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation per channel that the input is divided by after that."""

    def load(self, pretrained: bool | str) -> None:
        """Load the published weights, or those in a file; raises MissingWeights if there are none."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Compute one map (B, C, H / stride, W / stride), rounded up, for each of ``maps`` from images (B, 3, H, W)."""


def make_backbone(recipe: Recipe, strides: Sequence[int], pretrained: bool | str) -> Backbone:
    """Make the recipe's backbone with maps of these strides; what the recipe freezes does not learn.

    Raises:
        RecipeError: If it is no backbone, or lacks a stride, also at the recipe's image_size.
    """
    with naming_failures("backbone", recipe.backbone):
        made = _maker(recipe.backbone)(strides)
    backbone = _checked(made, strides, recipe)
    _check_cells(backbone, recipe)
    if pretrained:
        backbone.load(pretrained)
    _freeze(backbone, recipe)
    return backbone


def _maker(name: str) -> Callable[..., Any]:
    return required("backbone", name) if is_part("backbone", name) else partial(TimmBackbone, name)


def _checked(made: object, strides: Sequence[int], recipe: Recipe) -> Backbone:
    name = recipe.backbone
    if not isinstance(made, nn.Module):
        raise RecipeError(f"Expected backbone {name!r} to be an nn.Module but got {type(made).__name__}")
    for attribute in ("maps", "stages", "mean", "std", "load"):
        if not hasattr(made, attribute):
            raise RecipeError(f"backbone {name!r} has no {attribute!r}: see boxwright.models.Backbone")
    backbone = cast(Backbone, made)
    given, stages = [each.stride for each in backbone.maps], len(backbone.stages)
    if given != list(strides):
        raise RecipeError(f"backbone {name!r} gives maps of strides {given}, the detector needs {list(strides)}")
    if not 0 <= recipe.freeze <= stages:
        raise RecipeError(f"Expected freeze in 0..{stages} for this backbone but got {recipe.freeze}")
    return backbone


@torch.no_grad()
def _check_cells(backbone: Backbone, recipe: Recipe) -> None:
    """Raise RecipeError if maps of a side that the strides do not divide have other cells than the anchors.

    Anchors round the number of cells up.
    """
    strides = [each.stride for each in backbone.maps]
    rest = recipe.image_size % strides[-1]
    if not rest or recipe.resize == "shortest":  # where batches are padded
        return
    net, side = cast(nn.Module, backbone), 2 * strides[-1] + rest  # rounded like the input's, and small
    mode = net.training
    grids = [x.shape[-1] for x in net.eval()(torch.zeros(1, 3, side, side))]
    net.train(mode)
    if grids != [math.ceil(side / stride) for stride in strides]:
        raise RecipeError(
            f"Expected image_size to be a multiple of {strides[-1]} with backbone {recipe.backbone!r}, whose maps have "
            f"fewer cells at others, but got {recipe.image_size}"
        )


def _freeze(backbone: Backbone, recipe: Recipe) -> None:
    for stage in backbone.stages[: recipe.freeze]:
        stage.requires_grad_(False)
    net = cast(nn.Module, backbone)
    if recipe.freeze and isinstance(backbone, TimmBackbone | EfficientNetLite0 | MobileNetV2):
        backbone.fold_frozen()
    freeze_depthwise(net, recipe.freeze_depthwise if recipe.pretrained else 0)
    if recipe.norm_mode == "frozen":
        for norm in batch_norms(net):
            norm.requires_grad_(False)

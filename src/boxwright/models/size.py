"""The size of a recipe's network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from boxwright.models import TwoStageDetector, build_detector
from boxwright.recipes import Recipe

_CLASSES = 80  # COCO's, for recipes that name none


class NetworkSize(NamedTuple):
    """Size of a recipe's network for a given number of classes at its input resolution."""

    parameters: int
    learning: int
    """Parameters that training changes."""
    multiply_adds: int
    """Number in the forward pass of one image, in convolutions and matrix products, with as many regions as the recipe
    has proposals.
    """
    anchors: int
    classes: int


def network_size(recipe: Recipe) -> NetworkSize:
    """Build the network without its weights and run it once; raises RecipeError if it cannot be built."""
    if not recipe.classes:
        recipe = recipe.replace(classes=[f"class_{label}" for label in range(_CLASSES)])
    with torch.random.fork_rng(devices=[]):
        detector = build_detector(recipe, pretrained=False).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        outputs = detector(torch.zeros(1, 3, recipe.image_size, recipe.image_size))
        if isinstance(detector, TwoStageDetector):
            everywhere = outputs.features[0].new_tensor([[0.0, 0.0, recipe.image_size, recipe.image_size]])
            detector.refine(outputs.features, [everywhere.expand(recipe.proposals, 4)])
    parameters = list(detector.parameters())
    return NetworkSize(
        parameters=sum(p.numel() for p in parameters),
        learning=sum(p.numel() for p in parameters if p.requires_grad),
        multiply_adds=counter.get_total_flops() // 2,
        anchors=len(detector.anchors),
        classes=len(recipe.classes),
    )

"""Batches of noise for trial steps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from boxwright.data import DetectionDataset
from boxwright.models.memory import largest_input
from boxwright.recipes import Recipe
from boxwright.types import Targets


def made_up_batch(
    images: int, size: tuple[int, int], targets: int, classes: int, device: torch.device
) -> tuple[Tensor, Targets]:
    """Generate images (B, 3, H, W) of noise with boxes (B, G, 4) of a tenth to half of their sides; always the same."""
    height, width = size
    drawn = torch.Generator(device).manual_seed(0)
    pixels = torch.randint(0, 256, (images, height, width, 3), generator=drawn, dtype=torch.uint8, device=device)
    side = torch.tensor([width, height], device=device)
    corner, extent = 0.5 * torch.rand(2, images, targets, 2, generator=drawn, device=device)
    boxes = torch.cat([corner, corner + extent.clamp(min=0.1)], -1) * side.repeat(2)
    labels = torch.randint(0, classes, (images, targets), generator=drawn, device=device)
    return pixels.permute(0, 3, 1, 2), Targets(boxes, labels, torch.zeros_like(labels, dtype=torch.bool))


def valid_size_of(recipe: Recipe, images: int, size: tuple[int, int], device: torch.device) -> Tensor | None:
    """Return the rows and columns (B, 2) of such a batch that are image, all of them; None if the recipe needs none."""
    return torch.tensor([size] * images, device=device) if recipe.resize == "shortest" else None


def largest_size(recipe: Recipe, dataset: DetectionDataset) -> tuple[int, int]:
    """Return the sides of the largest batch: if images keep their aspect ratio, largest height and width combine."""
    size = recipe.input_size
    known = dataset.sizes[(dataset.sizes > 0).all(1)]
    if not len(known):
        return largest_input(recipe)
    sizes = np.array([size.whole(*image).size for image in np.unique(known, axis=0).tolist()])
    height, width = (-(-sizes.max(0) // size.multiple) * size.multiple).tolist()
    return height, width

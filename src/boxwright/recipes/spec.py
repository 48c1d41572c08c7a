"""How a detector is registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from boxwright.recipes.keys import RecipeKeys

TWO_STAGE_KEYS = (
    *("hidden", "box_per_class", "proposals", "training_proposals", "proposal_nms"),
    *("rpn_matcher", "rpn_coder", "rpn_miner", "rpn_class_loss", "rpn_box_loss", "rpn_box_weight", "rpn_normalizer"),
)
"""Keys that only two-stage detectors use."""


@dataclass(frozen=True)
class DetectorSpec:
    """Everything that defines a detector: with it, the name works in recipes and in every command."""

    name: str
    build: Callable[..., Any] | str
    """(recipe, num_outputs, coder, pretrained) -> ``models.detector.Network``; or the location of that function as
    "package.module:function", so that the recipe can be read without importing torch.
    """
    recipe: RecipeKeys
    """Values that differ from the defaults of ``Recipe``; keys without a default must be in it."""
    without: tuple[str, ...] = ()
    """Keys that have no meaning for it, apart from those of two stages: they cannot be changed and are not shown."""
    two_stage: bool = False

    @property
    def foreign_keys(self) -> frozenset[str]:
        """All keys that have no meaning for it."""
        return frozenset(self.without if self.two_stage else (*self.without, *TWO_STAGE_KEYS))

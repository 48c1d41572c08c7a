"""Which arithmetic a training uses, from what the machine has."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn

from boxwright.environment import environment
from boxwright.models.layers import has_depthwise
from boxwright.recipes import Recipe

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Instructions of x86 and Arm processors that multiply bfloat16 numbers."""


class Precision(NamedTuple):
    """A choice and why it was made."""

    name: Literal["float32", "bf16"]
    reason: str

    @property
    def for_trainer(self) -> Literal["32-true", "bf16-mixed"]:
        """Lightning's word for it: weights stay float32 in both."""
        return "bf16-mixed" if self.name == "bf16" else "32-true"


def choose_precision(recipe: Recipe, accelerator: str, net: nn.Module) -> Precision:
    """The recipe's, or for "auto" bf16 wherever it is faster.

    That is on GPUs that have it; and on processors that have it where the network has no depthwise convolution, whose
    backward pass is slower in bf16 there.
    """
    available = bf16_available(accelerator)
    place = "GPU" if accelerator == "cuda" else "processor"
    if recipe.precision == "bf16":
        return Precision("bf16", "as asked for" if available else f"as asked for; this {place} only emulates it")
    if recipe.precision == "float32":
        return Precision("float32", "as asked for")
    if not available:
        return Precision("float32", f"this {place} has no bf16 arithmetic")
    if accelerator == "cpu" and has_depthwise(net):
        return Precision("float32", "depthwise convolutions are slower in bf16 on processors")
    return Precision("bf16", f"this {place} has bf16 arithmetic")


def bf16_available(accelerator: str) -> bool:
    """Whether the device multiplies bfloat16 numbers in hardware."""
    if accelerator == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return not _BF16_FLAGS.isdisjoint(environment()["cpu_flags"])

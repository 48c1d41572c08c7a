"""Which arithmetic a training uses, from what the machine has."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.plugins.precision import Precision as Plugin
from torch import nn

from boxwright.environment import environment
from boxwright.errors import RecipeError
from boxwright.models.layers import has_depthwise
from boxwright.recipes import Recipe

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Instructions of x86 and Arm processors that multiply bfloat16 numbers."""

_TENSOR_CORES = (7, 0)  # Volta's; before, fp16 is no faster than float32
# Turing's small chips, of which some give NaN in fp16
_WITHOUT_TENSOR_CORES = re.compile(r"GTX 16|\bMX\d|\bT\d{3,4}\b")


class ScaledHalf(MixedPrecision):
    """Scales losses up in fp16, so that small gradients aren't 0, and leaves out a step of which one overflows.

    As Lightning's own, but optimisers that are fused get their gradients unscaled before they are clipped too.
    """

    scaler: torch.amp.GradScaler

    def __init__(self, device: str) -> None:
        super().__init__("16-mixed", device, torch.amp.GradScaler(device))

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Backward pass, unscaling, clipping, step."""
        closure()
        self.scaler.unscale_(optimizer)
        self._after_closure(model, optimizer)
        made = self.scaler.step(optimizer, **kwargs)
        self.scaler.update()
        return made


class Precision(NamedTuple):
    """A choice and why it was made."""

    name: Literal["float32", "bf16", "fp16"]
    reason: str

    def plugin(self, device: str) -> Plugin:
        """Lightning's part for it: weights stay float32 in all."""
        if self.name == "fp16":
            return ScaledHalf(device)
        return MixedPrecision("bf16-mixed", device) if self.name == "bf16" else Plugin()


def choose_precision(recipe: Recipe, device: str, net: nn.Module) -> Precision:
    """The recipe's, or for "auto" half the bits wherever it is faster.

    That is bf16 on GPUs that have it, and fp16 on those that multiply it alone; and bf16 on processors that have it
    where the network has no depthwise convolution, whose backward pass is slower in bf16 there. Raises RecipeError for
    fp16 on a processor.
    """
    available = bf16_available(device)
    place = "processor" if device == "cpu" else "GPU"
    if recipe.precision == "fp16" and device == "cpu":
        raise RecipeError("precision=fp16 is for GPUs: on the processor set precision=bf16 or precision=float32")
    if recipe.precision == "bf16":
        return Precision("bf16", "as asked for" if available else f"as asked for; this {place} only emulates it")
    if recipe.precision != "auto":
        return Precision(recipe.precision, "as asked for")
    if device == "cpu" and available and has_depthwise(net):
        return Precision("float32", "depthwise convolutions are slower in bf16 on processors")
    if available:
        return Precision("bf16", f"this {place} has bf16 arithmetic")
    if fp16_is_fast(device):
        return Precision("fp16", "this GPU has fp16 arithmetic and no bf16")
    return Precision("float32", f"this {place} has no bf16 arithmetic")


def bf16_available(device: str) -> bool:
    """Whether the device multiplies bfloat16 numbers in hardware."""
    if device == "cpu":
        return not _BF16_FLAGS.isdisjoint(environment()["cpu_flags"])
    return bool(torch.get_device_module(device).is_bf16_supported(including_emulation=False))


def fp16_is_fast(device: str) -> bool:
    """Whether the device is a CUDA GPU with tensor cores."""
    if device != "cuda":
        return False
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    return capability >= _TENSOR_CORES and not _WITHOUT_TENSOR_CORES.search(name)

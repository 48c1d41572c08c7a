"""Which arithmetic a training uses, depending on the machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.plugins.precision import Precision as Plugin

from boxwright.environment import environment
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe
from boxwright.training.distributed import Ranks
from boxwright.training.step_timing import StepSeconds, checked_seconds

PrecisionTaken = Literal["float32", "bf16", "fp16"]
_NAMES: tuple[PrecisionTaken, ...] = get_args(PrecisionTaken)
_TIMED = "CPU seconds of a step"  # in a run's record
_WORTH_IT = 1.05  # speed-up over float32: less may be noise of the timing

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""CPU flags of x86 and Arm for multiplying bfloat16 numbers."""

_TENSOR_CORES = (7, 0)  # Volta's; on earlier ones fp16 is no faster than float32
# Turing's small chips, some of which give NaN in fp16
_WITHOUT_TENSOR_CORES = re.compile(r"GTX 16|\bMX\d|\bT\d{3,4}\b")


class ScaledHalf(MixedPrecision):
    """Scales losses up in fp16, so that small gradients are not 0, and skips steps that overflow.

    Like Lightning's own, but gradients of fused optimizers are also unscaled before they are clipped.
    """

    scaler: torch.amp.GradScaler

    def __init__(self, device: str) -> None:
        super().__init__("16-mixed", device, torch.amp.GradScaler(device))

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Run backward pass, unscaling, clipping, and step."""
        closure()
        self.scaler.unscale_(optimizer)
        self._after_closure(model, optimizer)
        made = self.scaler.step(optimizer, **kwargs)
        self.scaler.update()
        return made


class Precision(NamedTuple):
    """A choice of precision and its reason."""

    name: PrecisionTaken
    reason: str
    seconds: StepSeconds | None = None
    """Timings, if both were timed."""

    def plugin(self, device: str) -> Plugin:
        """Return Lightning's plugin for it; weights stay float32 in all."""
        if self.name == "fp16":
            return ScaledHalf(device)
        return MixedPrecision("bf16-mixed", device) if self.name == "bf16" else Plugin()

    def to_json(self) -> dict[str, Any]:
        """Return the part of a run's record."""
        timed = {} if self.seconds is None else {_TIMED: self.seconds._asdict()}
        return {"precision": self.name, **timed}


def choose_precision(recipe: Recipe, device: str, timed: Callable[[], StepSeconds] | None = None) -> Precision:
    """Choose the recipe's precision, or for "auto" 16 bits wherever that is faster.

    That is bf16 on GPUs that have it, and fp16 on those that multiply only that; and bf16 on processors that have it if
    a step is ``timed`` and is faster, which depends on the network and the processor.

    Raises:
        RecipeError: For fp16 on a processor.
    """
    available = bf16_available(device)
    place = "processor" if device == "cpu" else "GPU"
    if recipe.precision == "fp16" and device == "cpu":
        raise RecipeError("precision=fp16 is for GPUs: on the processor set precision=bf16 or precision=float32")
    if recipe.precision == "bf16":
        return Precision("bf16", "as asked for" if available else f"as asked for; this {place} only emulates it")
    if recipe.precision != "auto":
        return Precision(recipe.precision, "as asked for")
    if device == "cpu" and available:
        return Precision("float32", "not timed") if timed is None else _faster(timed())
    if available:
        return Precision("bf16", f"this {place} has bf16 arithmetic")
    if fp16_is_fast(device):
        return Precision("fp16", "this GPU has fp16 arithmetic and no bf16")
    return Precision("float32", f"this {place} has no bf16 arithmetic")


def run_precision(
    recipe: Recipe, device: str, record: Mapping[str, Any], ranks: Ranks, timed: Callable[[], StepSeconds]
) -> Precision:
    """Choose a run's precision for all its processes: that of its ``record`` if it continues, else the first one's.

    ``record``: what the run has recorded of its training so far; empty for a new one.
    """
    if recipe.precision == "auto" and record.get("device") == device and record.get("precision") in _NAMES:
        return Precision(record["precision"], "as the run began", checked_seconds(record.get(_TIMED)))
    if device != "cpu" or recipe.precision != "auto" or ranks.world == 1:
        return choose_precision(recipe, device, timed)
    chosen = choose_precision(recipe, device, timed) if ranks.first else Precision("float32", "")
    return chosen._replace(name=_NAMES[ranks.of_first(_NAMES.index(chosen.name), device)])


def _faster(seconds: StepSeconds) -> Precision:
    gain = seconds.float32 / seconds.bf16
    figure = f"{gain:.3g}x float32 here (timed)"
    if gain >= _WORTH_IT:
        return Precision("bf16", figure, seconds)
    return Precision("float32", f"bf16 is {figure}", seconds)


def bf16_available(device: str) -> bool:
    """Tell whether the device multiplies bfloat16 numbers in hardware."""
    if device == "cpu":
        return not _BF16_FLAGS.isdisjoint(environment()["cpu_flags"])
    return bool(torch.get_device_module(device).is_bf16_supported(including_emulation=False))


def fp16_is_fast(device: str) -> bool:
    """Tell whether the device is a CUDA GPU with tensor cores."""
    if device != "cuda":
        return False
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    return capability >= _TENSOR_CORES and not _WITHOUT_TENSOR_CORES.search(name)

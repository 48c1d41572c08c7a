"""The network through torch.compile, tried and timed before the first step.

Losses stay as they are: what they gather depends on the batch's objects, and each place where a number must be known
breaks the graph.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch import Tensor

from boxwright._util.printing import say
from boxwright.errors import RecipeError
from boxwright.models import Detector
from boxwright.recipes import Recipe
from boxwright.training.distributed import Ranks
from boxwright.training.module import TrainingModule

BACKEND = "inductor"
_TIMED = 3


def check_compilable(recipe: Recipe, ranks: Ranks) -> None:
    """Raise RecipeError where a compiled network has no meaning: inputs of many sizes, several processes."""
    if recipe.resize == "shortest":
        raise RecipeError("Expected resize=squash or resize=pad with compile: each size of input is compiled anew")
    if ranks.world > 1:
        raise RecipeError("Expected one process with compile but got several")


class CompiledNetwork(Callback):
    """Compiles the network in place, under its own names, and says what that takes and gains."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        detector, plugin = pl_module.detector, trainer.precision_plugin
        before = [_pass_seconds(detector, plugin) for _ in range(1 + _TIMED)]
        detector.net.compile(backend=BACKEND)
        try:
            first, *after = [_pass_seconds(detector, plugin) for _ in range(1 + _TIMED)]
        except Exception as error:  # a compiler raises whatever its own tools lead it into
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RecipeError(f"torch can't compile the network here ({reason}): train without compile") from None
        times = f"{1000 * median(after):.3g} instead of {1000 * median(before[1:]):.3g} ms"
        say(self.console, f"compiled in {first:.0f} s; a pass of the network, forward and backward, takes {times}")


def _pass_seconds(detector: Detector, plugin: Any) -> float:
    """Seconds of a forward and a backward pass on a blank batch, which leave no trace."""
    recipe, device = detector.recipe, detector.device
    side = recipe.image_size
    images = torch.zeros(recipe.images_a_batch, 3, side, side, device=device)
    images = images.contiguous(memory_format=detector.memory_format)
    statistics = [(buffer, buffer.clone()) for buffer in detector.net.buffers()]
    _wait(device)
    start = perf_counter()
    with plugin.forward_context():
        outputs = detector.net(images)
    sum(each.float().sum() for each in _tensors(outputs)).backward()  # type: ignore[union-attr]
    _wait(device)
    seconds = perf_counter() - start
    detector.zero_grad()
    with torch.no_grad():
        for buffer, value in statistics:
            buffer.copy_(value)
    return seconds


def _tensors(outputs: Any) -> list[Tensor]:
    """All tensors of nested tuples and lists."""
    return [outputs] if isinstance(outputs, Tensor) else [x for each in outputs for x in _tensors(each)]


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device.type).synchronize()

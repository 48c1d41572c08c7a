"""torch.compile for the network and a dense criterion, tried and timed before the first step.

The criterion's graph has no break, though what it gathers depends on a batch's objects. It is traced anew for each
number of padded targets, so batches are padded to powers of two. A two-stage criterion, whose regions vary in number,
is not compiled.
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from time import perf_counter
from typing import Any

import lightning as L
import torch
import torch._dynamo  # for its options
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from boxwright._util.printing import say
from boxwright.criterion import DenseCriterion
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe
from boxwright.training.distributed import Ranks
from boxwright.training.made_up import made_up_batch
from boxwright.training.module import TrainingModule
from boxwright.training.step import supervise

BACKEND = "inductor"
_TIMED = 3
_TARGETS = 8  # of an image, the smallest number that batches are padded to
# Makes the number of positives a symbol of the graph, which would otherwise break it.
_OPTIONS = {"capture_dynamic_output_shape_ops": True, "capture_scalar_outputs": True}


def check_compilable(recipe: Recipe, ranks: Ranks) -> None:
    """Raise RecipeError where a compiled network makes no sense: inputs of many sizes, several processes."""
    if recipe.resize == "shortest":
        raise RecipeError("Expected resize=squash or resize=pad with compile: each size of input is compiled anew")
    if ranks.world > 1:
        raise RecipeError("Expected one process with compile but got several")


class CompiledStep(Callback):
    """Compiles the network and the criterion in place, under their own names, and reports the time taken and gained."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._options = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compile and time a step."""
        assert isinstance(pl_module, TrainingModule)
        detector, criterion, plugin = pl_module.detector, pl_module.criterion, trainer.precision_plugin
        before = [_step_seconds(pl_module, plugin) for _ in range(1 + _TIMED)]
        self._options.enter_context(torch._dynamo.config.patch(_OPTIONS))
        detector.net.compile(backend=BACKEND)
        if isinstance(criterion, DenseCriterion):
            criterion.compile(backend=BACKEND)
        try:
            first, *after = [_step_seconds(pl_module, plugin) for _ in range(1 + _TIMED)]
        except Exception as error:  # a compiler may raise anything that its tools raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RecipeError(f"torch can't compile the network here ({reason}): train without compile") from None
        times = f"{1000 * median(after):.3g} instead of {1000 * median(before[1:]):.3g} ms"
        what = "network and losses" if isinstance(criterion, DenseCriterion) else "the network"
        say(self.console, f"compiled {what} in {first:.0f} s; a step, forward and backward, takes {times}")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Undo the compilation."""
        self._options.close()


def _step_seconds(module: TrainingModule, plugin: Any) -> float:
    """Time a forward and a backward pass on a generated batch, without any trace."""
    detector, recipe, device = module.detector, module.detector.recipe, module.device
    side, classes = recipe.image_size, len(recipe.classes)
    images, targets = made_up_batch(recipe.images_a_batch, (side, side), _TARGETS, classes, device)
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    _wait(device)
    start = perf_counter()
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device], device_type=_kind(device)):
        with plugin.forward_context():
            losses, _ = supervise(detector, module.criterion, images, targets)
        losses.total.backward()  # type: ignore[no-untyped-call]
    _wait(device)
    seconds = perf_counter() - start
    module.zero_grad()
    with torch.no_grad():
        for buffer, value in buffers:
            buffer.copy_(value)
    return seconds


def _kind(device: torch.device) -> str:
    return "cuda" if device.type == "cpu" else device.type  # CPU autocast takes no device name


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device.type).synchronize()

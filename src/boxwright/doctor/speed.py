"""Speed of a training on this machine, by its steps alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from boxwright.recipes import Recipe, get_recipe
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.training.precision import PrecisionTaken

RECIPE, BATCH, CLASSES = "lite320", 8, 3
_TARGETS = 4  # objects in an image
_SECONDS = 5.0
_IMAGES, _EPOCHS = 500, 40  # of the example


@dataclass(frozen=True)
class Speed:
    """The speed of training steps on made-up images: neither reading nor augmenting nor validating is in it."""

    device: str
    precision: str
    batch: int
    images_per_second: float

    def line(self) -> str:
        """Say what to expect of it."""
        minutes = _IMAGES * _EPOCHS / self.images_per_second / 60
        time_taken = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{60 * minutes:.0f} seconds"
        speed = f"{self.images_per_second:.0f}" if self.images_per_second >= 100 else f"{self.images_per_second:.3g}"
        return (
            f"about {speed} images/s in steps of {RECIPE} on {self.device} ({self.precision}, "
            f"{plural(self.batch, 'image')} a step): {_IMAGES} images for {_EPOCHS} epochs take {time_taken}, "
            "if workers read them as fast"
        )


def measure_speed(
    seconds: float = _SECONDS, advance: Callable[[int, int | None], None] = lambda done, total: None
) -> Speed:
    """Train on made-up images for ``seconds``, after a first step that isn't counted."""
    import torch

    from boxwright.environment import choose_device

    device = choose_device("auto")
    recipe = get_recipe(RECIPE, classes=tuple(f"class {label}" for label in range(CLASSES)), batch_size=BATCH)
    with torch.random.fork_rng(devices=[]):
        precision, step = _make_step(recipe, device)
        step()
        started, done, taken = time.monotonic(), 0, 0.0
        while taken < seconds:
            step()
            done, taken = done + 1, time.monotonic() - started
            advance(int(taken), int(seconds))
    return Speed(device, precision, BATCH, done * BATCH / taken)


def _make_step(recipe: Recipe, device: str) -> tuple[PrecisionTaken, Callable[[], None]]:
    """Make what trains once on the same made-up batch, and waits for the device, in the precision that auto takes."""
    import torch
    from torch import nn

    from boxwright.choices import required
    from boxwright.models import build_detector
    from boxwright.models.memory import largest_input
    from boxwright.recipes.criterion import build_criterion
    from boxwright.training.layer_rates import parameter_groups
    from boxwright.training.made_up import made_up_batch
    from boxwright.training.precision import choose_precision
    from boxwright.training.step import supervise
    from boxwright.training.step_timing import remembered_step

    detector, criterion, size = build_detector(recipe, pretrained=False), build_criterion(recipe), largest_input(recipe)
    precision = choose_precision(recipe, device, partial(remembered_step, detector, criterion, size, BATCH)).name
    if device != "cpu" or precision == "bf16":
        detector.set_memory_format(torch.channels_last)
    detector, criterion = detector.to(device), criterion.to(device)
    rate = recipe.lr / 100  # the batch is always the same: its loss stays finite
    optimizer = required("optimizer", recipe.optimizer)(parameter_groups(detector, recipe.weight_decay), lr=rate)
    images, targets = made_up_batch(BATCH, size, _TARGETS, CLASSES, torch.device(device))
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def step() -> None:
        with torch.autocast(device, dtype, enabled=dtype is not None):
            losses = supervise(detector, criterion, images, targets)[0]
        losses.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(detector.parameters(), recipe.clip or 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device != "cpu":
            torch.accelerator.synchronize()

    return precision, step

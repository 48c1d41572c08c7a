"""float32 compared with bf16 on the processor: a training step in both, timed once per machine and network."""

from __future__ import annotations

import math
from copy import deepcopy
from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import nn

from boxwright._util.remembered import recall, remember
from boxwright._util.turns import least_seconds
from boxwright.environment import environment
from boxwright.models import Detector
from boxwright.training.made_up import made_up_batch, valid_size_of
from boxwright.training.step import supervise

# batch norm has no statistics of one image where a map is one cell; more images take longer with the same result
_IMAGES = 2
_TARGETS = 8  # per image
_TURNS, _BUDGET = 4, 3.0  # CPU seconds after which no further round starts


class StepSeconds(NamedTuple):
    """CPU seconds of a few images' forward pass, losses and backward pass."""

    float32: float
    bf16: float


def remembered_step(detector: Detector, criterion: nn.Module, size: tuple[int, int], batch: int) -> StepSeconds:
    """Time a step on inputs of ``size`` (H, W), or return an earlier timing of the same configuration.

    The configuration is processor, versions, network, input, batch and threads.
    """
    images = min(batch, _IMAGES)
    facts = _facts(detector) | {"input": [images, *size], "batch": batch}
    known = checked_seconds(recall("precision", facts))
    if known is None:
        known = time_step(detector, criterion, size, images)
        remember("precision", facts, known._asdict())
    return known


def time_step(detector: Detector, criterion: nn.Module, size: tuple[int, int], images: int) -> StepSeconds:
    """Time steps on generated images, each precision in the memory format that a training uses with it.

    Detector, criterion and generators are unchanged: copies take the steps.
    """
    criterion, plain = deepcopy(criterion), deepcopy(detector)
    half = deepcopy(detector).set_memory_format(torch.channels_last)
    inputs, targets = made_up_batch(images, size, _TARGETS, len(detector.classes), detector.device)
    valid_size = valid_size_of(detector.recipe, images, size, detector.device)

    def step(net: Detector) -> None:
        """Run a forward and a backward pass."""
        with torch.autocast("cpu", torch.bfloat16, enabled=net is half):
            losses = supervise(net, criterion, inputs, targets, valid_size)[0]
        losses.total.backward()  # type: ignore[no-untyped-call]
        net.zero_grad()

    with torch.random.fork_rng(devices=[]):
        return StepSeconds(*least_seconds([lambda: step(plain), lambda: step(half)], _TURNS, _BUDGET))


def _facts(detector: Detector) -> dict[str, Any]:
    """List what a step's time depends on apart from its input: machine, network layers, and what learns."""
    found = environment()
    learns = [(name, weight.requires_grad) for name, weight in detector.net.named_parameters()]
    network = f"{detector.net} {learns} {detector.recipe.norm_mode}"
    return {
        "processor": found["processor"],
        "flags": found["cpu_flags"],
        "versions": [found["boxwright"], torch.__version__],
        "threads": torch.get_num_threads(),
        "detector": detector.recipe.detector,
        "network": blake2b(network.encode(), digest_size=16).hexdigest(),
    }


def checked_seconds(value: Any) -> StepSeconds | None:
    """Check two times read from a file; None if they are not times."""
    if not isinstance(value, dict) or value.keys() != set(StepSeconds._fields):
        return None
    if not all(isinstance(seconds, float) and 0 < seconds < math.inf for seconds in value.values()):
        return None
    return StepSeconds(**value)

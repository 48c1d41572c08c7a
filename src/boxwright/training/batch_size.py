"""batch_size=auto: as many images as the device has memory for, and the matching learning rate."""

from __future__ import annotations

import gc
from collections.abc import Callable
from copy import deepcopy
from math import sqrt

import numpy as np
import torch
from torch import Tensor, nn

from boxwright._util.memory import is_out_of_memory
from boxwright.choices import parse_choice
from boxwright.data import DetectionDataset
from boxwright.data.cache import free_memory
from boxwright.errors import RecipeError
from boxwright.models import build_detector
from boxwright.recipes import Recipe, base_recipe
from boxwright.training.distributed import Ranks
from boxwright.training.layer_rates import parameter_groups
from boxwright.training.made_up import largest_size, made_up_batch, valid_size_of
from boxwright.training.optimizers import make_optimizer
from boxwright.training.precision import choose_precision
from boxwright.training.step import supervise

_STEPS = 16  # of an epoch, at least, unless the recipe's own batch size gives fewer
_MOST_ON_CPU = 64
_SHARE_OF_GPU = 0.9  # of its free memory: the rest is for fragmentation, and for batches larger than those tried
_NO_RATE = 1e-12  # not 0, which a custom optimizer may refuse: the weights stay finite
_PER_SAVED_BYTE = 1.5  # memory of a step per byte that its forward pass saves: 0.9 to 1.15 were measured


def settle_batch_size(
    recipe: Recipe, dataset: DetectionDataset, criterion: nn.Module, accelerator: str, ranks: Ranks
) -> Recipe:
    """Replace batch_size=auto by the largest power of two that fits, for each process, and scale the learning rate.

    On a GPU, steps of doubling size are tried until one takes more than 90 % of the free memory. On a CPU the bytes
    that the forward pass saves are measured, and the batch takes up to half of the free memory, and up to 64 images. An
    epoch always has 16 steps or more, unless the detector's own batch size gives fewer. Among several processes the
    smallest answer is used.

    Raises:
        RecipeError: If not even one image fits, and on other devices.
    """
    if accelerator not in ("cpu", "cuda"):
        raise RecipeError(
            f"batch_size=auto tries what fits on cuda and on processors but not on {accelerator}: give a number"
        )
    reference = base_recipe(recipe.detector).images_a_batch
    most = power_of_two(max(len(dataset) // _STEPS, reference, ranks.world) // ranks.world)
    trial = Trial(recipe, dataset, criterion, ranks.device(accelerator))
    if accelerator == "cuda":
        each = largest_fitting(trial.fits, most)
    else:
        each = fitting_bytes(trial.bytes_an_image(), free_memory() // 2, min(most, _MOST_ON_CPU))
    if not each:
        height, width = trial.size
        raise RecipeError(
            f"batch_size=auto: a step on one image of {height} x {width} pixels doesn't fit the memory: a smaller "
            "image_size or precision=bf16 takes less"
        )
    del trial
    if accelerator == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
    size = ranks.least(each, accelerator) * ranks.world
    return recipe.replace(batch_size=size, lr=scaled_rate(recipe, size, reference))


def scaled_rate(recipe: Recipe, size: int, reference: int) -> float:
    """Scale the recipe's learning rate, meant for ``reference`` images, to another batch size; to four digits.

    It is proportional for SGD (arXiv:1706.02677, section 2.1) and proportional to the square root for all other
    optimizers, which divide by the gradient's scale (arXiv:2205.10287, definition 2).
    """
    factor = size / reference
    rate = recipe.lr * (factor if parse_choice("optimizer", recipe.optimizer).name == "sgd" else sqrt(factor))
    return float(f"{rate:.4g}")


def power_of_two(limit: int) -> int:
    """Return the largest power of two not above ``limit``, which is at least 1."""
    return 1 << (limit.bit_length() - 1)


def largest_fitting(fits: Callable[[int], bool], most: int) -> int:
    """Find the largest power of two up to ``most`` that fits, by doubling; 0 if not even 1 does.

    It starts with 2: batch norm has no statistics of one image where a map is one cell.
    """
    size = min(2, most)
    if not fits(size):
        return 1 if size == 2 and fits(1) else 0
    while 2 * size <= most and fits(2 * size):
        size *= 2
    return size


def fitting_bytes(each: int, free: int, most: int) -> int:
    """Return the largest power of two up to ``most`` that fits ``free`` bytes at ``each`` bytes per image; 0: none."""
    count = min(free // max(each, 1), most)
    return power_of_two(count) if count else 0


class Trial:
    """Trial steps on generated images, with weights that are thrown away.

    The inputs are as large as the largest possible batch of the data set's images, with as many targets as the fullest
    image.
    """

    def __init__(self, recipe: Recipe, dataset: DetectionDataset, criterion: nn.Module, device: torch.device) -> None:
        self.device = device
        self.size = largest_size(recipe, dataset)
        self._recipe, self._classes = recipe, len(dataset.classes)
        self._targets = int(np.diff(dataset.offsets).max())
        detector = build_detector(recipe, pretrained=False)
        self._bf16 = choose_precision(recipe, device.type).name == "bf16"
        if device.type == "cuda" or self._bf16:
            detector.set_memory_format(torch.channels_last)
        self._detector, self._criterion = detector.to(device), deepcopy(criterion).to(device)
        self._average = deepcopy(self._detector) if recipe.ema else None  # takes memory, as in training
        groups = parameter_groups(self._detector, recipe.weight_decay)
        self._optimizer = make_optimizer(recipe.optimizer, groups, _NO_RATE)

    def fits(self, images: int) -> bool:
        """Tell whether a step on this number of images leaves enough of the GPU's memory."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        free = torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device)
        try:
            self._step(images)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            fitting = False
        else:
            fitting = torch.cuda.max_memory_reserved(self.device) <= _SHARE_OF_GPU * free
        self._optimizer.zero_grad(set_to_none=True)
        return fitting

    def bytes_an_image(self) -> int:
        """Estimate a step's bytes per image on the processor, from what the forward pass of 2 and of 4 images saves."""
        return int(_PER_SAVED_BYTE * (self._saved(4) - self._saved(2)) / 2)

    def _saved(self, images: int) -> int:
        storages: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = self._loss(images)
        del loss
        return sum(storages.values())

    def _step(self, images: int) -> None:
        self._loss(images).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._detector.parameters(), self._recipe.clip or 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _loss(self, images: int) -> Tensor:
        inputs, targets = made_up_batch(images, self.size, self._targets, self._classes, self.device)
        valid_size = valid_size_of(self._recipe, images, self.size, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            return supervise(self._detector, self._criterion, inputs, targets, valid_size)[0].total

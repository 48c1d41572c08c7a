"""CPU time that a step of `train` costs beyond its network's forward and backward pass, and where it goes.

    python benchmarks/train_step.py [--recipe lite320] [--side 64] [--batch 1] [--steps 200]
    python benchmarks/train_step.py --before OTHER/src [--rounds 5]

On an accelerator the host only hands out the work of a step: a step can't be shorter than what Python, Lightning, the
criterion, the optimizer and the averages cost the processor. Small images and one thread make that cost the most of a
step on a processor too. The training is `boxwright.train` on drawn digits, with its callbacks and metrics.csv; the bare
step is a forward pass of its own network on its own last batch, and a backward pass from a constant. Parts are timed
around the calls; what is left is Lightning's. With ``--before`` the checkout there and this one take turns, each in a
process of its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from rich.console import Console
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data.dataloader import _BaseDataLoaderIter
from turns import Row, arguments, child, median_interval, run

import boxwright as bw
from boxwright.criterion import DenseCriterion
from boxwright.demo_data import make_digits
from boxwright.training.module import TrainingModule

_WARM = 20  # steps, before the clock runs
_BARE = 60
Seconds = dict[str, float]


class Parts:
    """Seconds of calls by name; a call within another one counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: Seconds = defaultdict(float)
        self._within: list[str] = []
        self._since = 0.0

    def enter(self, name: str) -> None:
        self._settle()
        self._within.append(name)

    def leave(self) -> None:
        self._settle()
        self._within.pop()

    def time(self, owner: type, method: str, name: str) -> None:
        call: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.enter(name)
            try:
                return call(*args, **kwargs)
            finally:
                self.leave()

        setattr(owner, method, timed)

    def _settle(self) -> None:
        now = process_time()
        if self._within:
            self.seconds[self._within[-1]] += now - self._since
        self._since = now


class StepTimes(Callback):
    """Seconds of the steps after the first ones, and of the bare step of the last one's batch."""

    def __init__(self, steps: int, parts: Parts) -> None:
        self.steps, self.parts = steps, parts
        self.whole = self.bare = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, _: Any, batch: Any, place: int) -> None:
        if trainer.global_step == _WARM:
            self.parts.seconds.clear()
            self._start = process_time()
        elif trainer.global_step == _WARM + self.steps:
            self.whole = (process_time() - self._start) / self.steps
            self.seconds = {name: taken / self.steps for name, taken in self.parts.seconds.items()}
            assert isinstance(module, TrainingModule)
            self.bare = bare_step(module.detector, batch.images)

    def on_before_optimizer_step(self, *_: Any) -> None:
        self.parts.enter("optimizer")


def bare_step(detector: Any, images: torch.Tensor) -> float:
    """Seconds of a forward pass of the network alone, and a backward pass from a constant."""
    inputs = detector.normalize(images)
    taken = []
    for _ in range(_BARE):
        start = process_time()
        raw = [x for x in detector(inputs) if isinstance(x, torch.Tensor)]
        torch.autograd.backward(raw, [torch.ones_like(x) for x in raw])
        taken.append(process_time() - start)
    detector.zero_grad()
    return median(taken)


def measure(recipe: str, side: str, batch: str, steps: str) -> Seconds:
    """Seconds a step: "whole", "bare", and the parts."""
    return _measure(recipe, int(steps), {"image_size": int(side), "batch_size": int(batch)})


def _measure(recipe: str, steps: int, options: dict[str, Any]) -> Seconds:
    parts = Parts()
    parts.time(_BaseDataLoaderIter, "__next__", "input")
    parts.time(bw.models.Detector, "normalize", "normalize")
    parts.time(DenseCriterion, "match", "matching")
    parts.time(DenseCriterion, "forward", "criterion, forward")
    parts.time(TrainingModule, "backward", "backward")
    parts.time(TrainingModule, "_losses", "network, forward")
    parts.time(L.LightningModule, "log", "logging")
    parts.time(L.LightningModule, "log_dict", "logging")
    parts.time(L.LightningModule, "optimizer_zero_grad", "optimizer")
    parts.time(TrainingModule, "configure_gradient_clipping", "gradient's norm")
    parts.time(WeightAveraging, "on_train_batch_end", "averages")
    hook = register_optimizer_step_post_hook(lambda *_: parts.leave())
    times = StepTimes(steps, parts)
    with tempfile.TemporaryDirectory() as folder:
        data = make_digits(Path(folder) / "digits", images={"train": 8}, size=options["image_size"])
        training = bw.read_dataset(data, "train")
        many = training.subset([place % 8 for place in range((_WARM + steps + 1) * options["batch_size"])])
        options = {**options, "out": Path(folder) / "run", "val_split": None, "steps": _WARM + steps}
        bw.train(many, recipe, console=Console(quiet=True), callbacks=[times], **options)
    hook.remove()
    return {"whole": times.whole, "bare": times.bare, **times.seconds}


def parts_of(case: str, seconds: Seconds) -> Iterator[Row]:
    whole, bare = seconds["whole"], seconds["bare"]
    parts = {name: taken for name, taken in seconds.items() if name not in ("whole", "bare")}
    parts["Lightning and the rest"] = whole - sum(parts.values())
    yield Row(f"{case}: whole", 1000 * whole)
    yield Row(f"{case}: beyond the bare step", 1000 * (whole - bare))
    for name, taken in sorted(parts.items(), key=lambda part: -part[1]):
        yield Row(f"{case}: {name}", 1000 * taken)


def against(before: str, case: str, measured: tuple[str, ...], rounds: int) -> Iterator[Row]:
    """The two checkouts' time beyond the bare step, round by round."""
    here = os.environ.get("PYTHONPATH", str(Path(bw.__file__).parents[1]))
    beyond: dict[str, list[float]] = {before: [], here: []}
    for _ in range(rounds):
        for source, taken in beyond.items():
            command = ("env", f"PYTHONPATH={source}", sys.executable, __file__, "--alone", *measured)
            seconds = json.loads(child(*command).output.splitlines()[-1])
            taken.append(1000 * (seconds["whole"] - seconds["bare"]))
    ratio = median_interval([old / new for old, new in zip(*beyond.values(), strict=True)])
    old, new = map(median, beyond.values())
    yield Row(f"{case}: beyond the bare step", new, old, ratio, note="peer: the other checkout")


def rows(options: Namespace) -> Iterator[Row]:
    case = f"{options.recipe} at {options.side} px, batches of {options.batch}"
    measured = (options.recipe, str(options.side), str(options.batch), str(options.steps))
    if options.before:
        yield from against(options.before, case, measured, options.rounds)
    else:
        yield from parts_of(case, measure(*measured))


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--recipe", default="lite320")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--before", help="the src folder of another checkout")
    run(rows, parser, alone=measure)

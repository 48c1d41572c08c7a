"""CPU time that a step of `train` costs beyond its network's forward and backward pass, and where it goes.

    OMP_NUM_THREADS=1 python benchmarks/train_step.py [--recipe lite320] [--side 64] [--batch 1] [--steps 200]
    OMP_NUM_THREADS=1 python benchmarks/train_step.py --before OTHER/src [--rounds 5]

On an accelerator the host only hands out the work of a step: a step can't be shorter than what Python, Lightning, the
criterion, the optimiser and the averages cost the processor. Small images and one thread make that cost the most of a
step on a processor too. The training is `boxwright.train` on drawn digits, with its callbacks and metrics.csv; the bare
step is a forward pass of its own network on its own last batch, and a backward pass from a constant. Parts are timed
around the calls; what is left is Lightning's. With ``--before`` the checkout there and this one take turns, each in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
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

import boxwright as bw
from boxwright.criterion import DenseCriterion
from boxwright.demo_data import make_digits
from boxwright.environment import environment_line
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
        self.parts.enter("optimiser")


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


def measure(recipe: str, steps: int, options: dict[str, Any]) -> Seconds:
    """Seconds a step: "whole", "bare", and the parts."""
    parts = Parts()
    parts.time(_BaseDataLoaderIter, "__next__", "input")
    parts.time(bw.models.Detector, "normalize", "normalize")
    parts.time(DenseCriterion, "match", "matching")
    parts.time(DenseCriterion, "forward", "criterion, forward")
    parts.time(TrainingModule, "backward", "backward")
    parts.time(TrainingModule, "_losses", "network, forward")
    parts.time(L.LightningModule, "log", "logging")
    parts.time(L.LightningModule, "log_dict", "logging")
    parts.time(L.LightningModule, "optimizer_zero_grad", "optimiser")
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


def show(seconds: Seconds) -> None:
    whole, bare = seconds["whole"], seconds["bare"]
    parts = {name: taken for name, taken in seconds.items() if name not in ("whole", "bare")}
    parts["Lightning and the rest"] = whole - sum(parts.values())
    print(f"a step {1000 * whole:.2f} ms, bare {1000 * bare:.2f}, beyond it {1000 * (whole - bare):.2f}; of the step")
    for name, taken in sorted(parts.items(), key=lambda part: -part[1]):
        print(f"  {name:24s} {1000 * taken:6.2f} ms")


def compare(before: str, rounds: int) -> None:
    """The two checkouts' overheads, round by round."""
    here = os.environ.get("PYTHONPATH", str(Path(bw.__file__).parents[1]))
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--before", before)]
    beyond: dict[str, list[float]] = {before: [], here: []}
    for turn in range(rounds):
        for source, taken in beyond.items():
            command = [sys.executable, __file__, *arguments, "--json"]
            said = subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, check=True, capture_output=True)
            seconds = json.loads(said.stdout.splitlines()[-1])
            taken.append(seconds["whole"] - seconds["bare"])
            if turn == 0:
                print(source)
                show(seconds)
    ratios = sorted(new / old for old, new in zip(beyond[before], beyond[here], strict=True))
    print(f"beyond the bare step: {median(ratios):.2f} of before ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="lite320")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--before", help="the src folder of another checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.before:
        print(environment_line())
        compare(arguments.before, arguments.rounds)
        return
    seconds = measure(arguments.recipe, arguments.steps, {"image_size": arguments.side, "batch_size": arguments.batch})
    print(json.dumps(seconds)) if arguments.json else show(seconds)


if __name__ == "__main__":
    main()

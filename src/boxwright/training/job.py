"""What defines a training: where it goes, its recipe and options, and what a resumed one goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch import Tensor, nn

from boxwright._util.naming import folder_name
from boxwright._util.printing import say
from boxwright.data import DetectionDataset
from boxwright.models.memory import check_input
from boxwright.recipes import Recipe, find_detector, get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.recipes.fit import decide
from boxwright.runs import Run
from boxwright.runs.folder import check_free, held_run
from boxwright.runs.start import Start, resolve_start
from boxwright.training.batch_size import settle_batch_size
from boxwright.training.checkpoints import Position
from boxwright.training.command import resume_command, train_command
from boxwright.training.distributed import Ranks
from boxwright.training.options import RunOptions
from boxwright.training.resume import recorded_commands, reopen
from boxwright.training.starting import with_default_start


@dataclass(frozen=True)
class Job:
    """Everything that defines a training."""

    run: Run
    recipe: Recipe
    options: RunOptions
    ranks: Ranks
    console: Console
    commands: tuple[str, ...] = ()
    """Command lines that do the same, including resumptions; empty for data sets in memory."""
    position: Position | None = None
    """Position at which a resumed run continues."""
    checkpoint: Path | None = None
    """The checkpoint to continue from; None for a new run, and for one stopped before its first checkpoint."""
    callbacks: tuple[Callback, ...] = ()
    """The caller's callbacks."""
    criterion: nn.Module | None = None
    """The caller's criterion; None: the recipe's."""
    start: Start | None = None
    """Source of the initial weights, if the recipe alone does not say."""

    def say(self, text: str) -> None:
        """Print on the job's console."""
        say(self.console, text)


def new_job(
    data: str | Path | DetectionDataset,
    recipe: str | Path | Recipe | None,
    options: Mapping[str, Any],
    ranks: Ranks,
    console: Console,
) -> Job:
    """Define a new training; what needs the data is left to ``with_decisions`` and ``with_batch_size``.

    Raises:
        RecipeError: If an option or a key is wrong, or the run folder is taken.
    """
    run_options, recipe_options = RunOptions.take(options)
    if recipe is None and run_options.start is None:
        run_options = with_default_start(run_options, console)
    start = None if run_options.start is None else resolve_start(run_options.start)
    brought = start.recipe if start is not None and recipe is None else recipe
    chosen = brought if isinstance(brought, Recipe) else get_recipe(brought or "lite320")
    chosen = chosen.replace(**recipe_options)
    ranks.check(chosen.batch_size)
    root = data.root if isinstance(data, DetectionDataset) else Path(data)
    if run_options.out is not None and ranks.first:
        check_free(Run(run_options.out))
    run = Run(run_options.out or Path("runs") / f"{folder_name(root)}-{find_detector(chosen.detector).name}")
    commands = () if isinstance(data, DetectionDataset) else (train_command(root, chosen, run_options),)
    return Job(run, chosen, run_options, ranks, console, commands, start=start)


def resumed_job(
    data: str | Path | DetectionDataset,
    resume: Path,
    options: Mapping[str, Any],
    ranks: Ranks,
    console: Console,
    held: ExitStack,
) -> Job:
    """Define what is left of a run, which stays locked until ``held`` is closed.

    Raises:
        RecipeError: If an option differs that can't, or another process uses the run.
    """
    run = Run.of(resume)
    if ranks.first:
        held.enter_context(held_run(run))
    root = data.root if isinstance(data, DetectionDataset) else Path(data)
    recipe, run_options, checkpoint, position = reopen(resume, root, options)
    commands = recorded_commands(run)
    if commands and not isinstance(data, DetectionDataset):
        commands += (resume_command(root, resume, recipe, options),)
    start = None if checkpoint is not None or run_options.start is None else resolve_start(run_options.start)
    return Job(run, recipe, run_options, ranks, console, commands, position, checkpoint, start=start)


def check_memory(job: Job) -> None:
    """Raise RecipeError if a batch, or one of its inputs, needs more memory than is free."""
    check_input(job.recipe, 1 if job.recipe.batch_size == "auto" else job.recipe.batch_size // job.ranks.world)


def with_decisions(job: Job, dataset: DetectionDataset, data: str | Path | DetectionDataset) -> Job:
    """Decide the recipe's keys that are auto; the run's command has their values."""
    options = job.options
    recipe, decisions = decide(job.recipe, dataset, minutes=options.minutes, steps=options.steps)
    for decision in decisions:
        job.say(f"{decision}")
    commands = () if isinstance(data, DetectionDataset) else (train_command(Path(data), recipe, options),)
    job = replace(job, recipe=recipe, commands=commands)
    check_memory(job)
    return job


def with_batch_size(
    job: Job, asked: Recipe, dataset: DetectionDataset, counts: Tensor, data: str | Path | DetectionDataset
) -> Job:
    """Resolve batch_size=auto and its learning rate; the run's command states both."""
    criterion = build_criterion(job.recipe, counts) if job.criterion is None else job.criterion
    recipe = settle_batch_size(job.recipe, dataset, criterion, job.options.accelerator(), job.ranks)
    job.say(f"batch_size=auto is {recipe.batch_size} here: lr {asked.lr:g} becomes {recipe.lr:g}")
    commands = job.commands
    if not isinstance(data, DetectionDataset):
        same = asked.replace(batch_size=recipe.batch_size, lr=recipe.lr)
        commands = (train_command(Path(data), same, job.options),)
    return replace(job, recipe=recipe, commands=commands)

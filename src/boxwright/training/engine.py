"""Train a detector: read, build, fit, keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import Tensor, nn

from boxwright._util.allocator import keep_large_blocks
from boxwright._util.printing import can_redraw
from boxwright.data import DetectionDataset
from boxwright.data.readers.reader import finding
from boxwright.errors import RecipeError
from boxwright.evaluate.thresholds import Thresholds
from boxwright.models import build_detector
from boxwright.own_code import import_code
from boxwright.recipes import Recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.runs import Run
from boxwright.runs.checkpoints import read_checkpoint
from boxwright.runs.folder import new_run
from boxwright.runs.splits import keep_splits
from boxwright.runs.thresholds import said, thresholds_in
from boxwright.text import plural
from boxwright.training.accelerators import device_options
from boxwright.training.batches import Batches
from boxwright.training.best import BestCheckpoint, EarlyStoppingOnAP
from boxwright.training.callbacks import AveragedWeights, Clock, FirstEpoch, Validation
from boxwright.training.checkpoints import AtomicCheckpoints, LastCheckpoint, Position, fitting_weights
from boxwright.training.compiling import CompiledStep, check_compilable
from boxwright.training.curves import ROW_EVERY
from boxwright.training.distributed import Ranks
from boxwright.training.faults import faults_explained
from boxwright.training.job import Job, check_memory, new_job, resumed_job, with_batch_size, with_decisions
from boxwright.training.loggers import make_loggers
from boxwright.training.made_up import largest_size
from boxwright.training.module import TrainingModule
from boxwright.training.nonfinite import NonFiniteError, explain
from boxwright.training.options import TrainKeys
from boxwright.training.precision import Precision, run_precision
from boxwright.training.quiet import quiet_lightning
from boxwright.training.reading import read_data
from boxwright.training.record import Record, describe_data, describe_origin, describe_outcome, describe_run
from boxwright.training.resume import check_same_data
from boxwright.training.schedule import Progress
from boxwright.training.showing import progress_callbacks
from boxwright.training.starting import begin_with, first_detector, provenance
from boxwright.training.step_timing import remembered_step
from boxwright.training.stopping import CtrlC, Interrupted
from boxwright.training.targets import TargetsError


def train(
    data: str | Path | DetectionDataset,
    recipe: str | Path | Recipe | None = None,
    *,
    validation: DetectionDataset | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    initial: Mapping[str, Tensor] | None = None,
    callbacks: Sequence[Callback] = (),
    criterion: nn.Module | None = None,
    allow_code: Sequence[str] | str = (),
    **options: Unpack[TrainKeys],
) -> Run:
    """Train a detector and save it in a run folder.

    The first Ctrl-C, or SIGTERM, ends the training after the step, saves the best model so far, and raises
    KeyboardInterrupt.

    Args:
        data: A folder that ``read_dataset`` understands, or a data set (``validation`` may then be another).
        recipe: A built-in name, a YAML file, or a Recipe; None: the start's. With no start either: nano416 with its
            weights of COCO if they are fetched, else lite320.
        validation: The validation set, if ``data`` is a data set.
        resume: A run folder whose training continues from its last checkpoint, or another checkpoint in it, with its
            own recipe and options; only ``epochs`` (or ``minutes``, ``steps``) may change.
        console: Where progress is printed.
        initial: Initial weights by their names in the detector; those of another shape are left out.
        callbacks: Lightning callbacks, in addition to boxwright's own.
        criterion: Replaces the recipe's; called with (anchors, outputs, targets), it returns ``Losses``; for two stages
            it also has ``select``.
        allow_code: Modules of your own parts, named by the recipe, that may be imported. A part can also be passed
            directly: ``box_loss=my_loss``.
        options: Fields of ``RunOptions``, ``start`` among them, and keys of the recipe.

    Raises:
        DataError: If the data cannot be used, before anything is written.
        RecipeError: If the recipe or an option is wrong, before anything is written; or another process uses the run.
        WriteError: If a file cannot be written.
        BoxwrightError: If a loss becomes infinite or NaN.

    Examples:
        >>> run = bw.train("data", "lite320", minutes=10)  # doctest: +SKIP
        >>> bw.load(run).predict("photo.jpg")  # doctest: +SKIP
    """
    import_code(allow_code)
    ranks = Ranks.of_environment()
    console = (console or Console()) if ranks.first else Console(quiet=True)
    with ExitStack() as held:
        if resume is None:
            job = new_job(data, recipe, options, ranks, console)
        elif recipe is None:
            job = resumed_job(data, Path(resume), options, ranks, console, held)
        else:
            raise RecipeError("a resumed run has its recipe: name no other")
        return _train(replace(job, callbacks=tuple(callbacks), criterion=criterion), data, validation, initial, held)


def _train(
    job: Job,
    data: str | Path | DetectionDataset,
    validation: DetectionDataset | None,
    initial: Mapping[str, Tensor] | None,
    held: ExitStack,
) -> Run:
    ranks, accelerator = job.ranks, job.options.accelerator()
    keep_large_blocks()
    job, training_set, validation_set, counts = _read(job, data, validation)
    if job.position is None and ranks.first:
        job = replace(job, run=held.enter_context(new_run(job.options.out, job.run.folder.name)))
    loggers = make_loggers(job.options.logger, job.run, job.position.step if job.position and ranks.first else 0)
    L.seed_everything(job.options.seed, verbose=False)
    if job.checkpoint is None:
        detector, started = first_detector(job.recipe, job.start, job.say)
    else:
        detector, started = build_detector(job.recipe, pretrained=False), job.run.record["origin"].get("start")
    job = replace(job, recipe=detector.recipe, start=None)  # whose weights take memory
    begin_with(initial or {}, detector)
    criterion = build_criterion(job.recipe, counts) if job.criterion is None else job.criterion
    batches = Batches(training_set, validation_set, job.recipe, job.options, ranks, job.console)
    progress = _progress(job, batches)
    over = job.position is not None and not _goes_on(job, job.position, progress, batches)
    if over and _is_kept(job):
        return job.run
    taken = () if started is None else started["taken"]
    module = TrainingModule(detector, criterion, progress, job.options.seed, ranks.rank, taken)
    if job.checkpoint is not None:
        fitting_weights(job.checkpoint, module)  # before anything is written
    source = None if isinstance(data, DetectionDataset) else Path(data)
    precision = _precision(job, module, training_set, accelerator)
    computing = {"device": accelerator, **precision.to_json()}
    record = _begin(job, batches, source, computing, started) if ranks.first else None
    job.say(f"{precision.name} on {accelerator}: {precision.reason}")
    if accelerator != "cpu" or precision.name == "bf16":
        detector.set_memory_format(torch.channels_last)
    stopped = None if over else _fit(job, batches, module, loggers, accelerator, precision)
    if record is not None:
        told = _keep_model(job.run, module, finished=stopped is None and not over, started=started)
        job.say(said(told))
        step = job.position.step if over and job.position else module.trainer.global_step
        record.training.update(describe_outcome(step, progress, job.recipe, accelerator, precision.name))
        record.write(job.run.data_file)  # last: whatever records the end has its model
    if stopped is not None:
        again = (
            f"resume={str(job.run.folder)!r}" if source is None else f"boxwright train {data} --resume {job.run.folder}"
        )
        job.say(f"the model so far is in {job.run.model_file}")
        job.say(f"stopped: {again} goes on")
        raise stopped
    return job.run


def _read(
    job: Job, data: str | Path | DetectionDataset, validation: DetectionDataset | None
) -> tuple[Job, DetectionDataset, DetectionDataset | None, Tensor]:
    """Read the data, decide what the recipe leaves to them, and count the boxes of each class (K,)."""
    if not job.recipe.undecided:
        check_memory(job)
    if job.options.compile:
        check_compilable(job.recipe, job.ranks)
    training_set, validation_set = read_data(data, validation, job.recipe, job.options, job.console)
    if job.recipe.undecided:
        job = with_decisions(job, training_set, data)
    asked = job.recipe
    job = replace(job, recipe=job.recipe.replace(classes=training_set.classes, **training_set.pixels.to_dict()))
    if job.position is not None:
        check_same_data(job.run, [s for s in (training_set, validation_set) if s is not None])
    if job.recipe.patience and validation_set is None:
        raise RecipeError("patience needs a validation split: without one nothing tells when to stop")
    counts = torch.from_numpy(np.bincount(training_set.labels, minlength=len(training_set.classes)))
    if asked.batch_size == "auto":
        job = with_batch_size(job, asked, training_set, counts, data)
    return job, training_set, validation_set, counts


def _progress(job: Job, batches: Batches) -> Progress:
    if job.options.minutes is not None:
        return Progress(minutes=job.options.minutes)
    return Progress(steps=job.options.steps or job.recipe.epochs * batches.steps_an_epoch)


def _goes_on(job: Job, position: Position, progress: Progress, batches: Batches) -> bool:
    """Tell whether anything is left to do; prints where the run stands, and what another length means."""
    if ended := _ended(job, position, progress):
        progress.start(position.elapsed)
        progress.pause()
        job.say(f"{job.run.folder} is finished: {ended}")
        return False
    if job.checkpoint is None:
        job.say(f"{job.run.folder} was stopped before its first checkpoint: it begins anew")
        return True
    batches.places.resume_at(position.epoch, position.batches)
    job.say(f"going on with {job.run.folder} in epoch {position.epoch + 1} after {plural(position.step, 'step')}")
    before = job.run.recipe.epochs
    if before != job.recipe.epochs:
        epochs = f"{plural(job.recipe.epochs, 'epoch')} instead of {before}"
        job.say(f"{epochs}: the learning rate follows the new length from here on")
    return True


def _ended(job: Job, position: Position, progress: Progress) -> str:
    """Explain why nothing is left to do; empty if something is."""
    if progress.seconds is not None and position.elapsed >= progress.seconds:
        return f"{progress.seconds / 60:g} minutes done. More --minutes train on"
    if progress.steps is not None and position.step >= progress.steps:
        if job.options.steps:
            return f"{plural(position.step, 'step')} done. More --steps train on"
        return f"{plural(job.recipe.epochs, 'epoch')} done. More --epochs train on"
    patience = job.recipe.patience
    if patience and position.waited >= patience and job.recipe.epochs == job.run.recipe.epochs:
        return f"{plural(patience, 'epoch')} without a better AP. More --epochs train on"
    return ""


def _is_kept(job: Job) -> bool:
    """Tell whether the model of a finished run was written before its process ended."""
    outcome = job.run.record["training"].get("steps")
    return job.run.model_file.exists() and job.position is not None and outcome == job.position.step


def _precision(job: Job, module: TrainingModule, dataset: DetectionDataset, accelerator: str) -> Precision:
    """Choose the run's precision; if it continues, the one in its record."""
    record = {} if job.position is None else job.run.record["training"]
    size, images = largest_size(job.recipe, dataset), job.recipe.images_a_batch // job.ranks.world
    timed = partial(remembered_step, module.detector, module.criterion, size, images)
    return run_precision(job.recipe, accelerator, record, job.ranks, timed)


def _begin(
    job: Job, batches: Batches, source: Path | None, computing: dict[str, Any], started: dict[str, Any] | None
) -> Record:
    """Create the run folder with recipe.yaml and data.json."""
    training = describe_run(job.options, job.recipe, batches.images, batches.workers) | computing
    if started is not None:
        training["start"] = ", license ".join(filter(None, provenance(started).values()))
    if job.criterion is not None:
        training["criterion"] = f"{type(job.criterion).__module__}:{type(job.criterion).__qualname__}"
    if job.position is None:
        data = describe_data(batches.datasets, job.recipe, source, job.console, batches.facts, finding(job.options))
    else:
        data = job.run.record["data"]
        training["resumed after steps"] = job.position.step
    record = Record(
        data=data,
        training=training,
        origin=describe_origin(job.options, batches.datasets, job.commands, started),
        unreadable=batches.unreadable,
    )
    job.recipe.save(job.run.recipe_file)
    if source is not None:
        keep_splits(job.run.split_file, source, job.recipe.reader_options | finding(job.options))
    record.write(job.run.data_file)
    return record


def _fit(
    job: Job, batches: Batches, module: TrainingModule, loggers: list[Logger], accelerator: str, precision: Precision
) -> KeyboardInterrupt | None:
    """Train; returns the exception to raise if the user stopped it."""
    with quiet_lightning(), CtrlC(job.say) as ctrl_c, faults_explained(job.run, job.recipe, batches.workers):
        last = LastCheckpoint(job.run.last_checkpoint, job.options.checkpoint_minutes, ctrl_c)
        trainer = L.Trainer(
            max_epochs=-1 if job.options.minutes or job.options.steps else job.recipe.epochs,
            accumulate_grad_batches=job.recipe.accumulate,
            callbacks=_callbacks(job, batches, module.progress, last),
            logger=loggers,
            log_every_n_steps=ROW_EVERY,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=can_redraw(job.console),
            use_distributed_sampler=False,
            plugins=[AtomicCheckpoints(), precision.plugin(accelerator)],
            default_root_dir=job.run.folder,
            **device_options(accelerator, job.ranks),
        )
        try:
            trainer.fit(module, batches.training, batches.validation, ckpt_path=job.checkpoint)
        except Interrupted:
            return ctrl_c.error
        except NonFiniteError as error:
            raise explain(error, module, batches.datasets[0], Run(last.path.parent)) from None
        except TargetsError as error:
            raise error.explained(batches.datasets) from None
        finally:
            batches.training.close()
    return None


def _callbacks(job: Job, batches: Batches, progress: Progress, last: LastCheckpoint) -> list[Callback]:
    recipe = job.recipe
    callbacks: list[Callback] = [CompiledStep(job.console)] if job.options.compile else []
    callbacks.append(Clock(progress))
    if recipe.ema:
        callbacks.append(AveragedWeights(recipe.ema))
    if batches.validation is not None:
        callbacks.append(Validation(batches.datasets[1], job.console))
        callbacks.append(BestCheckpoint(job.run.best_checkpoint))
        if recipe.patience:
            callbacks.append(EarlyStoppingOnAP(recipe.patience))
    callbacks.append(last)
    callbacks.append(FirstEpoch(job.console, batches.datasets[0]))
    return [*callbacks, *progress_callbacks(job.console, progress), *job.callbacks]


def _keep_model(run: Run, module: TrainingModule, finished: bool, started: dict[str, Any] | None) -> Thresholds:
    """Write model.safetensors, the best checkpoint's averaged weights or the last ones, and their thresholds."""
    source, detector, told = run.best_checkpoint, module.detector, module.thresholds
    if not source.exists() and not finished:
        source = run.last_checkpoint  # its weights are the averaged ones, while the module's are not yet
    if source.exists():
        try:
            module.load_state_dict(fitting_weights(source, module))
        except RecipeError as error:
            raise RecipeError(f"{error}; remove it, and --resume {run.folder} keeps the last weights") from None
        told = thresholds_in(read_checkpoint(source, mmap=True), detector.classes, source)
    detector.thresholds = told or Thresholds.unmeasured(detector.classes, detector.recipe.score)
    run.keep(detector, **provenance(started))
    return detector.thresholds

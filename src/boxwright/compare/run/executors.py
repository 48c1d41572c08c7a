"""Ways to execute runs: one after the other in processes of their own, or as tasks of a Ray cluster.

Both yield results as they come, and call ``watch`` a few times a second with the running jobs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from boxwright.compare.results.results import RunResult
from boxwright.compare.run.jobs import Job, failed, write_result
from boxwright.errors import RecipeError

Watch = Callable[[Sequence[Job]], None]

_INTERRUPTED = 130
_POLL = 0.5  # seconds
_PATIENCE = 120.0  # seconds that the runs of a cluster get to stop


def run_locally(jobs: Sequence[Job], watch: Watch) -> Iterator[RunResult]:
    """Run each job in a new process, so that its memory is its own and a crash does not affect the others.

    Ctrl-C stops the running job after its step and raises KeyboardInterrupt; a second one kills it.
    """
    context: Any = multiprocessing.get_context(_start_method())
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(["boxwright.compare.run.execute"])  # torch is imported once for all jobs
    for job in jobs:
        job.folder.mkdir(parents=True, exist_ok=True)
        process = context.Process(target=_run_alone, args=(job,), name=f"{job.arm}, seed {job.seed}")
        process.start()
        try:
            while process.is_alive():
                process.join(_POLL)
                watch([job])
        except KeyboardInterrupt:
            _stop(process)
            raise
        yield _result_of(job, process.exitcode)


def run_on_ray(jobs: Sequence[Job], watch: Watch) -> Iterator[RunResult]:
    """Run each job as a Ray task that reserves its threads, and a GPU if it trains on one.

    It joins the cluster of RAY_ADDRESS, or one already started on this machine, or else starts one. If a machine fails,
    Ray starts its run again elsewhere, and the run continues from its last checkpoint.

    Raises:
        RecipeError: If Ray is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise RecipeError("executor ray needs its package: pip install 'boxwright[ray]'") from None
    from boxwright.compare.run.execute import execute

    joined = ray.is_initialized()
    if not joined:
        ray.init(log_to_driver=False)
    # A worker per run: peak memory is measured per process.
    task = ray.remote(max_calls=1)(execute)
    waiting = {
        task.options(num_cpus=job.threads or 1, num_gpus=int(job.device != "cpu"), name=job.folder.name).remote(
            job
        ): job
        for job in jobs
    }
    try:
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=_POLL)
            watch([job for job in waiting.values() if job.progress_file.is_file()])
            for reference in done:
                yield _fetch(reference, waiting.pop(reference))
    except KeyboardInterrupt:
        for reference in waiting:
            ray.cancel(reference)
        ray.wait(list(waiting), num_returns=len(waiting), timeout=_PATIENCE)
        raise
    finally:
        if not joined:
            ray.shutdown()


def _fetch(reference: Any, job: Job) -> RunResult:
    import ray

    try:
        result: RunResult = ray.get(reference)
    except ray.exceptions.RayError as error:
        return _failure(job, str(error).strip().splitlines()[-1])
    if not result.failed and job.result is None:
        raise RecipeError(
            f"the run {job.folder.name} is finished, but its folder isn't here: DATA and --out must lie on a disk that "
            "all machines of the cluster share, at the same path"
        )
    return result


def _start_method() -> str:
    known = multiprocessing.get_all_start_methods()
    return "forkserver" if "forkserver" in known else "spawn"


def _run_alone(job: Job) -> None:
    """Execute a job in its process: output goes to run.log, and the parent handles a terminal's Ctrl-C."""
    from boxwright.compare.run.execute import execute

    if hasattr(os, "setsid"):
        os.setsid()
    with (job.folder / "run.log").open("a", encoding="utf-8", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            execute(job)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)


def _stop(process: Any) -> None:
    """Ask a process to stop after its step; at the next Ctrl-C kill it."""
    if hasattr(os, "setsid") and process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGINT)
    try:
        process.join()
    except KeyboardInterrupt:
        process.kill()
        process.join()


def _result_of(job: Job, exitcode: int | None) -> RunResult:
    if exitcode == 0 and (result := job.result) is not None:
        return result
    if exitcode == _INTERRUPTED:
        raise KeyboardInterrupt
    how = f"by signal {-exitcode} (9 is what a system without memory sends)" if exitcode and exitcode < 0 else ""
    return _failure(job, f"its process was ended {how}".strip() if how else f"its process ended with code {exitcode}")


def _failure(job: Job, why: str) -> RunResult:
    result = failed(job, why)
    write_result(job.result_file, result)
    return result

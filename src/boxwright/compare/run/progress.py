"""One view of all runs: a bar of all steps, and a line for each run that ends."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from boxwright._util.printing import can_redraw, printable, say
from boxwright.compare.results.results import RunResult
from boxwright.compare.run.jobs import Job
from boxwright.text import plural


class View:
    """Shows a bar on a terminal; otherwise only lines."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.console = console
        self._jobs = {(job.arm, job.seed): job for job in jobs}
        self._done = {key for key, job in self._jobs.items() if job.finished}
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not can_redraw(console))
        self._task = self._progress.add_task("", total=sum(job.steps for job in jobs))
        self.watch([])

    def __enter__(self) -> View:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        say(self._progress.console, text)

    def features(self, done: int, total: int) -> None:
        """Show how many of the frozen tier's views are computed."""
        self._progress.update(self._task, description=f"features of view {done} of {total}")

    def watch(self, running: Sequence[Job]) -> None:
        """Show the progress of the running jobs."""
        steps = {(job.arm, job.seed): job.steps_done for job in running}
        finished = sum(job.steps for key, job in self._jobs.items() if key in self._done)
        now = ", ".join(
            f"{printable(job.arm)} seed {job.seed}: step {job.steps_done} of {job.steps}" for job in running
        )
        self._progress.update(
            self._task,
            completed=finished + sum(count for key, count in steps.items() if key not in self._done),
            description=f"{len(self._done)} of {plural(len(self._jobs), 'run')}" + (f"; {now}" if now else ""),
        )

    def finished(self, result: RunResult) -> None:
        """Print a line about a run that has ended."""
        self._done.add((result.arm, result.seed))
        count = f"{len(self._done)} of {len(self._jobs)}"
        if result.failed:
            self.say(f"{count}  {result.arm}, seed {result.seed}: failed: {result.failed}")
        else:
            self.say(
                f"{count}  {result.arm}, seed {result.seed}: AP {result.metrics['AP']:.3f}  "
                f"AP50 {result.metrics['AP50']:.3f}  {result.seconds:.0f} s, {result.images_per_second:.1f} images/s"
            )
        self.watch([])

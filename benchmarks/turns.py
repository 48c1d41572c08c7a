"""How every benchmark measures: sides take turns, in CPU time, and give rows of one form. README.md shows its use."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from boxwright.environment import environment, environment_line

Call = Callable[[], Any]


class Row(NamedTuple):
    """A figure of ours beside the peer's: what a benchmark prints, and writes with ``--json``."""

    name: str
    ours: float
    peer: float | None = None
    ratio: tuple[float, float, float] | None = None
    """How many times less the peer's cost is of ours (or its rate more): the median, and from where to where."""
    unit: str = "ms"
    threads: int = 1
    note: str = ""

    def __str__(self) -> str:
        peer = "" if self.peer is None else f"peer {number(self.peer):>8s} {self.unit}"
        name = f"{self.name:52s} {number(self.ours):>8s} {self.unit:8s}"
        return f"  {name} {peer:24s} {spread(self.ratio):24s} {self.note}".rstrip()


def once(name: str, ours: float, peer: float, unit: str = "MiB", note: str = "") -> Row:
    """Make a row of two costs that were measured once each."""
    return Row(name, ours, peer, (peer / ours,) * 3, unit, note=note)


def number(value: float) -> str:
    """Write a figure with two or three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def spread(ratio: tuple[float, float, float] | None) -> str:
    """Write a ratio with its interval, nothing where there is none."""
    if ratio is None:
        return ""
    middle, low, high = (number(value).removeprefix("0") for value in ratio)
    return f"{middle} x" if low == high else f"{middle} x ({low} to {high})"


def arguments(description: str, rounds: int, cases: Iterable[str] = ()) -> ArgumentParser:
    """Make the options that every benchmark has; ``cases`` are what ``--only`` chooses from."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each side")
    parser.add_argument("--threads", type=int, default=1, choices=(1, 2), help="of torch, on both sides")
    parser.add_argument("--json", type=Path, help="the file to write the rows to")
    parser.add_argument("--alone", nargs="+", help=SUPPRESS)
    if cases:
        parser.add_argument("--only", choices=list(cases), help="one case")
    return parser


def run(
    rows: Callable[[Namespace], Iterator[Row]], parser: ArgumentParser, alone: Callable[..., Any] | None = None
) -> None:
    """Print the rows that ``rows`` gives for the parsed options, and write them where ``--json`` says.

    ``alone`` is what ``apart`` calls in a process of its own.
    """
    options = parser.parse_args()
    if options.alone and alone:
        print(json.dumps(alone(*options.alone)))
        return
    _begin_anew({"OMP_NUM_THREADS": str(options.threads), "OMP_WAIT_POLICY": "passive"})
    import torch  # here, so that what is called alone does without

    torch.manual_seed(0)
    print(environment_line(), flush=True)
    found = []
    for row in rows(options):
        found.append(row._replace(threads=options.threads))
        print(found[-1], flush=True)
    if options.json:
        write(options.json, found, environment())


def write(path: Path, rows: Iterable[Row], machine: Mapping[str, Any]) -> None:
    """Write what page.py makes the page from: the rows, the machine (as ``environment`` describes it), the date."""
    content = {"date": date.today().isoformat(), "machine": machine, "rows": [row._asdict() for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def _begin_anew(settings: dict[str, str]) -> None:
    """Replace this process by one with these variables from its start on, which is when OpenMP reads them.

    A thread that waits for the other one would count as busy; passive, it sleeps.
    """
    if settings.items() - os.environ.items():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **settings})


def cpu_seconds() -> float:
    """Sum up the CPU time of all threads of this process, and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def take_turns(sides: Mapping[str, Call], rounds: int, least: float = 0.05) -> dict[str, list[float]]:
    """Measure the CPU seconds of a call of each side, a round at a time, after a call of each that doesn't count.

    A side that takes less than ``least`` seconds is called more often in a turn, by what its second call took.
    """
    calls = dict.fromkeys(sides, 1)
    for name, call in sides.items():
        if _seconds(call, 1) < 1:
            calls[name] = max(math.ceil(least / max(_seconds(call, 1), 1e-7)), 1)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            seconds[name].append(_seconds(call, calls[name]))
    return seconds


def _seconds(call: Call, calls: int) -> float:
    start = cpu_seconds()
    for _ in range(calls):
        call()
    return (cpu_seconds() - start) / calls


def compare(
    options: Namespace,
    ours: Mapping[str, Call],
    peer: Call | None = None,
    *,
    unit: str = "ms",
    items: int = 1,
    note: str = "",
) -> Iterator[Row]:
    """Let each of ours, by its row's name, take turns with the peer: a row each.

    The unit is "ms", "s", or a rate such as "images/s"; a call handles so many ``items``.
    """
    sides = {**ours, "": peer} if peer else dict(ours)
    seconds = take_turns(sides, options.rounds)
    scale = 1000 if unit == "ms" else 1

    def figure(taken: Sequence[float]) -> float:
        each = median(taken) / items
        return 1 / each if unit.endswith("/s") else scale * each

    for name in ours:
        if peer is None:
            yield Row(name, figure(seconds[name]), unit=unit, note=note)
        else:
            pairs = zip(seconds[""], seconds[name], strict=True)
            ratio = median_interval([theirs / mine for theirs, mine in pairs])
            yield Row(name, figure(seconds[name]), figure(seconds[""]), ratio, unit, note=note)


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Find the median, and the order statistics that enclose that of the population at 95 % (all values below six)."""
    ordered, n = sorted(values), len(values)
    below, outside = 0.0, 0
    for i in range(n):
        below += math.comb(n, i) / 2**n
        if below > 0.025:
            break
        outside = i
    return median(ordered), ordered[outside], ordered[n - 1 - outside]


class Used(NamedTuple):
    """What a child process took, its own children included, and what it printed."""

    seconds: float
    mebibytes: float
    output: str


# Linux counts into a child's peak what its parent held when it started: the parent is a process that holds nothing.
_LAUNCHER = """
import json, os, sys
_, status, used = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)
figures = [used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]
print("\\n" + json.dumps([os.waitstatus_to_exitcode(status), *figures]), file=sys.stderr)
"""


def child(*command: str | Path) -> Used:
    """Run a command: its CPU seconds, the peak of its memory and its output. Raises RuntimeError where it fails."""
    launched = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *map(str, command)]
    done = subprocess.run(launched, capture_output=True, text=True, check=True)
    said, _, figures = done.stderr.rstrip().rpartition("\n")
    status, seconds, mebibytes = json.loads(figures)
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {status}:\n{done.stdout}{said}")
    return Used(seconds, mebibytes, done.stdout)


def apart(*words: str | Path) -> Any:
    """Call the ``alone`` that this script gave to ``run`` in a process of its own, and return what it returns."""
    return json.loads(child(sys.executable, sys.argv[0], "--alone", *words).output.splitlines()[-1])


def added_mebibytes(call: Call) -> float:
    """Measure the peak of this process's memory during a call above what it holds before: once a process."""
    held = _status("VmRSS")
    call()
    return _status("VmHWM") - held


def _status(field: str) -> float:
    """In MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

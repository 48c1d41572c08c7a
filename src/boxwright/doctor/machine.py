"""Cores and threads, memory, and disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from boxwright.data.cache import free_memory
from boxwright.doctor.parts import Advice, Part
from boxwright.environment import environment, usable_cores

_GB = 2**30
LITTLE_MEMORY = 2.0
"""GB that a training of lite320 takes with its images, about."""
LITTLE_SHARED = 0.25  # GB: batches of the workers go through it
LITTLE_DISK = 2.0  # GB: a run with its checkpoints, and exported models
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def examine_cores() -> Part:
    """Look at processor, cores and threads."""
    import torch

    found, cores, threads = environment(), usable_cores(), torch.get_num_threads()
    given = {name: os.environ[name] for name in _THREADS if name in os.environ}
    facts = {
        "processor": found["processor"] or found["platform"],
        "flags": found["cpu_flags"],
        "cores": os.cpu_count(),
        "usable cores": cores,
        "threads": threads,
        **given,
    }
    return Part(facts, tuple(thread_advice(cores, threads, given)))


def thread_advice(cores: int, threads: int, given: Mapping[str, str]) -> Iterator[Advice]:
    """Compare the number of threads with that of the cores; ``given``: environment variables that set it."""
    for name, value in given.items():
        first = value.partition(",")[0].strip()  # of nested levels, the outermost
        if not first.isdecimal() or int(first) == 0:
            yield Advice(f"{name}={value} is no number of threads", f"unset {name}, or export {name}={cores}")
        elif int(first) == 1 < cores:
            yield Advice(
                f"{name}=1: PyTorch may compute on one of {cores} cores", f"unset {name}, or export {name}={cores}"
            )
    if threads > cores:
        yield Advice(
            f"PyTorch computes with {threads} threads on {cores} usable cores, which is slower than {cores} threads",
            f"export OMP_NUM_THREADS={cores}",
        )


def examine_memory() -> Part:
    """Look at the machine's memory, and at that which worker processes share."""
    free, shared = free_memory() / _GB, free_memory(shared=True) / _GB
    facts = {"total GB": _rounded(_total()), "free GB": _rounded(free), "free GB shared": _rounded(shared)}
    return Part(facts, tuple(memory_advice(free, shared)))


def memory_advice(free: float, shared: float) -> Iterator[Advice]:
    """Judge free memory and shared memory, in GB."""
    if free < LITTLE_MEMORY:
        yield Advice(
            f"{free:.1f} GB of memory are free: trainings may be killed",
            "end other programs, or train with --set batch_size=8 --workers 0",
        )
    if shared < min(LITTLE_SHARED, free):
        yield Advice(
            f"/dev/shm has {shared * 1024:.0f} MB free: workers' batches don't fit",
            "in a container docker run --shm-size=2g, else train with --workers 0",
        )


def _total() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GB
    except (AttributeError, ValueError, OSError):
        return None


def examine_disk() -> Part:
    """Look at the free space where runs go by default, and where temporary files go."""
    free = {str(Path.cwd()): _free(Path.cwd()), tempfile.gettempdir(): _free(Path(tempfile.gettempdir()))}
    return Part({f"free GB in {place}": _rounded(space) for place, space in free.items()}, tuple(disk_advice(free)))


def disk_advice(free: Mapping[str, float]) -> Iterator[Advice]:
    """Judge the GB that are free, by place."""
    for place, space in free.items():
        if space < LITTLE_DISK:
            yield Advice(
                f"{space:.1f} GB are free in {place}: runs and exported models may not fit",
                "free some space, or write elsewhere: --out for runs, TMPDIR for temporary files",
            )


def _free(place: Path) -> float:
    return shutil.disk_usage(place).free / _GB


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)

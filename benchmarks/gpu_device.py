"""How the benchmarks of a GPU measure: milliseconds, memory, waits for the device."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

Call = Callable[[], Any]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(call: Call, device: torch.device, rounds: int) -> float:
    """The median of so many calls, each waited for, after two that don't count."""
    taken = []
    for turn in range(rounds + 2):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        if turn >= 2:
            taken.append(1000 * (time.perf_counter() - start))
    return median(taken)


def waits(call: Call, device: torch.device) -> int:
    """How often a call makes the host wait for the device; 0 on the CPU."""
    if device.type != "cuda":
        return 0
    wait(device)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def gibibytes(call: Call, device: torch.device) -> float:
    """The most memory that a call takes, with what is there already."""
    if device.type != "cuda":
        return 0.0
    torch.cuda.reset_peak_memory_stats(device)
    call()
    wait(device)
    return torch.cuda.max_memory_allocated(device) / 2**30

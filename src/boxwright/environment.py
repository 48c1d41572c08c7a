"""The environment of a run: versions, processor and commit, found without importing anything heavy."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from boxwright._version import __version__
from boxwright.errors import RecipeError

Device = Literal["auto", "cpu", "cuda", "xpu", "mps"]
"""The requested device; auto: a usable GPU if there is one."""

PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy")

# What decides the speed of convolutions on a CPU, of all that a processor lists; x86 names, then Arm names.
_CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16", "i8mm")


def check_device(asked: str) -> None:
    """Raise RecipeError for an unknown device name."""
    if asked not in get_args(Device):
        raise RecipeError(f"Expected device to be one of {', '.join(get_args(Device))} but got {asked!r}")


def choose_device(asked: Device) -> Literal["cpu", "cuda", "xpu"]:
    """Choose the kind of device to compute on; "auto": a usable GPU if there is one."""
    import torch

    check_device(asked)
    if asked == "mps":
        raise RecipeError("device mps has no float64, in which matching and NMS compare boxes: take device=cpu")
    current = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    here: Any = current.type if current is not None and current.type in ("cuda", "xpu") else "cpu"
    if asked not in ("auto", "cpu", here):
        raise RecipeError(f"device {asked} is not available here")
    return "cpu" if asked == "cpu" else here


def environment() -> dict[str, Any]:
    """Collect versions (None if not installed), platform, processor, its relevant flags, cores, and the commit.

    The commit is that of the git checkout that boxwright is imported from, None for a wheel.
    """
    model, flags = _processor(Path("/proc/cpuinfo"))
    return {
        "boxwright": __version__,
        "python": platform.python_version(),
        **{package: installed_version(package) for package in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": model,
        "cpu_flags": flags,
        "cores": usable_cores(),
        "commit": git_commit(Path(__file__).parents[2]),
    }


def environment_line() -> str:
    """Return ``environment`` in one line, for the command line, logs and reports."""
    found = environment()
    versions = ", ".join(f"{name} {found[name] or 'not installed'}" for name in ("boxwright", "python", *PACKAGES))
    cores = f"{found['cores']} core{'' if found['cores'] == 1 else 's'}"
    machine = " ".join([found["platform"], found["processor"], cores, *found["cpu_flags"]])
    commit = f"; commit {found['commit'][:12]}" if found["commit"] else ""
    return f"{versions}; {' '.join(machine.split())}{commit}"


def git_commit(checkout: Path) -> str | None:
    """Read the commit of a checkout's HEAD from its ``.git``; None if there is none."""
    try:
        folder = checkout / ".git"
        if folder.is_file():  # a worktree: the file names the folder, which names the common one
            folder = checkout / folder.read_text().removeprefix("gitdir:").strip()
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head
        name = head.removeprefix("ref:").strip()
        common = folder / "commondir"
        shared = folder / common.read_text().strip() if common.is_file() else folder
        loose = shared / name
        return loose.read_text().strip() if loose.is_file() else _packed(shared / "packed-refs", name)
    except (OSError, UnicodeDecodeError):
        return None


def _packed(path: Path, name: str) -> str | None:
    for line in path.read_text().splitlines():
        commit, _, ref = line.partition(" ")
        if ref == name:
            return commit
    return None


def installed_version(package: str) -> str | None:
    """Return the installed version of a package; None if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def usable_cores(limit: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Count the cores that this process may use: its affinity, and the whole cores of its control group's ``limit``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, limit.read_text().split())
    except (OSError, ValueError):  # no such file, or "max"
        return cores
    return max(min(cores, quota // period), 1)


def _processor(cpuinfo: Path) -> tuple[str, list[str]]:
    """Return model name and relevant flags of the first processor that Linux lists; elsewhere what Python knows."""
    try:
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return platform.processor(), []
    pairs = (line.partition(":") for line in first.splitlines())
    fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    flags = set((fields.get("flags") or fields.get("features") or "").split())
    return fields.get("model name", ""), [flag for flag in _CPU_FLAGS if flag in flags]

"""GPUs: which PyTorch can use, and why it can't use one that is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boxwright.doctor.parts import Advice, Part
from boxwright.environment import choose_device

_NVIDIA = "0x10de"
_DISPLAY = "0x03"  # of the PCI classes: graphics cards, those without an outlet too
_GB = 2**30


def examine_devices(system: Path = Path("/")) -> Part:
    """Look at the GPUs, and at the arithmetic that ``precision=auto`` finds."""
    import torch

    from boxwright.training.precision import bf16_available, fp16_is_fast

    chosen = choose_device("auto")
    card, driver = nvidia_card(system), (system / "proc/driver/nvidia/version").is_file()
    facts: dict[str, Any] = {
        "device=auto": chosen,
        "bf16": bf16_available(chosen),
        "fp16": fp16_is_fast(chosen),
        "GPUs": [_gpu(place) for place in range(torch.cuda.device_count())] if chosen == "cuda" else [],
        "NVIDIA card": card,
        "NVIDIA driver": driver,
    }
    build = torch.version.cuda
    return Part(facts, tuple(gpu_advice(card=card, driver=driver, build=build, usable=chosen != "cpu")))


def nvidia_card(system: Path) -> bool | None:
    """Tell whether an NVIDIA graphics card is plugged in; None where the system doesn't say, as in many containers."""
    devices = system / "sys/bus/pci/devices"
    if not devices.is_dir():
        return None
    return any(
        _content(device / "vendor") == _NVIDIA and _content(device / "class").startswith(_DISPLAY)
        for device in devices.iterdir()
    )


def _content(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def gpu_advice(*, card: bool | None, driver: bool, build: str | None, usable: bool) -> Iterator[Advice]:
    """Say why a GPU is not used; ``build``: the version of CUDA that PyTorch is built for, None for none."""
    if usable or not (card or driver):
        return
    if build is None:
        yield Advice(
            "there is an NVIDIA card, but this PyTorch is built for processors alone",
            "install a PyTorch built for CUDA: pytorch.org/get-started shows the command",
        )
    elif not driver:
        yield Advice(
            "there is an NVIDIA card, but its driver is not loaded",
            "install the driver, or give the container the GPU: docker run --gpus all",
        )
    else:
        yield Advice(
            f"NVIDIA card and driver are there, but PyTorch (built for CUDA {build}) can't use them",
            "see what nvidia-smi says: the driver may be too old, or CUDA_VISIBLE_DEVICES may hide the card",
        )


def _gpu(place: int) -> dict[str, Any]:
    import torch

    found = torch.cuda.get_device_properties(place)
    free = torch.cuda.mem_get_info(place)[0]
    capability = f"{found.major}.{found.minor}"
    return {
        "name": found.name,
        "capability": capability,
        "total GB": round(found.total_memory / _GB, 1),
        "free GB": round(free / _GB, 1),
    }

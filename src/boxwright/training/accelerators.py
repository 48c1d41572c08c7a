"""Devices for Lightning by kind: its own, and Intel's GPUs, which it does not know."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy

from boxwright.errors import RecipeError
from boxwright.training.distributed import Ranks


class XpuAccelerator(Accelerator):
    """Device of a kind that torch supports and Lightning does not."""

    kind: ClassVar[str] = "xpu"

    def setup_device(self, device: torch.device) -> None:
        """Make it the current one."""
        torch.get_device_module(self.kind).set_device(device)

    def teardown(self) -> None:
        """Do nothing: memory is freed when the process ends."""

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        """Return no statistics."""
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        """Return the number of devices unchanged."""
        return devices

    @classmethod
    def get_parallel_devices(cls, devices: int) -> list[torch.device]:
        """Return the first devices."""
        return [torch.device(cls.kind, place) for place in range(devices)]

    @classmethod
    def auto_device_count(cls) -> int:
        """Count the devices of this machine."""
        return int(torch.get_device_module(cls.kind).device_count())

    @classmethod
    def is_available(cls) -> bool:
        """Tell whether this machine has one."""
        return bool(torch.get_device_module(cls.kind).is_available())

    @classmethod
    def name(cls) -> str:
        """Return the kind's name."""
        return cls.kind


def device_options(device: str, ranks: Ranks) -> dict[str, Any]:
    """Return Lightning's options for a training's device; raises RecipeError for several processes on xpu."""
    if device != XpuAccelerator.kind:
        return {"accelerator": device, **ranks.trainer_options()}
    if ranks.world > 1:
        raise RecipeError("Expected one process on xpu but got several: they need device=cuda or device=cpu")
    return {"strategy": SingleDeviceStrategy(torch.device(device, 0), XpuAccelerator()), "devices": 1}

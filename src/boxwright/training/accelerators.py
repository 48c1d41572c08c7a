"""What Lightning trains on, by the kind of device: its own, and Intel's GPUs, which it doesn't know."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy

from boxwright.errors import RecipeError
from boxwright.training.distributed import Ranks


class XpuAccelerator(Accelerator):
    """A device of a kind that torch has and Lightning hasn't."""

    kind: ClassVar[str] = "xpu"

    def setup_device(self, device: torch.device) -> None:
        """Make it the current one."""
        torch.get_device_module(self.kind).set_device(device)

    def teardown(self) -> None:
        """Nothing is left to do: the process's end gives the memory back."""

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        """None are kept."""
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        """A number of devices as it is."""
        return devices

    @classmethod
    def get_parallel_devices(cls, devices: int) -> list[torch.device]:
        """The first ones."""
        return [torch.device(cls.kind, place) for place in range(devices)]

    @classmethod
    def auto_device_count(cls) -> int:
        """Devices of this machine."""
        return int(torch.get_device_module(cls.kind).device_count())

    @classmethod
    def is_available(cls) -> bool:
        """Whether this machine has one."""
        return bool(torch.get_device_module(cls.kind).is_available())

    @classmethod
    def name(cls) -> str:
        """The kind's name."""
        return cls.kind


def device_options(device: str, ranks: Ranks) -> dict[str, Any]:
    """Tell Lightning what the processes of a training are on. Raises RecipeError for several on xpu."""
    if device != XpuAccelerator.kind:
        return {"accelerator": device, **ranks.trainer_options()}
    if ranks.world > 1:
        raise RecipeError("Expected one process on xpu but got several: they need device=cuda or device=cpu")
    return {"strategy": SingleDeviceStrategy(torch.device(device, 0), XpuAccelerator()), "devices": 1}

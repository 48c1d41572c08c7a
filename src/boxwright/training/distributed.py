"""The processes of a training, as started by torchrun: each reads its rank from the environment."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import torch

from boxwright.errors import RecipeError

AGREE_EVERY = 10
"""Steps between agreements of the processes on time and stopping, for which all wait for their devices."""


T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process's place among all of a training."""

    rank: int = 0
    world: int = 1
    on_machine: int = 1
    """Processes on this machine."""

    @classmethod
    def of_environment(cls) -> Ranks:
        """Read RANK, WORLD_SIZE and LOCAL_WORLD_SIZE, which torchrun sets; without them there is one process."""
        world = int(os.environ.get("WORLD_SIZE", 1))
        if "RANK" not in os.environ or world == 1:
            return cls()
        return cls(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_WORLD_SIZE", world)))

    @property
    def first(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.rank == 0

    def device(self, accelerator: str) -> torch.device:
        """Return the device of this process: the GPU of its number on this machine."""
        return torch.device("cuda", self.rank % self.on_machine) if accelerator == "cuda" else torch.device("cpu")

    def least(self, number: int, accelerator: str) -> int:
        """Return the smallest of all processes' numbers."""
        if self.world == 1:
            return number
        numbers = torch.tensor(number, device=self._begun(accelerator))
        torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MIN)
        return int(numbers)

    def of_first(self, number: int, accelerator: str) -> int:
        """Return the first process's number; the others wait for it."""
        if self.world == 1:
            return number
        numbers = torch.tensor(number, device=self._begun(accelerator))
        torch.distributed.broadcast(numbers, src=0)
        return int(numbers)

    def gather(self, mine: T, accelerator: str) -> list[T]:
        """Gather the values of this machine's processes, in order of rank."""
        if self.on_machine == 1:
            return [mine]
        self._begun(accelerator)
        given: list[Any] = [None] * self.on_machine
        torch.distributed.all_gather_object(given, mine, _group_of_machine(self.world, self.on_machine))
        return given

    def _begun(self, accelerator: str) -> torch.device:
        """Start the process group that the trainer will use; return this process's device.

        Before that processes can do different things; after it they take part in each other's sums.
        """
        device = self.device(accelerator)
        if accelerator == "cuda":
            torch.cuda.set_device(device)
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if accelerator == "cuda" else "gloo")
            atexit.register(torch.distributed.destroy_process_group)
        return device

    def check(self, batch_size: int | Literal["auto"]) -> None:
        """Raise RecipeError unless the batch can be divided evenly; auto always can."""
        if batch_size != "auto" and batch_size % self.world:
            raise RecipeError(
                f"Expected batch_size to be a multiple of the {self.world} processes but got {batch_size}"
            )

    def trainer_options(self) -> dict[str, Any]:
        """Return the options of Lightning's Trainer."""
        if self.world == 1:
            return {"devices": 1}
        return {"devices": self.on_machine, "num_nodes": self.world // self.on_machine, "strategy": "ddp"}


@cache
def _group_of_machine(world: int, on_machine: int) -> Any:
    """Make the group of this machine's processes; all processes of the training take part."""
    machines = torch.arange(world).view(-1, on_machine).tolist()
    return torch.distributed.new_subgroups_by_enumeration(machines, backend="gloo")[0]

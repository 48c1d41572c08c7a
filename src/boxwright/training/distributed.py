"""The processes of a training, as torchrun starts them: each knows its rank from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from boxwright.errors import RecipeError


@dataclass(frozen=True)
class Ranks:
    """This process among all of a training."""

    rank: int = 0
    world: int = 1
    on_machine: int = 1
    """Processes on this machine."""

    @classmethod
    def of_environment(cls) -> Ranks:
        """RANK, WORLD_SIZE and LOCAL_WORLD_SIZE, which torchrun sets; one process where it didn't."""
        world = int(os.environ.get("WORLD_SIZE", 1))
        if "RANK" not in os.environ or world == 1:
            return cls()
        return cls(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_WORLD_SIZE", world)))

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def check(self, batch_size: int) -> None:
        """Raise RecipeError unless the batch can be shared out evenly."""
        if batch_size % self.world:
            raise RecipeError(
                f"Expected batch_size to be a multiple of the {self.world} processes but got {batch_size}"
            )

    def trainer_options(self) -> dict[str, Any]:
        """What Lightning's Trainer has to know."""
        if self.world == 1:
            return {"devices": 1}
        return {"devices": self.on_machine, "num_nodes": self.world // self.on_machine, "strategy": "ddp"}

"""Starting the processes of a training on one machine, one a GPU, as torchrun does."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from uuid import uuid4

from boxwright._util.stopping import stop_by
from boxwright.environment import usable_cores
from boxwright.errors import BoxwrightError, RecipeError

_SECONDS_TO_END = "600"  # for a step, a validation and the checkpoint; torch's own are 30


def started_by(gpus: int) -> bool:
    """Tell whether this process is one of ``gpus`` processes that were started together.

    Raises RecipeError where it is one of another number, as of torchrun's.
    """
    if "RANK" not in os.environ:
        return False
    if (world := os.environ.get("WORLD_SIZE")) != str(gpus):
        raise RecipeError(f"torchrun has started {world} processes, and --gpus {gpus} would start others: leave it out")
    return True


def launch_on_gpus(arguments: Sequence[str], gpus: int) -> int:
    """Run ``boxwright`` with these arguments in one process a GPU, and return the exit code.

    Raises RecipeError where there are fewer GPUs; else what ``launch`` raises.
    """
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus > there:
        raise RecipeError(f"Expected --gpus of at most {there}, as many as there are here, but got {gpus}")
    return launch([sys.executable, "-P", "-m", "boxwright", *arguments], gpus)


def launch(command: Sequence[str], processes: int) -> int:
    """Run a command in several processes that know each other, and return 0 or the code of the first that failed.

    SIGINT and SIGTERM are handed on to all of them, and raised as KeyboardInterrupt when they have ended. Raises
    BoxwrightError where one was ended by a signal of its own.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(usable_cores() // processes, 1)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", _SECONDS_TO_END)
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the processes say themselves what is wrong
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    try:
        elastic_launch(config, command[0])(*command[1:])
    except SignalException as error:
        raise stop_by(error.sigval) from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            raise BoxwrightError(f"process {rank} of {processes} was ended by {name}") from None
        return int(failure.exitcode)
    return 0

"""Memory that runs out is known by what numpy, torch and Python say of it, and nothing else is."""

import errno
import os

import numpy as np
import pytest
import torch

from boxwright._util.memory import is_out_of_memory, out_of_memory
from boxwright.errors import BoxwrightError, DataError

FAR_TOO_MUCH = 10**15


def of_numpy() -> object:
    return np.zeros(FAR_TOO_MUCH)


def of_torch() -> object:
    return torch.empty(FAR_TOO_MUCH)


def of_python() -> object:
    raise MemoryError


def of_cuda() -> object:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def of_cublas() -> object:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def of_fork() -> object:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


@pytest.mark.parametrize("take", [of_numpy, of_torch, of_python, of_cuda, of_cublas, of_fork])
def test_want_of_memory_is_one_line_with_the_cure(take: object) -> None:
    with (
        pytest.raises(BoxwrightError, match=r"^out of memory: a batch: take half$"),
        out_of_memory("a batch", "take half"),
    ):
        take()  # type: ignore[operator]


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("out of memory"), OSError("no space left")]
)
def test_other_errors_stay(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error), match=str(error)), out_of_memory("a batch", "take half"):
        raise error


def test_an_error_of_ours_is_none() -> None:
    assert not is_out_of_memory(DataError("x.jpg: out of memory"))

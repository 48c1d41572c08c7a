"""Puts this folder on the path, for what several tests share; the same examples at every run; torch left as found."""

import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Sums come out otherwise with another number of threads, so a test that changes it changes those after it."""
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """The compiler remembers sizes: what another test compiled for other ones is traced for any size, for hours."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()

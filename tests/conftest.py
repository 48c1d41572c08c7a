"""Puts this folder on the path, for what several tests share; holds every test to leaving torch as it found it."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Sums come out otherwise with another number of threads, so a test that changes it changes those after it."""
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before

"""The run that several test files export, and graphs that are made once."""

from collections.abc import Iterator

import pytest
from export_runs import graphs_kept, lively_run

from boxwright.runs import Run


@pytest.fixture(scope="module")
def kept_graphs() -> Iterator[None]:
    with graphs_kept():
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return lively_run(tmp_path_factory.mktemp("runs") / "tiny", "tiny-detector", vote=0.05)

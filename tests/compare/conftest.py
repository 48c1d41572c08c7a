"""The data set that comparisons of several test files train on."""

from pathlib import Path

import pytest

from comparison_builders import digits


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits(tmp_path_factory.mktemp("data") / "digits")

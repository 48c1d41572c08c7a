"""A training with maps beyond the backbone's goes on where it was stopped, to the same end."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from same_end import EndsAfter, assert_same_end

import boxwright as bw
from boxwright.demo_data import make_digits


@pytest.mark.slow
def test_a_stop_does_not_matter(tmp_path: Path) -> None:
    digits = make_digits(tmp_path / "digits", images={"train": 9, "val": 2}, size=64)
    common: dict[str, Any] = {"console": Console(quiet=True)}
    settings: dict[str, Any] = {
        "image_size": 96,
        "strides": (16, 32, 64),
        "width": 16,
        "batch_size": 4,
        "epochs": 2,
        "freeze": 4,
        "checkpoint_minutes": 0,
    }
    whole = bw.train(digits, out=tmp_path / "whole", **settings, **common)
    with pytest.raises(KeyboardInterrupt):
        bw.train(digits, out=tmp_path / "stopped", callbacks=[EndsAfter(3)], **settings, **common)
    again = bw.train(digits, resume=tmp_path / "stopped", **common)
    assert again.recipe.strides == (16, 32, 64)
    assert_same_end(whole, again)

"""What a comparison is asked for is checked before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.compare import CompareOptions
from boxwright.errors import RecipeError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "slurm"}, "Expected executor to be one of local, ray but got 'slurm'"),
        ({"tier": "half"}, "Expected tier to be one of full, frozen but got 'half'"),
        ({"box_weights": "free"}, "Expected box_weights to be one of equal, fixed but got 'free'"),
        ({"device": "gpu"}, "Expected device to be one of auto, cpu, cuda, xpu, mps but got 'gpu'"),
        ({"seeds": 0}, "Expected seeds above 0 but got 0"),
        ({"minutes": 1.0, "steps": 1}, "Expected minutes or steps but got both"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        CompareOptions(**options)

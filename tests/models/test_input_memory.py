"""An input that can't be there is refused before any memory goes."""

import pytest

from boxwright.errors import RecipeError
from boxwright.models import build_detector, memory
from boxwright.models.memory import check_input
from boxwright.recipes import get_recipe


@pytest.mark.parametrize(
    ("settings", "images", "needed"),
    [
        ({}, 10**9, "a batch of 1000000000 inputs of 320 x 320 pixels takes 1.36 PB"),
        ({"resize": "shortest"}, 10**6, "320 x 1333 pixels takes 5.82 TB"),
        ({"image_size": 3_200_000}, 1, "an input of 3200000 x 3200000 pixels takes 140 TB"),
        ({"image_size": 3_200_000}, 8, "make image_size smaller"),
    ],
)
def test_absurd_inputs_are_refused(settings: dict[str, object], images: int, needed: str) -> None:
    with pytest.raises(RecipeError, match=needed):
        check_input(get_recipe("lite320", **settings), images)


def test_a_batch_that_just_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = get_recipe("lite320", image_size=64)
    monkeypatch.setattr(memory, "free_memory", lambda: 8 * 64 * 64 * 15)
    check_input(recipe, 8)
    with pytest.raises(RecipeError, match=r"make batch_size smaller \(accumulate=N"):
        check_input(recipe, 9)


def test_no_network_is_built_for_it() -> None:
    with pytest.raises(RecipeError, match="make image_size smaller"):
        build_detector(get_recipe("lite320", classes=["a"], image_size=3_200_000), pretrained=False)

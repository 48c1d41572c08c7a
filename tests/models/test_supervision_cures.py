"""A combination of parts that is refused says which key to change, and the change works."""

import re

import pytest

from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from boxwright.recipes.criterion import build_criterion


@pytest.mark.parametrize(
    ("detector", "settings"),
    [
        ("lite320", {"class_loss": "cross_entropy"}),
        ("lite320", {"class_loss": "sigmoid_focal"}),
        ("lite320", {"box_loss": "smooth_l1"}),
        ("ssd300", {"coder": "distribution"}),
        ("ssd300", {"normalizer": "quality"}),
        ("faster-rcnn", {"matcher": "atss"}),
    ],
)
def test_the_cure_works(detector: str, settings: dict[str, str]) -> None:
    recipe = get_recipe(detector, classes=("cat", "dog"), **settings)
    with pytest.raises(RecipeError, match="choose") as refused:
        build_criterion(recipe)
    cures = dict(re.findall(r"(\w+)=([a-z_]+)", str(refused.value).partition("choose")[2]))
    assert cures
    for key, value in cures.items():
        if key not in settings or len(cures) == 1:
            build_criterion(recipe.replace(**{key: value}))

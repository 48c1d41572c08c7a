"""One registration makes a detector known everywhere."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from torch import nn

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.models.anchoring import one_a_cell
from boxwright.models.backbones import make_backbone
from boxwright.models.detector import Network
from boxwright.models.heads import init_bias, init_deltas
from boxwright.models.lite import LiteNet
from boxwright.recipes import DetectorSpec, Recipe, find_detector, get_recipe, list_recipes
from boxwright.recipes.builtin import DETECTORS


def build_own(recipe: Recipe, columns: int, coder: Any, pretrained: bool | str) -> Network:
    backbone = make_backbone(recipe, recipe.strides, pretrained)
    net = LiteNet(backbone, init_bias(columns, len(recipe.classes)), init_deltas(coder), recipe.width)
    return Network(net, one_a_cell(recipe), backbone.mean, backbone.std)


OWN = DetectorSpec(
    "own",
    build=build_own,
    recipe={
        "image_size": 64,
        "strides": (16,),
        "anchors": "squares:scale=4",
        "backbone": "tf_efficientnet_lite0",
        "epochs": 1,
        "batch_size": 2,
        "lr": 0.1,
    },
    without=("distances",),
)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> DetectorSpec:
    monkeypatch.setitem(DETECTORS, "own", OWN)
    return OWN


def test_a_spec_is_all_that_a_detector_takes(own: DetectorSpec) -> None:
    assert "own" in list_recipes()
    detector = bw.create_detector("own", 3, pretrained=False)
    assert isinstance(detector.net, nn.Module)
    assert len(detector.anchors) == 16
    assert detector.recipe.lr == 0.1
    with pytest.raises(RecipeError, match="distances has no meaning for own"):
        get_recipe("own", distances="relu")
    with pytest.raises(RecipeError, match="rpn_miner has no meaning for own"):
        get_recipe("own", rpn_miner="none")


@pytest.mark.parametrize("name", DETECTORS)
def test_every_spec_names_a_builder_and_known_keys(name: str) -> None:
    spec = find_detector(name)
    module, _, function = str(spec.build).partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))
    known = {item.name for item in fields(Recipe)}
    assert spec.foreign_keys < known
    assert not spec.foreign_keys & {"image_size", "matcher", "epochs"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": None}, "the recipe of detector 'own' lacks image_size"),
        ({"lrr": 1}, "detector 'own': unknown recipe key 'lrr'; did you mean 'lr'"),
        ({"lr": "fast"}, "Expected lr to be float but got 'fast'"),
    ],
)
def test_a_spec_whose_recipe_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    recipe: Any = {key: value for key, value in {**OWN.recipe, **changes}.items() if value is not None}
    monkeypatch.setitem(DETECTORS, "own", replace(OWN, recipe=recipe))
    with pytest.raises(RecipeError, match=message):
        get_recipe("own")


@pytest.mark.parametrize("name", ["ssd30", "", "[a]"])
def test_an_unknown_detector_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="unknown detector"):
        get_recipe("lite320", detector=name)

"""A detector and a backbone from one file outside the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.own_code import import_code
from boxwright.recipes import find_detector, get_recipe
from command_line import Boxwright

SOURCE = """
import torch
from torch import nn

import boxwright as bw
from boxwright.models import make_backbone
from boxwright.models.detector import Network
from boxwright.types import FeatureMap


@bw.backbone
class Small(nn.Module):
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, strides):
        super().__init__()
        self.maps = [FeatureMap(16, stride) for stride in strides]
        self.stages = nn.ModuleList(nn.Conv2d(a, 16, 3, s, 1) for a, s in ((3, 4), (16, 2)))

    def load(self, pretrained):
        pass

    def forward(self, images):
        return [self.stages[1](self.stages[0](images).relu()).relu()]


class OneMap(nn.Module):
    def __init__(self, backbone, num_outputs, size):
        super().__init__()
        self.backbone = backbone
        self.logits, self.deltas = nn.Conv2d(16, num_outputs, 1), nn.Conv2d(16, size, 1)

    def forward(self, images):
        (x,) = self.backbone(images)
        return [head(x).flatten(2).transpose(1, 2) for head in (self.logits, self.deltas)]


def build(recipe, num_outputs, coder, pretrained):
    backbone = make_backbone(recipe, (8,), pretrained)
    spec = bw.anchors.AnchorSpec.squares((8,), 3.0)
    return Network(OneMap(backbone, num_outputs, coder.dim), spec, backbone.mean, backbone.std)


ONE_MAP = bw.DetectorSpec(
    "one-map",
    build=build,
    recipe={
        "backbone": Small,
        "image_size": 64,
        "strides": (8,),
        "anchors": "squares:scale=3",
        "matcher": "points",
        "class_loss": "sigmoid_focal",
        "epochs": 2,
        "batch_size": 4,
        "lr": 0.01,
    },
    without=("width",),
)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the file in it."""
    (tmp_path / "one_map.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("one_map", None)


def test_code_is_imported_only_by_those_who_name_it(folder: Path) -> None:
    with pytest.raises(RecipeError, match="code of the module one_map, which no recipe may import by itself"):
        get_recipe("one_map:ONE_MAP")
    (folder / "r.yaml").write_text("detector: one_map:ONE_MAP")
    with pytest.raises(RecipeError, match=r"r\.yaml: detector is one_map:ONE_MAP, code of the module one_map"):
        get_recipe(folder / "r.yaml")
    assert "one_map" not in sys.modules
    import_code(["one_map"])
    assert get_recipe(folder / "r.yaml") == get_recipe("one_map:ONE_MAP")
    assert get_recipe("one_map:ONE_MAP").backbone == "one_map:Small"
    assert find_detector("one_map:ONE_MAP").name == "one-map"
    with pytest.raises(RecipeError, match="width has no meaning for one_map:ONE_MAP"):
        get_recipe("one_map:ONE_MAP", width=5)
    with pytest.raises(RecipeError, match="Expected detector one_map:build to be a DetectorSpec but got function"):
        get_recipe("one_map:build")
    with pytest.raises(RecipeError, match="no TWO_MAPS"):
        get_recipe("one_map:TWO_MAPS")
    with pytest.raises(RecipeError, match="one_map:build is no backbone"):
        bw.create_detector("one_map:ONE_MAP", 2, backbone="one_map:build")


def test_it_predicts_and_freezes(folder: Path) -> None:
    import_code(["one_map"])
    detector = bw.create_detector("one_map:ONE_MAP", 3, freeze=1)
    assert len(detector.anchors) == 64
    assert [p.requires_grad for p in detector.net.backbone.parameters()] == [False, False, True, True]
    with pytest.raises(RecipeError, match=r"freeze in 0\.\.2"):
        bw.create_detector("one_map:ONE_MAP", 3, freeze=3)
    mixed = bw.create_detector("tiny-detector", 3, backbone="one_map:Small", strides=[32], pretrained=False)
    assert mixed.net.backbone.maps[0].stride == 32


@pytest.mark.slow
def test_every_command_takes_it(folder: Path, boxwright: Boxwright) -> None:
    data = make_digits(folder / "digits", images={"train": 8, "val": 4, "test": 2}, size=64)
    assert "[one_map:ONE_MAP]" in boxwright("recipe", "show", "one_map:ONE_MAP", "--sizes").out
    code, out, err = boxwright("train", data, "--recipe", "one_map:ONE_MAP", "--set", "epochs=1")
    assert code == 0, out + err
    run = Path("runs") / "digits-one-map"
    assert yaml.safe_load((run / "recipe.yaml").read_text())["detector"] == "one_map:ONE_MAP"
    sys.modules.pop("one_map")
    assert "--allow-code one_map" in boxwright("predict", run, data / "images" / "test").err
    code, out, err = boxwright("predict", run, data / "images" / "test", "--allow-code", "one_map")
    assert code == 0, out + err
    arms = ("--vary", "box_loss=smooth_l1,giou", "--seeds", 1, "--steps", 2)
    code, out, err = boxwright("compare", data, "--recipe", "one_map:ONE_MAP", *arms)
    assert code == 0, out + err

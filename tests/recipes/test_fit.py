"""What the images decide: nothing where the recipe fits them, and where it doesn't, what then does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.anchors import make_anchors
from boxwright.data import DIFFICULT, DetectionDataset
from boxwright.data.dataset import LeftOut, Regions
from boxwright.data.files import Strings
from boxwright.errors import RecipeError
from boxwright.inspect.supervision import examine
from boxwright.models import build_detector
from boxwright.models.anchoring import one_a_cell
from boxwright.recipes import Recipe, get_recipe
from boxwright.recipes.fit import MANY, Decision, decide
from boxwright.recipes.keys import DECIDED_KEYS

Box = tuple[float, float, float, float]
USUAL = get_recipe("lite320")


def data(
    images: Sequence[Sequence[Box]],
    shape: tuple[int, int] | Sequence[tuple[int, int]] = (640, 640),
    labels: Sequence[Sequence[int]] | None = None,
    code: int = 0,
) -> DetectionDataset:
    """Images with boxes as (x, y, width, height), shares of the image."""
    shapes = [shape] * len(images) if len(np.shape(shape)) == 1 else shape
    sizes = np.array(shapes, np.int32).reshape(-1, 2)
    counts = [len(boxes) for boxes in images]
    xywh = np.array([box for boxes in images for box in boxes], np.float64).reshape(-1, 4)
    xywh *= np.repeat(np.tile(sizes[:, ::-1], 2), counts, 0).reshape(-1, 4)
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1).astype(np.float32)
    given = np.zeros(len(xywh), np.int64) if labels is None else np.concatenate([np.array(x, int) for x in labels])
    classes = tuple(f"c{label}" for label in range(int(given.max(initial=0)) + 1))
    names = Strings.pack(f"{place}.jpg" for place in range(len(images)))
    return DetectionDataset(
        root=Path("nowhere"),
        layout="coco",
        split="train",
        classes=classes,
        names=names,
        paths=names,
        files=names,
        sizes=sizes,
        image_ids=np.arange(len(images)),
        offsets=np.cumsum([0, *counts]),
        boxes=boxes,
        labels=given,
        code=np.full(len(xywh), code, np.uint8),
        xywh=xywh,
        areas=xywh[:, 2:].prod(1),
        annotation_ids=np.arange(len(xywh)),
        numbers=np.arange(len(xywh)),
        category_ids=np.arange(len(classes)),
        has_images=True,
        left_out=LeftOut(),
        regions=Regions.none(len(images)),
    )


def squares(side: float, images: int = 200, each: int = 2) -> list[list[Box]]:
    """Objects of one size, as a share of the image's side."""
    return [[(0.0, 0.0, side, side)] * each for _ in range(images)]


def fit(dataset: DetectionDataset, recipe: str = "auto", **options: Any) -> tuple[Recipe, dict[str, Decision]]:
    length = {key: options.pop(key) for key in ("minutes", "steps") if key in options}
    decided, decisions = decide(get_recipe(recipe, **options), dataset, **length)
    assert not decided.undecided
    return decided, {each.key: each for each in decisions}


def changed(recipe: Recipe) -> dict[str, Any]:
    usual = USUAL.to_dict()
    return {key: value for key, value in recipe.to_dict().items() if value != usual[key] and key != "detector"}


def test_a_set_that_lite320_fits_leaves_it_as_it_is() -> None:
    recipe, decisions = fit(data(squares(0.2)))
    assert changed(recipe) == {}
    assert tuple(decisions) == DECIDED_KEYS
    assert all(decision.reason for decision in decisions.values())


@pytest.mark.parametrize(
    ("large", "side", "strides", "said"),
    [
        (0.05, 0.7, [8, 16, 32], "5 % larger than 128 px"),
        (0.62, 0.85, [8, 16, 32, 64], "62 % are larger than 128 px: a map of stride 64 added"),
        (1.0, 0.85, [8, 16, 32, 64], "100 % are larger than 128 px: a map of stride 64 added"),
    ],
)
def test_large_objects(large: float, side: float, strides: list[int], said: str) -> None:
    count = round(100 * large)
    recipe, decisions = fit(data(squares(side, count, 1) + squares(0.2, 100 - count, 1)))
    assert changed(recipe) == ({} if len(strides) == 3 else {"strides": strides})
    assert said in str(decisions["strides"])
    assert str(decisions["strides"]).startswith(f"strides={strides}".replace(" ", "") + ": of the objects at 320, ")


def test_a_few_that_are_far_too_large_for_any_anchor() -> None:
    assert fit(data(squares(0.9, 2) + squares(0.2, 98)))[0].strides == (8, 16, 32, 64)
    assert fit(data(squares(0.7, 2) + squares(0.2, 98)))[0].strides == (8, 16, 32)


def test_a_larger_input_has_room_for_more_maps() -> None:
    recipe, decisions = fit(data(squares(0.9)), image_size=640)
    assert recipe.strides == (8, 16, 32, 64, 128)
    assert "maps of stride 64 and 128 added" in decisions["strides"].reason
    assert "image_size" not in decisions


def test_small_objects_are_shown_larger() -> None:
    recipe, decisions = fit(data(squares(14 / 320)))
    assert changed(recipe) == {"image_size": 416}
    assert decisions["image_size"].reason == ("100 % of the objects are smaller than 16 px at 320, 0 % at 416")


def test_smaller_ones_yet_get_a_finer_map_too() -> None:
    recipe, decisions = fit(data(squares(6 / 320), (2000, 2000)))
    assert changed(recipe) == {"image_size": 640, "strides": [4, 8, 16, 32]}
    assert "100 % are smaller than 16 px: a map of stride 4 added" in decisions["strides"].reason


def test_no_input_has_more_pixels_than_the_images() -> None:
    recipe, decisions = fit(data(squares(12 / 320), (200, 300)))
    assert changed(recipe) == {"strides": [4, 8, 16, 32]}
    assert "but the images have no more than 300 px" in decisions["image_size"].reason


def test_a_short_training_has_no_time_for_a_larger_input() -> None:
    few = data(squares(14 / 320, 400))
    recipe, decisions = fit(few, minutes=2)
    assert recipe.image_size == 320
    assert "but 2 minutes are too few for 400 images of 416 px" in decisions["image_size"].reason
    assert "epochs" not in decisions
    assert recipe.epochs == USUAL.epochs
    assert fit(few, minutes=20)[0].image_size == 416


def test_squashed_images_of_unlike_aspects_would_make_objects_unlike() -> None:
    shapes = [(300, 900), (900, 300)] * 50
    alike = [[(0.0, 0.0, 60 / width, 60 * factor / height)] for (height, width), factor in
             zip(shapes, [1.0, 1.1, 1.2, 0.9] * 25, strict=True)]  # fmt: skip
    recipe, decisions = fit(data(alike, shapes))
    assert recipe.resize == "pad"
    assert "aspects from 0.33 to 3.00 would make those of the objects" in decisions["resize"].reason
    assert fit(data(alike, shapes), resize="squash")[0].resize == "squash"


def test_images_of_one_extreme_aspect_are_squashed_all_the_same_way() -> None:
    rng = np.random.default_rng(0)
    images = [[(0.1, 0.1, *rng.uniform(0.1, 0.2, 2))] for _ in range(100)]
    assert fit(data(images, (200, 2000)))[0].resize == "squash"


def test_long_objects_get_long_anchors() -> None:
    recipe, decisions = fit(data([[(0.0, 0.0, 0.6, 0.1)]] * 100))
    assert recipe.anchors == "shapes:levels=64x16 / 128x32 / 256x64"
    assert "half of the objects are 6.00 to 6.00 times as wide as high" in decisions["anchors"].reason
    boxes = [level.shapes for level in one_a_cell(recipe).levels]
    assert boxes == [((64, 16),), ((128, 32),), ((256, 64),)]
    assert fit(data([[(0.0, 0.0, 0.6, 0.1)], [(0.0, 0.0, 0.1, 0.6)]] * 100))[0].anchors == USUAL.anchors


def test_no_anchor_is_larger_than_all_objects() -> None:
    recipe, decisions = fit(data(squares(0.9)), "nano416", strides="auto", anchors="auto")
    assert recipe.strides == (8, 16, 32, 64)
    assert recipe.anchors == "shapes:levels=64x64 / 128x128 / 256x256 / 374.4x374.4"
    assert decisions["anchors"].reason == "the largest object has 374 px"


def test_a_rare_class_is_shown_again() -> None:
    labels = [[0]] * 195 + [[1]] * 5
    recipe, decisions = fit(data(squares(0.2, 200, 1), labels=labels))
    assert changed(recipe) == {"sampling": "repeat_factor:threshold=0.05"}
    assert decisions["sampling"].reason == "1 class (c1) in fewer than 5 % of them"
    assert fit(data(squares(0.2, 200, 1), labels=[[0]] * 190 + [[1]] * 10))[0].sampling == "uniform"


@pytest.mark.parametrize(("images", "epochs"), [(1, 300), (50, 120), (100, 60), (400, 60), (800, 30), (100_000, 12)])
def test_more_images_are_shown_less_often(images: int, epochs: int) -> None:
    dataset = data(squares(0.2, min(images, 800), 1))
    many = dataset.subset(np.arange(images) % len(dataset))
    assert fit(many, "lite320", epochs="auto")[0].epochs == epochs


def test_one_image_one_object() -> None:
    recipe, _ = fit(data([[(0.1, 0.1, 0.2, 0.2)]]))
    assert changed(recipe) == {"epochs": 300}


@pytest.mark.parametrize("dataset", [data([]), data([[]] * 300), data(squares(0.9, 300), code=DIFFICULT)])
def test_without_an_object_to_find_nothing_is_changed(dataset: DetectionDataset) -> None:
    recipe, decisions = fit(dataset, steps=10)
    assert changed(recipe) == {}
    assert decisions["strides"].reason == "there are no objects"


def test_images_whose_size_is_not_known_are_left_out() -> None:
    dataset = data(squares(0.7, 100), [(640, 640)] * 50 + [(0, 0)] * 50)
    assert fit(dataset)[0].strides == (8, 16, 32, 64)
    assert changed(fit(data(squares(0.7), (0, 0)))[0]) == {}


def test_what_is_given_is_kept() -> None:
    given = {"strides": (16, 32), "anchors": "squares:scale=5", "epochs": 7, "flip": "both", "resize": "pad"}
    recipe, decisions = fit(data(squares(0.9)), **given)
    assert {key: getattr(recipe, key) for key in given} == given
    assert list(decisions) == ["image_size", "sampling"]
    assert decide(recipe, data(squares(0.9))) == (recipe, [])


def test_other_detectors_decide_what_is_theirs_to_decide() -> None:
    large = data(squares(0.9, 800))
    recipe, _ = fit(large, "faster-rcnn", epochs="auto", resize="auto", flip="auto", sampling="auto")
    assert (recipe.epochs, recipe.resize, recipe.flip) == (30, "squash", "horizontal")
    for key in ("image_size", "anchors"):
        with pytest.raises(RecipeError, match=f"{key}=auto has no meaning for ssd300: its maps and anchors are given"):
            get_recipe("ssd300", **{key: "auto"})
    with pytest.raises(RecipeError, match="strides has no meaning for faster-rcnn"):
        get_recipe("faster-rcnn", strides="auto")


def test_anchors_that_are_no_squares_stay_as_they_are_given() -> None:
    recipe, decisions = fit(data(squares(0.9)), "lite320", anchors="shapes:levels=9x9 / 20x20 / 40x40", strides="auto")
    assert recipe.anchors == "shapes:levels=9x9 / 20x20 / 40x40"
    assert recipe.strides == (8, 16, 32)
    assert decisions["strides"].reason == "the anchors are given for these maps"


def test_nothing_but_a_training_takes_what_is_not_decided() -> None:
    recipe = get_recipe("auto", classes=["a"])
    with pytest.raises(RecipeError, match=r"^resize, .* flip: auto is decided by the images of a training"):
        build_detector(recipe, pretrained=False)
    with pytest.raises(RecipeError, match="auto is decided by the images"):
        recipe.input_size  # noqa: B018


sides = st.floats(0.005, 1.0)


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.tuples(sides, sides), max_size=5), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(20, 1500), st.integers(20, 1500)), min_size=12, max_size=12),
    st.one_of(st.none(), st.floats(0.1, 100)),
    st.sampled_from(["auto", "nano416"]),
)
def test_what_is_decided_is_legal_and_serves_the_objects(
    objects: list[list[tuple[float, float]]],
    shapes: list[tuple[int, int]],
    minutes: float | None,
    name: str,
) -> None:
    dataset = data([[(0.0, 0.0, w, h) for w, h in boxes] for boxes in objects], shapes[: len(objects)])
    options = {} if name == "auto" else dict.fromkeys(DECIDED_KEYS, "auto")
    recipe, _ = fit(dataset, name, **options, minutes=minutes)
    assert get_recipe(recipe.detector, **recipe.to_dict()) == recipe
    assert all(finer * 2 == coarser for finer, coarser in zip(recipe.strides, recipe.strides[1:], strict=False))
    assert recipe.image_size // 32 * 32 == recipe.image_size
    assert {8, 16, 32} <= set(recipe.strides) <= {4, 8, 16, 32, 64, 128}
    spec = one_a_cell(recipe)
    found = examine(dataset, recipe, make_anchors(spec, recipe.image_size))
    if not len(found):
        return
    anchors = np.array([level.shapes[0] for level in spec.levels])
    smallest, largest = np.sqrt(anchors.prod(1))[[0, -1]]
    assert recipe.strides[0] == 4 or (found.sides < smallest / 2 - 1e-3).mean() < MANY
    assert (found.sides > 2 * largest + 1e-3).mean() < 0.01
    width, height = (found.boxes[:, 2:] - found.boxes[:, :2]).T
    at_home = (found.sides >= smallest / 2) & (np.maximum(width / height, height / width) <= 2)
    if "squares" in recipe.anchors and at_home.any():
        shared = np.minimum(width[:, None], anchors[:, 0]) * np.minimum(height[:, None], anchors[:, 1])
        iou = shared / ((width * height)[:, None] + anchors.prod(1) - shared)
        assert iou.max(1)[at_home].min() >= 0.25 * 0.9

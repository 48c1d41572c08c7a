"""Anchors by k-means: planted sizes are found, small gains are refused, and what is suggested can be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_builders import small_recipe

from boxwright.boxes import box_iou
from boxwright.data import DetectionDataset, read_dataset
from boxwright.inspect import Suggestion, examine, k_means, suggest_anchors
from boxwright.inspect.suggest import Coverage, _judge, shape_iou
from boxwright.models import build_detector
from boxwright.recipes import Recipe, get_recipe, parse_settings
from dataset_builders import Box, write_voc


def test_shapes_about_one_center_overlap_as_boxes_do() -> None:
    import torch

    rng = np.random.default_rng(0)
    sizes, centers = rng.uniform(1, 50, (6, 2)), rng.uniform(1, 50, (4, 2))
    boxes = [torch.from_numpy(np.concatenate([-s / 2, s / 2], 1)) for s in (sizes, centers)]
    assert shape_iou(sizes, centers) == pytest.approx(box_iou(*boxes).numpy())


def test_planted_sizes_are_found() -> None:
    rng = np.random.default_rng(1)
    planted = np.array([[8.0, 20], [30, 30], [60, 25], [90, 120]])
    sizes = np.repeat(planted, 50, 0) * rng.uniform(0.97, 1.03, (200, 2))
    found = k_means(sizes, 4)
    assert found == pytest.approx(planted, rel=0.02)  # by rising area, as planted
    assert (k_means(sizes, 4) == found).all()


@given(
    st.lists(st.tuples(st.floats(1, 300), st.floats(1, 300)), min_size=1, max_size=20),
    st.integers(1, 5),
)
def test_any_sizes_have_centers_within_them(sizes: list[tuple[float, float]], count: int) -> None:
    given_sizes = np.array(sizes)
    if len(sizes) < count:
        with pytest.raises(ValueError, match=f"Expected at least {count} sizes"):
            k_means(given_sizes, count)
        return
    centers = k_means(given_sizes, count)
    assert centers.shape == (count, 2)
    assert (centers >= given_sizes.min(0) - 1e-9).all()
    assert (centers <= given_sizes.max(0) + 1e-9).all()
    one = shape_iou(given_sizes, given_sizes.mean(0, keepdims=True)).mean()
    if count == 1:
        assert centers[0] == pytest.approx(given_sizes.mean(0))
    assert shape_iou(given_sizes, centers).max(1).mean() >= one - 0.25


def sized(root: Path, sides: list[tuple[float, float]], images: int = 60) -> DetectionDataset:
    """Two objects of each of these (w, h) an image, here and there."""
    rng = np.random.default_rng(2)
    content: dict[str, list[Box]] = {}
    for place in range(images):
        boxes = []
        for w, h in [*sides, *sides]:
            x, y = rng.uniform(0, 80 - w), rng.uniform(0, 60 - h)
            boxes.append(("cat", x, y, x + w, y + h))
        content[f"{place:03d}"] = boxes
    return read_dataset(write_voc(root, content), voc_one_based=False)


def suggested(dataset: DetectionDataset, recipe: Recipe) -> Suggestion:
    recipe = recipe.replace(classes=dataset.classes)
    detector = build_detector(recipe, pretrained=False)
    return suggest_anchors(dataset, recipe, examine(dataset, recipe, detector.anchors))


def test_fitted_anchors_are_suggested_where_they_gain(tmp_path: Path) -> None:
    dataset = sized(tmp_path, [(30, 10), (20, 35)])  # at 64 px: 24 x 10.7 and 16 x 37.3
    recipe = small_recipe(matcher="iou", anchors="squares:scale=4")
    found = suggested(dataset, recipe)
    assert found.before is not None
    assert found.after is not None
    assert found.after.mean_iou > found.before.mean_iou + 0.1
    settings = parse_settings([found.setting])
    better = recipe.replace(**settings)
    again = suggested(dataset, better)
    assert again.setting == ""
    assert "gains too little" in again.reason
    detector = build_detector(better.replace(classes=("cat",)), pretrained=False)
    width, height = detector.anchors.levels[0].shapes[0].tolist()
    assert (width, height) == pytest.approx((20, 24), rel=0.15)  # the mean of both sizes
    whole = examine(dataset, better, detector.anchors)
    odd = whole.image % 2 == 1
    assert float(whole.best_iou[odd].mean()) == pytest.approx(found.after.mean_iou, abs=1e-6)


def test_squares_of_the_right_size_are_left_alone(tmp_path: Path) -> None:
    found = suggested(sized(tmp_path, [(40, 30)]), small_recipe(matcher="iou"))  # 32 x 32 at 64 px
    assert found.setting == ""
    assert "gains too little" in found.reason


def test_too_few_objects(tmp_path: Path) -> None:
    found = suggested(sized(tmp_path, [(40, 30)], images=10), small_recipe())
    assert found == Suggestion("", "Fewer than 50 objects in a half of the images: too few to judge by.")


def test_points_have_no_shapes(tmp_path: Path) -> None:
    found = suggested(sized(tmp_path, [(40, 30)]), small_recipe(matcher="points"))
    assert "their shapes don't matter" in found.reason


def test_anchors_that_lose_objects_are_not_suggested() -> None:
    curve = ([0.0], [1.0])
    before, worse = Coverage(0.5, 0.5, 3.0, 0.0, curve), Coverage(0.6, 0.7, 3.0, 0.02, curve)
    refused = _judge("anchors=x", before, worse)
    assert refused.setting == ""
    assert "0 % -> 2 % of the objects without anchor" in refused.reason
    assert _judge("anchors=x", before, worse._replace(unmatched=0.004)).setting == "anchors=x"


def test_levels_without_objects_of_their_size_keep_their_anchors(tmp_path: Path) -> None:
    found = suggested(sized(tmp_path, [(30, 10), (20, 35)]), small_recipe(matcher="iou"))
    assert found.setting.endswith(" / 64x64 / 128x128")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lite320", "ssd300", "retinanet", "tiny-detector"])
def test_what_is_suggested_can_be_built(name: str, tmp_path: Path) -> None:
    extent = {"lite320": 10, "ssd300": 12, "retinanet": 6, "tiny-detector": 24}[name]
    dataset = sized(tmp_path, [(2.6 * extent, extent / 2), (extent / 2, 1.8 * extent)], images=120)
    recipe = get_recipe(name, pretrained=False, freeze=0, norm_mode="train", backbone="tf_efficientnet_lite0")
    found = suggested(dataset, recipe)
    assert found.setting, found.reason
    changed = recipe.replace(classes=dataset.classes, **parse_settings([found.setting]))
    build_detector(changed, pretrained=False)

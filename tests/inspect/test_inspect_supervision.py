"""What each object gets, against a loop over objects and anchors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from inspect_builders import small_recipe

from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.boxes import box_iou
from boxwright.data import NORMAL, DetectionDataset
from boxwright.data.loading import pad_targets
from boxwright.data.transforms import InputSize
from boxwright.errors import RecipeError
from boxwright.inspect import examine, inspect_supervision, supervision, write_page
from boxwright.matching import match_atss, match_iou
from boxwright.models import build_detector
from boxwright.recipes import get_recipe
from boxwright.runs import Run

ANCHORS = make_anchors(AnchorSpec.ssd((10, 20, 40, 60), (8, 16, 32), ((2,), (2,), (2,))), 64)
COUNTS = [level.count for level in ANCHORS.levels]


def by_loop(dataset: DetectionDataset, resize: str, match: object, threshold: float | None) -> list[tuple]:
    """(image, row, best IoU, positives by level, forced alone) of every object, one at a time."""
    found = []
    for place in range(len(dataset)):
        boxes, labels, code = dataset.target(place)
        frame = InputSize(64, resize).whole(*dataset.sizes[place].tolist())
        moved = torch.from_numpy(frame.to_input(boxes))
        matches = match(
            ANCHORS.boxes if threshold else ANCHORS,
            moved[None],
            torch.from_numpy(labels)[None],
            ignore=torch.from_numpy(code != NORMAL)[None],
        )
        for g in range(len(boxes)):
            if code[g] != NORMAL:
                continue
            mine = (matches.state[0] == 1) & (matches.gt_index[0] == g)
            levels, start = [], 0
            for count in COUNTS:
                levels.append(int(mine[start : start + count].sum()))
                start += count
            alone = bool(mine.any()) and threshold is not None and not (matches.iou[0][mine] >= threshold).any()
            best = float(box_iou(moved[g : g + 1], ANCHORS.boxes).max())
            found.append((place, int(dataset.offsets[place]) + g, best, levels, alone))
    return found


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.parametrize("force", ["bipartite", "ties", "last", "null"])
@pytest.mark.parametrize("chunk", [1, 1 << 21])
def test_every_object_is_told_as_a_loop_tells_it(
    dataset: DetectionDataset, resize: str, force: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_CHUNK", chunk)
    found = examine(dataset, small_recipe(resize=resize, matcher=f"iou:force={force}"), ANCHORS)
    rule = None if force == "null" else force

    def match(*given: object, **ignore: object) -> object:
        return match_iou(*given, force=rule, **ignore)

    expected = by_loop(dataset, resize, match, 0.5)
    assert len(found) == len(expected) > 20
    for n, (image, row, best, levels, alone) in enumerate(expected):
        assert (found.image[n], found.row[n]) == (image, row)
        assert found.best_iou[n] == pytest.approx(best, abs=1e-6)
        assert found.positives[n].tolist() == levels
        assert found.forced[n] == alone
    if rule:
        assert found.forced.any()
    assert found.ignored == int((dataset.code != NORMAL).sum()) > 0


def test_atss_forces_nothing(dataset: DetectionDataset) -> None:
    found = examine(dataset, small_recipe(), ANCHORS)
    expected = by_loop(dataset, "squash", match_atss, None)
    assert found.positives.tolist() == [levels for *_, levels, _ in expected]
    assert not found.forced.any()


def test_an_object_that_holds_no_center_has_no_anchor(dataset: DetectionDataset) -> None:
    found = examine(dataset, small_recipe(), make_anchors(AnchorSpec.squares((32,), 1.0), 64))
    centers = np.array([[x, y] for y in (16, 48) for x in (16, 48)])
    inside = (centers > found.boxes[:, None, :2]) & (centers < found.boxes[:, None, 2:])
    empty = ~inside.all(-1).any(1)
    assert empty.any()
    assert found.unmatched[empty].all()


def test_a_data_set_without_objects(dataset: DetectionDataset) -> None:
    found = examine(dataset.subset([0]), small_recipe(), ANCHORS)
    assert len(found) == 0
    assert found.positives.shape == (0, 3)
    none = examine(dataset.subset(np.zeros(0, int)), small_recipe(), ANCHORS)
    assert len(none) == 0


def test_an_image_of_unknown_size_is_left_out(dataset: DetectionDataset) -> None:
    lost = dataset.subset([1, 3])
    lost.sizes[0] = 0
    path = lost.path(0)
    hidden = path.rename(path.with_suffix(".hidden"))
    try:
        found = examine(lost, small_recipe(), ANCHORS)
    finally:
        hidden.rename(path)
    assert found.unread == (lost.name(0),)
    assert set(found.image.tolist()) == {1}


def test_what_cannot_be_shown_is_told(dataset: DetectionDataset) -> None:
    with pytest.raises(RecipeError, match="can't show matcher 'task_aligned'"):
        inspect_supervision(dataset, small_recipe(matcher="task_aligned"))
    with pytest.raises(RecipeError, match=r"matcher 'atss:top=0': Expected top >= 1"):
        inspect_supervision(dataset, small_recipe(matcher="atss:top=0"))


def test_inputs_of_any_size_are_refused_with_what_to_type(dataset: DetectionDataset) -> None:
    with pytest.raises(RecipeError, match=r"not those of resize=shortest: --set resize=pad"):
        inspect_supervision(dataset, small_recipe(resize="shortest"))


def test_of_two_stages_the_first_one_s_matching_is_shown(dataset: DetectionDataset) -> None:
    scratch = {"pretrained": False, "freeze": 0, "norm_mode": "train", "backbone": "tf_efficientnet_lite0"}
    recipe = get_recipe("faster-rcnn", image_size=128, width=16, hidden=16, **scratch)
    found = inspect_supervision(dataset, recipe)
    positives = left_aside = 0
    for place in range(len(dataset)):
        boxes, labels, ignore = dataset.supervised(place)
        moved = recipe.input_size.whole(*dataset.sizes[place].tolist()).to_input(boxes)
        targets = pad_targets([(moved, labels, ignore)])
        state = match_iou(
            found.supervision.anchors, *targets[:2], ignore=targets.ignore, positive=0.7, negative=0.3, force="ties"
        ).state
        positives, left_aside = positives + int((state == 1).sum()), left_aside + int((state == -1).sum())
    assert found.supervision.positives.sum() == positives > 0
    assert found.supervision.left_aside == left_aside > 0
    assert found.supervision.matched == len(dataset) * len(found.supervision.anchors)
    assert f"{100 * left_aside / found.supervision.matched:.2g} % of all anchors ignored" in found.headline
    assert not found.has_losses


def test_a_run_of_two_stages_opens_without_losses(dataset: DetectionDataset, tmp_path: Path) -> None:
    scratch = {"pretrained": False, "freeze": 0, "norm_mode": "train", "backbone": "tf_efficientnet_lite0"}
    recipe = get_recipe("faster-rcnn", image_size=128, width=16, hidden=16, classes=dataset.classes, **scratch)
    run = Run(tmp_path / "run")
    run.keep(build_detector(recipe, pretrained=False))
    found = inspect_supervision(dataset, run=run, examples=2)
    assert len(found.examples) == 2
    text = write_page(tmp_path / "page.html", found).read_text()
    assert "by faster-rcnn&#x27;s first stage</h1>" in text
    assert 'id="positive"' in text
    assert 'id="ratio"' not in text


@pytest.mark.parametrize(("resize", "shape"), [("squash", (60, 80)), ("pad", (640, 640))])
def test_examples_have_the_numbers_of_their_objects(
    dataset: DetectionDataset, resize: str, shape: tuple[int, int]
) -> None:
    found = inspect_supervision(dataset, small_recipe(resize=resize, matcher="iou"))
    assert sorted(e.place for e in found.examples) == list(range(8))
    for example in found.examples:
        mine = found.supervision.image == example.place
        assert example.picture.shape == (*shape, 3)
        assert example.best_iou[~example.ignore].tolist() == found.supervision.best_iou[mine].tolist()
        assert example.positives[~example.ignore].tolist() == found.supervision.positives[mine].sum(1).tolist()
        assert not example.positives[example.ignore].any()


def test_the_arrays_of_the_public_function(dataset: DetectionDataset) -> None:
    found = inspect_supervision(dataset, small_recipe(), examples=2)
    n = len(found.supervision)
    assert found.supervision.boxes.shape == (n, 4)
    assert found.recipe.classes == dataset.classes
    assert len(found.examples) == 2
    assert found.headline
    with pytest.raises(RecipeError, match="unknown recipe 'lite32'"):
        inspect_supervision(dataset, "lite32")
    assert get_recipe("lite320").classes == ()

"""Shared classes score the same after their rows are carried over; others are as a new head has them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from boxwright.models import Detector, TwoStageDetector, build_detector
from boxwright.models.class_rows import ClassRows, carry_rows, class_rows, plain_detector
from boxwright.recipes import get_recipe

SCRATCH = {"backbone": "tf_efficientnet_lite0", "pretrained": False, "freeze": 0, "norm_mode": "train"}
PYRAMID = {**SCRATCH, "image_size": 64, "max_size": 64, "width": 16}
DETECTORS: dict[str, dict[str, Any]] = {
    "lite320": {**SCRATCH, "image_size": 64, "width": 16},
    "lite320 with a softmax": {**SCRATCH, "image_size": 64, "width": 16, "class_loss": "cross_entropy"},
    "ssd300": SCRATCH,
    "ssd300 with a sigmoid": {**SCRATCH, "class_loss": "sigmoid_focal", "miner": "none"},
    "tiny-detector": SCRATCH,
    "retinanet": PYRAMID,
    "unitbox": {**PYRAMID, "centerness": True},
    "faster-rcnn": {**PYRAMID, "hidden": 16},
    "faster-rcnn with one box": {**PYRAMID, "hidden": 16, "box_per_class": False},
}
THEIRS, OURS = ("a", "b", "c"), ("c", "new", "a", "also new")
SHARED = {0: 2, 2: 0}  # label here -> there


def made(name: str, classes: tuple[str, ...], seed: int) -> Detector:
    torch.manual_seed(seed)
    return build_detector(get_recipe(name.partition(" ")[0], classes=classes, **DETECTORS[name])).eval()


def outputs(detector: Detector) -> tuple[Tensor, Tensor]:
    """Logits (n, K') and deltas (n, D) of the head that knows the classes, on the same features, in float64.

    Another number of columns may be summed in another order, so that equal rows give the same to rounding alone.
    """
    detector = copy.deepcopy(detector).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        if isinstance(detector, TwoStageDetector):
            logits, deltas = detector.net.roi(torch.rand(5, 16, 7, 7, generator=generator).double())
            return logits, deltas.view(5, -1, 4)
        size = detector.recipe.image_size
        found = detector(torch.rand(1, 3, size, size, generator=generator).double())
    return found.logits[0], found.deltas[0]


def same(values: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", DETECTORS)
def test_shared_classes_score_as_before_and_new_ones_as_in_a_new_head(name: str) -> None:
    start, detector = made(name, THEIRS, 1), made(name, OURS, 2)
    theirs, ours = start.state_dict(), detector.state_dict()
    rows = class_rows(detector, plain_detector(detector.recipe).state_dict())
    assert rows
    torch.testing.assert_close(made(name, OURS, 2).state_dict(), ours, rtol=0, atol=0)
    new = {key: carry_rows(rows[key], theirs[key], THEIRS, ours[key], OURS) for key in rows}
    detector.load_state_dict({key: new.get(key, theirs[key]) for key in ours})
    (logits, deltas), (before, deltas_before) = outputs(detector), outputs(start)
    for label, old in SHARED.items():
        same(logits[:, label], before[:, old])
    if start.softmax:
        same(logits[:, -1], before[:, -1])
    if name == "faster-rcnn":
        for label, old in SHARED.items():
            same(deltas[:, label], deltas_before[:, old])
    else:
        same(deltas, deltas_before)
    for key, value in new.items():
        assert value is not None
        changed = (value != ours[key]).flatten(1).any(1) if value.ndim > 1 else value != ours[key]
        blocks = changed.view(rows[key].groups, -1)
        each = rows[key].each
        assert not blocks[:, each : 2 * each].any()
        assert not blocks[:, 3 * each : 4 * each].any()


def test_carried_rows_by_hand() -> None:
    rows = ClassRows(groups=2, each=1, others=1)
    theirs = torch.tensor([1.0, 2, 3, 4, 5, 6])  # x y background, twice
    ours = torch.tensor([0.1, 0.2, 0.3, 0.4])  # y background, twice
    carried = carry_rows(rows, theirs, ["x", "y"], ours, ["y"])
    assert carried is not None
    assert carried.tolist() == [2, 3, 5, 6]
    assert carry_rows(rows, theirs, ["x"], ours, ["y"]) is None
    assert ours[0] == torch.tensor(0.1)


def test_the_trial_draws_nothing() -> None:
    recipe = get_recipe("lite320", classes=["a"], **DETECTORS["lite320"])
    torch.manual_seed(3)
    plain_detector(recipe)
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))

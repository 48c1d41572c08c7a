"""Weights with which box losses pull equally at the start."""

import pytest
import torch

from boxwright.compare.plan.equal_weights import box_gradients, equal_weights
from boxwright.data.loading import Batch
from boxwright.models import build_detector
from boxwright.recipes.criterion import build_criterion
from boxwright.types import Targets
from comparison_builders import recipe


def batch(seed: int, *, boxes: int = 3) -> Batch:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=random, dtype=torch.uint8)
    corners = 40 * torch.rand(2, boxes, 2, generator=random)
    sides = 8 + 16 * torch.rand(2, boxes, 2, generator=random)
    targets = Targets(
        torch.cat([corners, corners + sides], -1), torch.zeros(2, boxes).long(), torch.zeros(2, boxes).bool()
    )
    return Batch(images, targets, torch.arange(2), torch.full((2, 2), 64))


def test_with_the_weights_found_the_gradients_are_equal() -> None:
    torch.manual_seed(0)
    detector, batches = build_detector(recipe(), pretrained=False), [batch(0), batch(1)]
    names = ["giou", "ciou", "iou:mode=log", "focal_eiou:gamma=0.5"]
    criteria = {name: build_criterion(recipe(box_loss=name, box_weight=2.0)) for name in names}
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    gradients = box_gradients(detector, criteria, batches)
    assert len({round(value, 3) for value in gradients.values()}) > 1
    weights = equal_weights(gradients, "giou", 2.0)
    assert weights["giou"] == 2.0
    detector.load_state_dict(state)  # BatchNorm's statistics have followed the first pass
    weighted = {name: build_criterion(recipe(box_loss=name, box_weight=weights[name])) for name in names}
    equal = box_gradients(detector, weighted, batches)
    for name in names:
        assert equal[name] == pytest.approx(equal["giou"], rel=1e-3), name


def test_the_gradient_is_that_of_the_outputs() -> None:
    """By hand: the norm of d box / d deltas, mean over batches."""
    torch.manual_seed(0)
    detector = build_detector(recipe(), pretrained=False)
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    criterion, norms = build_criterion(recipe()), []
    for one in (batch(0), batch(1)):
        outputs = detector.train()(detector.normalize(one.images))
        outputs.deltas.retain_grad()
        criterion(detector.anchors, outputs, one.targets).box.backward()
        norms.append(outputs.deltas.grad.norm().item())
    detector.load_state_dict(state)
    found = box_gradients(detector, {"giou": criterion}, [batch(0), batch(1)])
    assert found["giou"] == pytest.approx(sum(norms) / 2, rel=1e-5)


def test_a_loss_without_gradient_gets_no_weight() -> None:
    detector = build_detector(recipe(), pretrained=False)
    gradients = box_gradients(detector, {"giou": build_criterion(recipe())}, [batch(0, boxes=0)])
    assert gradients == {"giou": 0.0}
    assert equal_weights(gradients, "giou", 2.0) == {}
    assert equal_weights({"a": 1.0, "b": 0.0}, "a", 2.0) == {"a": 2.0}

"""Every matcher, miner and loss that a recipe can name trains a detector that can take it."""

import pytest
import torch

import boxwright as bw
from boxwright.catalog import built_in
from boxwright.errors import RecipeError
from boxwright.models import build_detector
from boxwright.recipes import get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.types import Targets

CLASSES = ["a", "b", "c"]


def gradients(**options):
    """Of a small detector's heads, after one loss."""
    torch.manual_seed(0)
    recipe = get_recipe("lite320", image_size=64, width=16, classes=CLASSES, pretrained=False, freeze=0, **options)
    detector, criterion = build_detector(recipe), build_criterion(recipe)
    boxes = torch.tensor([[[4.0, 6, 40, 44], [30, 20, 62, 60]], [[10, 10, 50, 50], [0, 0, 0, 0]]])
    targets = Targets(boxes, torch.tensor([[0, 2], [1, -1]]), torch.zeros(2, 2, dtype=torch.bool))
    outputs = detector.train()(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    losses = criterion(detector.anchors, outputs, targets)
    losses.total.backward()
    return losses, [p.grad for p in detector.net.head.parameters() if p.grad is not None]


def hard_labels(**options):
    """Settings under which any loss on class indices works."""
    return {"class_loss": "sigmoid_focal", "normalizer": "positives", "matcher": "iou:force=bipartite", **options}


CASES = [
    *({"class_loss": name} for name in built_in("class_loss")),
    *({"class_loss": "ghm:momentum=0.75"}, {"class_loss": "sigmoid_focal:alpha=batch"}),
    *({"box_loss": name, "coder": "delta"} for name in built_in("box_loss")),
    *({"matcher": name} for name in built_in("matcher")),
    *({"miner": name} for name in built_in("miner")),
    {"box_loss": "mpdiou:image_size=100", "coder": "delta"},
    *({"miner": "hard_negatives:scope=batch,cutoff=tf"}, {"miner": "random_balanced:count=32"}),
    *({"class_weights": "a=1, c=2.5"}, {"class_weights": "inverse", "class_weights_over": "batch"}),
    {"class_weights": "a=2", "background_weight": None},
]


@pytest.mark.parametrize("options", CASES, ids=lambda options: " ".join(map(str, options.values())))
def test_trains(options):
    losses, grads = gradients(**hard_labels(**options))
    assert losses.total.isfinite()
    assert losses.total > 0
    assert losses.positives > 0
    assert all(grad.isfinite().all() for grad in grads)
    assert any(grad.abs().max() > 0 for grad in grads)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"class_loss": "cross_entropy"}, "Expected a class loss with soft targets for normalizer 'quality'"),
        ({"box_loss": "l1"}, "Expected a box loss on boxes with a coder of distributions"),
        ({"anchors": "ssd300"}, "one anchor a cell"),
        ({"class_weights": "d=2"}, "unknown class 'd'"),
        ({"class_weights": "invers"}, "did you mean 'inverse'"),
        ({"class_weights": "a=-1"}, "at least 0"),
        ({"miner": "hard_negatives:cutoff=tf"}, "with scope 'batch'"),
        ({"miner": "ohem:nms_iou=0.5"}, "miner 'ohem' has no option 'nms_iou'"),
        ({"matcher": "iou:positive=0.3,negative=0.5"}, "Expected negative <= positive"),
        ({"box_loss": "focal_eiou:gamma=-1"}, "gamma >= 0"),
        ({"background_weight": -1}, "background_weight of at least 0"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason(options, reason):
    with pytest.raises(RecipeError, match=reason):
        gradients(**options)


def test_a_detector_takes_options_as_the_command_does():
    detector = bw.create_detector("tiny-detector", 2, pretrained=False, matcher="iou:force=last", miner="ohem:count=64")
    assert detector.recipe.miner == "ohem:count=64"

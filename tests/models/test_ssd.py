"""SSD300 and Tiny-Detector: the published sizes, any backbone, one step, and what a recipe may not say."""

import pytest
import torch
from torch.nn import functional as F

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.models import build_criterion
from boxwright.models.ssd import L2Norm, _rows
from boxwright.types import Targets

LITE = {"backbone": "tf_efficientnet_lite0"}


def test_published_sizes() -> None:
    ssd = bw.create_detector("ssd300", 20, pretrained=False)
    assert len(ssd.anchors) == 8732
    assert sum(p.numel() for p in ssd.parameters()) == 26_285_486  # 26.3 M in the literature
    with torch.no_grad():
        outputs = ssd(torch.zeros(1, 3, 300, 300))
    assert outputs.logits.shape == (1, 8732, 21)
    assert outputs.deltas.shape == (1, 8732, 4)
    tiny = bw.create_detector("tiny-detector", 20, pretrained=False)
    with torch.no_grad():
        assert tiny(torch.zeros(2, 3, 224, 224)).logits.shape == (2, 441, 21)


def test_norm_scales_each_cell_to_twenty() -> None:
    x = torch.rand(2, 5, 3, 3)
    torch.testing.assert_close(L2Norm(5)(x), 20 * x / (x**2).sum(1, keepdim=True).sqrt())
    assert L2Norm(5)(torch.zeros(1, 5, 1, 1)).isfinite().all()


@pytest.mark.parametrize("name", ["ssd300", "tiny-detector"])
def test_a_cell_predicts_for_its_own_anchors(name: str) -> None:
    """What a predictor says of one cell of a map arrives at the anchors on that cell."""
    detector = bw.create_detector(name, 3, **LITE).eval()
    start = 0
    for level, conv in zip(detector.anchors.levels, detector.net.predictors.deltas, strict=True):
        rows, columns = level.grid
        assert conv.out_channels == 4 * len(level.shapes)
        marked = torch.zeros(1, conv.out_channels, rows, columns)
        marked[0, 4:8, rows - 1, columns // 2] = torch.tensor([1.0, 2, 3, 4])
        place = ((rows - 1) * columns + columns // 2) * len(level.shapes) + 1
        flat = _rows(marked, 4)[0]
        assert flat[place].tolist() == [1, 2, 3, 4]
        assert flat.abs().sum() == 10
        box = detector.anchors.boxes[start + place]
        centre = (box[:2] + box[2:]) / 2 / level.stride
        torch.testing.assert_close(centre, torch.tensor([columns // 2 + 0.5, rows - 0.5]))
        start += level.count


@pytest.mark.parametrize("name", ["ssd300", "tiny-detector"])
@pytest.mark.parametrize("miner", ["hard_negatives:ratio=3", "hard_examples"])
def test_steps_on_another_backbone_lower_the_loss(name: str, miner: str) -> None:
    torch.manual_seed(0)
    detector = bw.create_detector(name, 2, miner=miner, **LITE)
    criterion = build_criterion(detector.recipe)
    side = detector.recipe.image_size
    targets = Targets(
        torch.tensor([[[20.0, 30, 120, 150]], [[60.0, 60, 180, 200]]]),
        torch.tensor([[0], [1]]),
        torch.zeros(2, 1).bool(),
    )
    images = detector.normalize(torch.rand(2, 3, side, side) * 255)
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-5)
    totals = []
    for _ in range(4):
        losses = criterion(detector.anchors, detector(images), targets)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(losses.total.item())
    assert totals[-1] < totals[0]


def test_the_tutorial_takes_the_mean_of_l1() -> None:
    recipe = bw.recipes.get_recipe("tiny-detector", classes=["a"], box_loss="l1", box_weight=0.25)
    criterion = build_criterion(recipe)
    anchors = bw.anchors.make_anchors(bw.anchors.TINY_441, 224)
    outputs = bw.types.DenseOutputs(torch.zeros(1, 441, 2), torch.randn(1, 441, 4))
    targets = Targets(torch.tensor([[[20.0, 30, 120, 150]]]), torch.zeros(1, 1).long(), torch.zeros(1, 1).bool())
    positive = criterion.matcher(anchors, targets.boxes, targets.labels, ignore=targets.ignore).state[0] == 1
    goal = criterion.coder.encode(anchors.boxes[positive], targets.boxes[0])
    torch.testing.assert_close(criterion(anchors, outputs, targets).box, F.l1_loss(outputs.deltas[0, positive], goal))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ssd300", {"width": 32}, "width has no meaning for ssd300"),
        ("ssd300", {"strides": [8]}, "strides has no meaning"),
        ("ssd300", {"image_size": 600}, "image_size 300"),
        ("ssd300", {"anchors": "tiny_441"}, "six maps"),
        ("ssd300", {"anchors": "ssd300:clips=sizes"}, "did you mean 'clip'"),
        ("ssd300", {"mean": [1.0]}, "three channels"),
        ("ssd300", {"antialias": False, "resize": "pad"}, "antialias"),
        ("ssd300", {"backbone": "vgg16", "freeze": 6}, "freeze in 0..5"),
        ("tiny-detector", {"anchors": "ssd300"}, "one map"),
        ("tiny-detector", {"image_size": 225}, "multiple of 32"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: dict[str, object], message: str) -> None:
    pretrained = {} if "freeze" in options else {"pretrained": False}
    with pytest.raises(RecipeError, match=message):
        bw.create_detector(name, 3, **{**pretrained, **options})

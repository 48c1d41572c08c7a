"""UnitBox and FCOS: published size, where it starts, cells' order, and that it learns."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import boxwright as bw
from boxwright.coding import DistanceCoder
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.models import DenseDetector
from boxwright.recipes import get_recipe, list_recipes
from boxwright.recipes.criterion import build_criterion
from boxwright.types import DenseOutputs, Targets

SMALL = {"backbone": "tf_efficientnet_lite0", "image_size": 128, "width": 32, "norm_mode": "train"}
SCRATCH = {**SMALL, "pretrained": False, "freeze": 0}
ANCHORS = 16**2 + 8**2 + 4**2 + 2**2 + 1
TARGETS = Targets(
    torch.tensor([[[10.0, 12, 70, 90], [60, 20, 124, 60]], [[30, 30, 100, 110], [0, 0, 0, 0]]]),
    torch.tensor([[0, 2], [1, -1]]),
    torch.zeros(2, 2, dtype=torch.bool),
)


def small(classes: int = 3, **options: Any) -> DenseDetector:
    torch.manual_seed(0)
    return bw.create_detector("unitbox", classes, **{**SCRATCH, **options})


def some_images(size: int = 128) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


# --- the network


@pytest.mark.parametrize("centerness", [False, True])
@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18", "vgg16"])
@torch.no_grad()
def test_one_row_for_every_anchor_whatever_the_backbone(backbone: str, centerness: bool) -> None:
    detector = small(backbone=backbone, centerness=centerness).eval()
    outputs = detector(torch.zeros(2, 3, 128, 128))
    assert len(detector.anchors) == ANCHORS
    assert outputs.logits.shape == (2, ANCHORS, 3)
    assert outputs.deltas.shape == (2, ANCHORS, 4)
    assert outputs.centerness.shape == (2, ANCHORS) if centerness else outputs.centerness is None


@torch.no_grad()
@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize("branch", ["logits", "deltas", "centerness"])
def test_a_cell_predicts_for_its_own_anchor(level: int, branch: str) -> None:
    """With layers that hand on what they get, a mark on a map arrives at the anchor that lies there."""
    detector = small(centerness=True, coder="distance:unit=0.5")
    head = detector.net.head
    for module in (head.classes, head.sides):
        for place, layer in enumerate(module):
            if isinstance(layer, nn.GroupNorm):
                module[place] = nn.Identity()
    for conv in (each for each in head.modules() if isinstance(each, nn.Conv2d)):
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)
    here = detector.anchors.levels[level]
    row, column = here.grid[0] - 1, here.grid[1] // 2
    maps = [torch.zeros(1, 32, *each.grid) for each in detector.anchors.levels]
    maps[level][0, 0, row, column] = 2.0
    outputs = DenseOutputs(*head(maps))
    values = {"logits": outputs.logits, "deltas": outputs.deltas.log(), "centerness": outputs.centerness[..., None]}
    found = values[branch][0].sum(1)
    assert found.max().item() == pytest.approx(2.0)
    assert found.count_nonzero() == 1
    box = detector.anchors.boxes[found.argmax()]
    torch.testing.assert_close((box[:2] + box[2:]) / 2, torch.tensor([column + 0.5, row + 0.5]) * here.stride)
    torch.testing.assert_close(box[2:] - box[:2], here.shapes[0])


@torch.no_grad()
@pytest.mark.parametrize("unit", [0.5, 0.1])
def test_an_untrained_detector_says_nothing_and_its_anchors(unit: float) -> None:
    detector = small(5, coder=f"distance:unit={unit}", centerness=True).eval()
    outputs = detector(some_images())
    assert outputs.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.2)
    assert outputs.centerness.sigmoid().mean().item() == pytest.approx(0.5, rel=0.2)
    boxes = detector.coder.decode(detector.anchors.boxes, outputs.deltas)
    iou = bw.boxes.paired_iou(boxes, detector.anchors.boxes.expand_as(boxes))
    assert iou.mean() > 0.7


@torch.no_grad()
def test_whatever_the_features_the_boxes_have_an_area() -> None:
    head = small().net.head
    for size in (1e-3, 1.0, 1e3, 1e6):
        _, deltas = head([size * torch.randn(1, 32, side, side) for side in (16, 8, 4, 2, 1)])
        assert deltas.isfinite().all()
        assert (deltas > 0).all()
    head.distances.bias.fill_(100.0)
    _, deltas = head([torch.randn(1, 32, side, side) for side in (16, 8, 4, 2, 1)])
    torch.testing.assert_close(deltas, torch.full_like(deltas, 1000 / 16))


@pytest.mark.parametrize("centerness", [False, True])
def test_gradient_reaches_all_that_learns(centerness: bool) -> None:
    detector = small(centerness=centerness).train()
    losses = build_criterion(detector.recipe)(detector.anchors, detector(some_images()), TARGETS)
    losses.total.backward()
    assert ("centerness" in losses.terms) == centerness
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_images_without_objects() -> None:
    detector = small(centerness=True).train()
    nothing = Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
    losses = build_criterion(detector.recipe)(detector.anchors, detector(some_images()), nothing)
    losses.total.backward()
    assert losses.positives == losses.box == losses.terms["centerness"] == 0
    assert losses.classification > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"class_loss": "cross_entropy", "miner": "hard_negatives:ratio=3"},
        {"class_loss": "binary_cross_entropy", "box_loss": "l2"},  # the baseline of UnitBox
        {"class_loss": "quality_focal", "matcher": "atss", "normalizer": "quality"},
        {"matcher": "points:radius=1.5", "box_loss": "giou", "normalizer": "image"},
        {"matcher": "task_aligned", "anchors": "squares:scale=1"},
        {"matcher": "iou:force=bipartite", "class_loss": "varifocal"},
    ],
    ids=lambda options: " ".join(options.values()),
)
def test_other_supervision_trains_it_too(options: dict[str, str]) -> None:
    detector = small(centerness=True, **options).train()
    criterion = build_criterion(detector.recipe)
    losses = criterion(detector.anchors, detector(some_images()), TARGETS)
    losses.total.backward()
    assert losses.box > 0
    assert losses.terms["centerness"] > 0
    assert all(p.grad.isfinite().all() for p in detector.net.head.parameters())
    assert all(p.grad.abs().max() > 0 for p in detector.net.head.parameters() if p.ndim > 1)


# --- coder, recipe and detection


def test_a_coder_in_units_of_the_anchor() -> None:
    anchors = torch.tensor([[0.0, 0.0, 32.0, 32.0], [10.0, 20.0, 42.0, 92.0]])  # sides 32, and 48 by area
    boxes = torch.tensor([[8.0, 0.0, 24.0, 48.0], [26.0, 32.0, 50.0, 104.0]])
    expected = torch.tensor([[0.5, 1.0, 0.5, 2.0], [0.0, 1.0, 1.0, 2.0]])
    coder = DistanceCoder(unit=0.5)
    torch.testing.assert_close(coder.encode(anchors, boxes), expected)
    torch.testing.assert_close(coder.decode(anchors, expected), boxes)
    torch.testing.assert_close(coder.decode(anchors, torch.ones(2, 4))[:1], anchors[:1])  # a square is 1, 1, 1, 1
    torch.testing.assert_close(DistanceCoder().encode(anchors, boxes)[0], 16 * expected[0])
    point = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    assert coder.encode(point, boxes[:1]).isfinite().all()
    assert torch.autograd.gradcheck(lambda d: coder.decode(anchors.double(), d), expected.double().requires_grad_())
    with pytest.raises(ValueError, match="Expected a unit above 0 but got 0"):
        DistanceCoder(unit=0)


@pytest.mark.parametrize("central", [None, -1.0, 4.0])
def test_a_score_is_the_geometric_mean_with_centerness(central: float | None) -> None:
    detector = small(centerness=central is not None)
    target = torch.tensor([20.0, 30, 60, 70])
    logits = torch.full((1, ANCHORS, 3), -20.0)
    logits[0, 50, 2] = 1.0
    deltas = detector.coder.encode(detector.anchors.boxes, target.expand(ANCHORS, 4))[None]
    outputs = DenseOutputs(logits, deltas, None if central is None else torch.full((1, ANCHORS), central))
    found = detector.detect(outputs, score=0.05)[0]
    p = torch.tensor(1.0).sigmoid()
    wanted = p if central is None else (p * torch.tensor(central).sigmoid()).sqrt()
    assert found.labels.tolist() == [2]
    torch.testing.assert_close(found.scores[0], wanted)
    torch.testing.assert_close(found.boxes[0], target, rtol=0, atol=1e-3)


def test_the_central_one_of_equals_stays() -> None:
    detector = small(centerness=True)
    logits = torch.full((1, ANCHORS, 3), -20.0)
    logits[0, 50:53, 1] = 2.0
    central = torch.zeros(1, ANCHORS)
    central[0, 51] = 1.0
    boxes = torch.tensor([20.0, 30, 60, 70]) + torch.arange(ANCHORS)[:, None] / 100
    deltas = detector.coder.encode(detector.anchors.boxes, boxes)[None]
    found = detector.detect(DenseOutputs(logits, deltas, central), score=0.05)[0]
    torch.testing.assert_close(found.boxes, boxes[51:52], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors": "retinanet"}, "anchors can't be retinanet"),
        ({"coder": "delta"}, "coder can't be delta"),
        ({"coder": "distance"}, "in units of its anchors: its coder can't be distance"),
        ({"coder": "distance:units=1"}, "did you mean 'unit'"),
        ({"strides": [8, 16, 32]}, "strides has no meaning for unitbox"),
        ({"distribution_weight": 0.25}, "distribution_weight has no meaning for unitbox"),
        ({"centerness": "perhaps"}, "centerness"),
        ({"image_size": 333, "backbone": "vgg16"}, "multiple of 32 with backbone 'vgg16', .* but got 333"),
        ({"width": 36}, "width to be a multiple of 8 for unitbox but got 36"),
        ({"backbone": "vit_tiny_patch16_224"}, "vit_tiny_patch16_224"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        small(**options)


@pytest.mark.parametrize("name", [name for name in list_recipes() if name != "unitbox"])
def test_centerness_is_for_heads_that_have_it(name: str) -> None:
    with pytest.raises(RecipeError, match=f"centerness has no meaning for {name}"):
        get_recipe(name, centerness=True)
    assert get_recipe(name, centerness=False).centerness is False


def test_published_size() -> None:
    detector = bw.create_detector(
        "unitbox", 91, image_size=128, centerness=True, pretrained=False, freeze=0, norm_mode="train"
    )
    norms = sum(p.numel() for m in detector.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    # 32.3 M in torchvision's table, where the backbone's norms are constants
    assert sum(p.numel() for p in detector.parameters()) - norms == 32_269_600


# --- training


@pytest.mark.slow
@pytest.mark.parametrize("centerness", [False, True])
def test_compiled_gives_the_same(centerness: bool) -> None:
    net = small(centerness=centerness).net.eval()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for ours, theirs in zip(compiled(some_images()), net(some_images()), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("centerness", [False, True])
def test_trains_on_digits_without_a_warning(tmp_path: Path, centerness: bool) -> None:
    digits = make_digits(tmp_path / "digits", images={"train": 8, "val": 2}, size=128)
    options = {**SMALL, "batch_size": 4, "epochs": 2, "centerness": centerness}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = bw.train(digits, "unitbox", out=tmp_path / "run", console=Console(quiet=True), **options)
    detector = run.load()
    assert detector.recipe.centerness == centerness
    assert detector.predict(np.zeros((50, 70, 3), np.uint8), score=0.0)[0].boxes.isfinite().all()

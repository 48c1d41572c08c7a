"""Every detector in half the bits with channels last, and on images of any size."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.models import Detector
from boxwright.models.layers import has_depthwise
from boxwright.recipes.criterion import build_criterion
from boxwright.training.step import supervise
from boxwright.types import DenseOutputs, Targets, TwoStageOutputs

LITE = {"backbone": "tf_efficientnet_lite0", "norm_mode": "train", "freeze": 2}
SMALL = {
    "lite320": {"image_size": 128, "width": 32},
    "retinanet": {"image_size": 128, "width": 32},
    "unitbox": {"image_size": 128, "width": 32, "centerness": True},
    "faster-rcnn": {"image_size": 128, "width": 32, "hidden": 64, "proposals": 50, "training_proposals": 100},
    "ssd300": {},
    "tiny-detector": {},
}


def make(name: str, **options: object) -> Detector:
    torch.manual_seed(0)
    return bw.create_detector(name, 3, **{**LITE, **SMALL[name], **options})


def some_batch(side: int) -> tuple[Tensor, Targets]:
    images = 255 * torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[[0.1, 0.1, 0.6, 0.7], [0.5, 0.2, 0.9, 0.5]], [[0.2, 0.3, 0.8, 0.9], [0, 0, 0, 0]]]) * side
    return images, Targets(boxes, torch.tensor([[0, 2], [1, -1]]), torch.zeros(2, 2, dtype=torch.bool))


def total_in(detector: Detector, dtype: torch.dtype, channels_last: bool = False) -> Tensor:
    """The loss of ``some_batch`` in float32 or mixed with a half type."""
    detector.set_memory_format(torch.channels_last if channels_last else torch.contiguous_format)
    torch.manual_seed(0)  # of the regions that are drawn
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        batch = some_batch(detector.recipe.image_size)
        return supervise(detector, build_criterion(detector.recipe), *batch)[0].total


@pytest.mark.parametrize("name", list(SMALL))
def test_half_the_bits_and_channels_last(name: str) -> None:
    """The losses are those of float32 but for bfloat16's three digits, and the gradients finite."""
    detector = make(name).train()
    plain, half = total_in(detector, torch.float32), total_in(detector, torch.bfloat16, channels_last=True)
    half.backward()
    assert half.item() == pytest.approx(plain.item(), rel=0.05)
    for parameter in detector.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", list(SMALL))
def test_fp16_tells_the_loss_of_float32(name: str) -> None:
    """But for its four digits."""
    detector = make(name).train()
    plain, half = total_in(detector, torch.float32), total_in(detector, torch.float16)
    assert half.item() == pytest.approx(plain.item(), rel=0.005)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "faster-rcnn"])
def test_losses_are_finite_for_all_that_fp16_can_say(name: str) -> None:
    """Whatever the logits and deltas, autocast or not: a loss is computed in float32, and so is what leads to it."""
    detector = make(name)
    size, classes = detector.recipe.image_size, 3 + detector.softmax
    _, targets = some_batch(size)
    for extreme in (-65504.0, -300.0, 0.0, 6e-8, 300.0, 65504.0):
        logits = torch.full((2, len(detector.anchors), classes), extreme, dtype=torch.float16, requires_grad=True)
        deltas = torch.full((2, len(detector.anchors), detector.coder.dim), extreme, dtype=torch.float16)
        centerness = torch.full((2, len(detector.anchors)), extreme, dtype=torch.float16)
        outputs = DenseOutputs(logits, deltas.requires_grad_(), centerness if detector.recipe.centerness else None)
        with torch.autocast("cpu", torch.float16):
            losses = build_criterion(detector.recipe)(detector.anchors, outputs, targets)
        losses.total.backward()
        assert losses.total.dtype == torch.float32
        assert losses.total.isfinite()
        assert logits.grad.isfinite().all()
        assert deltas.grad.isfinite().all()


@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize("resize", ["squash", "pad", "shortest"])
def test_images_of_any_size(name: str, resize: str) -> None:
    if resize == "shortest" and name == "ssd300":
        with pytest.raises(RecipeError, match="ssd300 has square input"):
            make(name, resize=resize)
        return
    detector = make(name, resize=resize).eval()
    images = [np.full((40, 90, 3), 120, np.uint8), np.full((150, 30, 3), 60, np.uint8)]
    for image, found in zip(images, detector.predict(images, score=0.0), strict=True):
        height, width = image.shape[:2]
        assert len(found.boxes) > 0
        assert (found.boxes >= 0).all()
        assert (found.boxes[:, [0, 2]] <= width).all()
        assert (found.boxes[:, [1, 3]] <= height).all()


PYRAMIDS = ["lite320", "retinanet", "unitbox", "faster-rcnn"]


@torch.no_grad()
@pytest.mark.parametrize("side", [300, 333, 416, 800])
@pytest.mark.parametrize("name", PYRAMIDS)
def test_an_anchor_for_every_cell_whatever_the_side(name: str, side: int) -> None:
    """Maps and anchors both round up; a cell that is cut off has its anchors' center in the cell."""
    detector = make(name, image_size=side).eval()
    outputs = detector(torch.zeros(1, 3, side, side))
    dense = outputs.rpn if isinstance(outputs, TwoStageOutputs) else outputs
    assert dense.deltas.shape[1] == len(detector.anchors) == len(detector.anchors.boxes)
    levels = detector.anchors.levels
    centers = (detector.anchors.boxes[:, :2] + detector.anchors.boxes[:, 2:]) / 2
    for level, center in zip(levels, centers.split([level.count for level in levels]), strict=True):
        assert side <= level.grid[0] * level.stride < side + level.stride
        assert (center < level.grid[0] * level.stride).all()
        assert center.max() >= side - level.stride  # a fitting cell at the far sides too


def test_a_network_of_other_cells_than_the_anchors_is_refused() -> None:
    detector = make("lite320")
    net = detector.net
    detector.net = nn.Identity()
    detector.net.forward = lambda images: [rows[:, 1:] for rows in net(images)]
    message = "lite320 to give a row for each of 336 anchors at 128 x 128 pixels but got 335"
    with pytest.raises(RecipeError, match=message):
        supervise(detector, build_criterion(detector.recipe), *some_batch(128))


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.parametrize("name", PYRAMIDS)
def test_an_odd_side_is_learnt_from_and_predicted_on(name: str, resize: str) -> None:
    detector = make(name, image_size=77, resize=resize).train()
    boxes = torch.tensor([[[50.0, 50, 77, 77]], [[3, 3, 31, 44]]])  # the first in the cells that are cut off
    targets = Targets(boxes, torch.tensor([[0], [2]]), torch.zeros(2, 1, dtype=torch.bool))
    images = 255 * torch.rand(2, 3, 77, 77, generator=torch.Generator().manual_seed(1))
    losses, _ = supervise(detector, build_criterion(detector.recipe), images, targets)
    losses.total.backward()
    assert losses.stats.positives >= 2
    assert all(p.grad is None or p.grad.isfinite().all() for p in detector.parameters())
    found = detector.predict(np.full((50, 120, 3), 90, np.uint8), score=0.0)[0].boxes
    assert len(found)
    assert (found >= 0).all()
    assert (found <= torch.tensor([120, 50, 120, 50])).all()


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", ["lite320", "tiny-detector"])  # the others' tests have theirs
def test_compiled_gives_the_same(name: str) -> None:
    detector = make(name).eval()
    side = detector.recipe.image_size
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(detector.net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), detector.net(images), rtol=1e-4, atol=1e-4)


def test_depthwise_is_found_by_shape() -> None:
    """Such networks have channels last in float32 too."""
    assert has_depthwise(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4)))
    assert not has_depthwise(nn.Conv2d(4, 4, 3, groups=2))

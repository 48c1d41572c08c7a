"""Faster R-CNN: its size, proposals, regions, options of both stages, and that it trains."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign, nms
from two_images import no_targets, some_targets

import boxwright as bw
from boxwright.boxes import box_iou
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.models import TwoStageDetector
from boxwright.models.faster_rcnn import pool
from boxwright.models.size import network_size
from boxwright.recipes import get_recipe, parse_settings
from boxwright.recipes.criterion import build_criterion
from boxwright.training.step import supervise

SMALL = {
    "backbone": "tf_efficientnet_lite0",
    "image_size": 128,
    "width": 32,
    "hidden": 64,
    "proposals": 50,
    "training_proposals": 100,
}
SCRATCH = {**SMALL, "pretrained": False, "freeze": 0, "norm_mode": "train"}
SUPERVISIONS = {
    "published": [],
    "ce-over-all": ["miner=none"],
    "focal-over-all": ["miner=none", "class_loss=softmax_focal", "normalizer=positives", "class_weights=inverse_sqrt"],
    "focal-by-batch": ["miner=none", "class_loss=softmax_focal", "class_weights=inverse", "class_weights_over=batch"],
    "ohem": ["miner=ohem:count=64", "rpn_miner=ohem:count=64"],
    "sigmoid-ciou": ["class_loss=sigmoid_focal", "box_loss=ciou", "rpn_class_loss=sigmoid_focal", "rpn_miner=none"],
    "agnostic": ["box_per_class=false"],
}


def small(classes: int = 3, **options: object) -> TwoStageDetector:
    torch.manual_seed(0)
    detector = bw.create_detector("faster-rcnn", classes, **{**SCRATCH, **options})
    assert isinstance(detector, TwoStageDetector)
    return detector


def some_images(size: int = 128) -> Tensor:
    return 255 * torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_published_size() -> None:
    """41.8 M parameters in torchvision's table, whose 91 columns are 90 classes and the background."""
    recipe = {"image_size": 256, "pretrained": False, "freeze": 0, "norm_mode": "train"}
    detector = bw.create_detector("faster-rcnn", 90, **recipe)
    norms = sum(p.numel() for m in detector.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    # torchvision has four deltas for the background too
    assert sum(p.numel() for p in detector.parameters()) - norms == 41_755_286 - 4 * 1025


def test_size_counts_the_second_stage() -> None:
    recipe = get_recipe("faster-rcnn", **SCRATCH, classes="a,b")
    few, many = (network_size(recipe.replace(proposals=n)).multiply_adds for n in (10, 110))
    per_region = 32 * 49 * 64 + 64 * 64 + 64 * (3 + 8)
    assert many - few == 100 * per_region


@torch.no_grad()
def test_pooled_as_torchvision_pools() -> None:
    generator = torch.Generator().manual_seed(0)
    features = [torch.rand(2, 8, 256 // stride, 320 // stride, generator=generator) for stride in (4, 8, 16, 32)]
    corners = torch.rand(2, 40, 2, 2, generator=generator) * torch.tensor([320.0, 256.0])
    boxes = torch.cat([corners.amin(2), corners.amax(2)], -1)
    boxes[0, :4] = torch.tensor([[0.0, 0, 112, 112], [0, 0, 224, 224], [0, 0, 223, 223], [5, 5, 5, 9]])
    rois = [boxes[0], boxes[1, :7]]
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    wanted = theirs({str(i): x for i, x in enumerate(features)}, rois, [(256, 320)] * 2)
    torch.testing.assert_close(pool(features, rois), wanted, rtol=0, atol=1e-6)
    assert pool(features, [boxes[0, :0]] * 2).shape == (0, 8, 7, 7)


@torch.no_grad()
def test_proposals_are_the_best_of_each_map_that_do_not_overlap() -> None:
    """Against one map after the other, done slowly."""
    detector = small(proposals=6).eval()
    nn.init.normal_(detector.net.rpn.logits.weight, std=1.0)
    nn.init.normal_(detector.net.rpn.deltas.weight, std=0.3)
    images = detector.normalize(some_images())
    outputs = detector(images)
    for image in range(2):
        boxes = detector.rpn_coder.decode(detector.anchors.boxes, outputs.rpn.deltas[image]).clamp(0, 128)
        scores = outputs.rpn.logits[image, :, 0]
        start, kept = 0, []
        for level in detector.anchors.levels:
            places = start + scores[start : start + level.count].argsort(descending=True)[:6]
            start += level.count
            places = places[((boxes[places, 2:] - boxes[places, :2]) >= 1e-3).all(1)]
            kept += places[nms(boxes[places], scores[places], 0.7)].tolist()
        best = sorted(kept, key=lambda place: -scores[place])[:6]
        torch.testing.assert_close(outputs.proposals[image], boxes[best])
    assert len(detector.train()(images).proposals[0]) > 6  # in training there are more


@torch.no_grad()
def test_detections_by_hand() -> None:
    """Two regions, two classes with boxes of their own; the background takes the rest of the score."""
    detector = small(2, nms_threshold=0.5).eval()
    rois = torch.tensor([[10.0, 10, 50, 50], [60, 60, 100, 100]])
    outputs = detector(detector.normalize(some_images()[:1]))._replace(proposals=[rois])
    logits = torch.tensor([[3.0, 0, 0], [0, 2, 0]])
    deltas = torch.zeros(2, 8)
    deltas[1, 4] = 5.0  # of class 1, to the right by half the region's width
    detector.net.refine = lambda features, regions: (logits, deltas)  # type: ignore[method-assign]
    (found,) = detector.detect(outputs, score=0.5)
    assert found.labels.tolist() == [0, 1]
    scores = [math.exp(3) / (math.exp(3) + 2), math.exp(2) / (math.exp(2) + 2)]
    torch.testing.assert_close(found.scores, torch.tensor(scores))
    torch.testing.assert_close(found.boxes, torch.tensor([[10.0, 10, 50, 50], [80, 60, 120, 100]]))


@pytest.mark.parametrize("name", list(SUPERVISIONS))
def test_gradient_reaches_all_that_learns(name: str) -> None:
    detector = small(**parse_settings(SUPERVISIONS[name])).train()
    criterion = build_criterion(detector.recipe, torch.tensor([5, 1, 2]))
    losses, outputs = supervise(detector, criterion, some_images(), some_targets())
    losses.total.backward()
    assert losses.total.item() == pytest.approx(sum(losses.terms.values()).item(), rel=1e-5)
    assert losses.positives >= 3  # the true boxes are among the regions
    for parameter_name, parameter in detector.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    assert not any(boxes.requires_grad for boxes in outputs.proposals)


@pytest.mark.parametrize("name", list(SUPERVISIONS))
def test_images_without_objects(name: str) -> None:
    detector = small(**parse_settings(SUPERVISIONS[name])).train()
    losses, _ = supervise(detector, build_criterion(detector.recipe), some_images(), no_targets())
    losses.total.backward()
    assert losses.box.item() == losses.terms["proposals box"].item() == 0
    assert losses.total.isfinite()


def test_where_the_stages_start() -> None:
    """A stage that learns from all starts at "nothing here", one that samples as published."""
    everywhere, sampled = small(miner="none", rpn_miner="none"), small()
    assert everywhere.net.rpn.logits.bias.sigmoid().tolist() == pytest.approx([0.01] * 3)
    assert everywhere.net.roi.logits.bias.softmax(0)[-1].item() == pytest.approx(0.99)
    assert sampled.net.rpn.logits.bias.abs().sum() == sampled.net.roi.logits.bias.abs().sum() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matcher": "atss"}, "the regions of faster-rcnn have no grid, which the matcher atss needs"),
        ({"anchors": "retinanet"}, "its anchors can't be retinanet"),
        ({"rpn_matcher": "iou:positive=0.3,negative=0.7"}, r"first stage \(rpn_...\): Expected negative <= positive"),
        ({"rpn_miner": "hard_negative"}, "did you mean 'hard_negatives'"),
        ({"proposals": 0}, "Expected proposals above 0"),
        ({"strides": (8, 16, 32)}, "strides has no meaning for faster-rcnn"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_criterion(small(**options).recipe)


def test_keys_of_two_stages_have_no_meaning_for_one() -> None:
    with pytest.raises(RecipeError, match="rpn_miner has no meaning for lite320"):
        get_recipe("lite320", rpn_miner="none")


@pytest.mark.slow
@torch.no_grad()
def test_compiled_gives_the_same() -> None:
    net = small().net.eval()
    images = some_images() / 255
    logits, deltas, maps = torch.compile(net, backend="aot_eager", fullgraph=True)(images)
    for ours, theirs in zip((logits, deltas, *maps), (*net(images)[:2], *net(images)[2]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    compiled = torch.compile(net.refine, backend="aot_eager", fullgraph=True)
    for count in (3, 8):
        corners = torch.rand(2, count, 2, 2, generator=torch.Generator().manual_seed(count)) * 128
        rois = list(torch.cat([corners.amin(2), corners.amax(2)], -1))
        torch.testing.assert_close(compiled(maps, rois), net.refine(maps, rois), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["squash", "shortest"])
def test_trains_on_digits_without_a_warning(tmp_path: Path, resize: str) -> None:
    digits = make_digits(tmp_path / "digits", images={"train": 8, "val": 2}, size=128)
    options = {**SMALL, "batch_size": 4, "epochs": 2, "resize": resize, "max_size": 160, "accumulate": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = bw.train(digits, "faster-rcnn", out=tmp_path / "run", console=Console(quiet=True), **options)
    assert {"rpn_cls", "rpn_box", "val_rpn_cls"} <= set(run.metrics_file.read_text().splitlines()[0].split(","))
    detector = run.load()
    assert detector.predict(np.zeros((50, 70, 3), np.uint8), score=0.0)[0].boxes.isfinite().all()


@torch.no_grad()
def test_what_lies_beyond_the_image_is_not_proposed() -> None:
    detector = small().eval()
    nn.init.normal_(detector.net.rpn.deltas.weight, std=0.3)
    valid_size = torch.tensor([[96, 64], [128, 128]])
    outputs = detector(detector.normalize(some_images(), valid_size), valid_size)
    assert outputs.proposals[0][:, 2].max() <= 64
    assert outputs.proposals[0][:, 3].max() <= 96
    found = detector.detect(outputs, valid_size=valid_size)
    assert found[0].boxes[:, 2].max() <= 64
    assert found[0].boxes[:, 3].max() <= 96
    assert box_iou(found[1].boxes, found[1].boxes).isfinite().all()

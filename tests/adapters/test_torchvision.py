"""torchvision's detectors and ours from the same weights: outputs, losses and detections.

Seeded, nothing is downloaded.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.models import detection
from torchvision.models.detection import ssd300_vgg16
from torchvision.ops import FrozenBatchNorm2d

import boxwright as bw
from boxwright.adapters.torchvision import convert
from boxwright.models import Detector, TwoStageDetector
from boxwright.recipes.criterion import build_criterion
from boxwright.runs import Run
from boxwright.types import RoIOutputs, Targets

CLASSES = 4
SIZES = {"min_size": 128, "max_size": 200}  # of those that take any
NAMES = ["ssd300_vgg16", "retinanet_resnet50_fpn", "fcos_resnet50_fpn", "fasterrcnn_resnet50_fpn"]


def make(name: str) -> Any:
    """Seeded, with statistics that fit the input and heads that say something of all classes but the unused 0."""
    torch.manual_seed(5)
    sizes = {} if name.startswith("ssd") else SIZES
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=CLASSES + 1, **sizes)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None
    with torch.no_grad():
        if not name.startswith("ssd"):
            model.backbone(model.transform(some_images())[0].tensors)
        model.eval()
        for layer, spread in SPREADS.items():
            spread_outputs(model, layer, spread)
        if name.startswith(("retinanet", "fcos")):
            unused = model.head.classification_head.cls_logits
            unused.weight.unflatten(0, (-1, CLASSES + 1))[:, 0] = 0
            unused.bias.view(-1, CLASSES + 1)[:, 0] = -100
    return model


SPREADS = {
    "head.classification_head.cls_logits": 2.0,
    "head.regression_head.bbox_ctrness": 1.0,
    "head.regression_head.bbox_reg": 0.5,
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.5,
    "roi_heads.box_predictor.cls_score": 2.0,
    "roi_heads.box_predictor.bbox_pred": 2.0,
}


def spread_outputs(model: Any, name: str, spread: float) -> None:
    """Scale the weights of a layer, if there is one of that name, so that its outputs have this deviation."""
    layer = dict(model.named_modules()).get(name)
    if layer is None:
        return
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: seen.append(output.flatten()))
    model(some_images())
    handle.remove()
    layer.weight.mul_(spread / torch.cat(seen).std())


def some_images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    small = [torch.rand(1, 3, 20, 30, generator=generator), torch.rand(1, 3, 26, 17, generator=generator)]
    return [nn.functional.interpolate(x, scale_factor=10, mode="bilinear")[0] for x in small]


def some_targets() -> list[dict[str, Tensor]]:
    boxes = [[[20.0, 30, 140, 180], [101, 90, 290, 190], [5, 5, 60, 50]], [[10.0, 20, 160, 240]]]
    return [{"boxes": torch.tensor(b), "labels": torch.tensor(n)} for b, n in zip(boxes, [[1, 4, 2], [3]], strict=True)]


def padded(targets: list[dict[str, Tensor]]) -> Targets:
    labels = pad_sequence([target["labels"] - 1 for target in targets], True, padding_value=-1)
    return Targets(
        pad_sequence([t["boxes"] for t in targets], True), labels, torch.zeros_like(labels, dtype=torch.bool)
    )


class Pair:
    """One model, theirs and ours."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.theirs = make(name)
        self.ours: Detector = convert(self.theirs)
        self.images, self.targets = self.theirs.transform(some_images(), some_targets())
        self.size = (self.images.tensors.shape[2], self.images.tensors.shape[3])
        with torch.no_grad():
            self.maps = self.theirs.backbone(self.images.tensors)


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


@pytest.fixture(scope="module")
def ssd() -> Pair:
    return Pair("ssd300_vgg16")


def close(ours: Tensor, theirs: Tensor, atol: float = 1e-4) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.mark.slow
@torch.no_grad()
def test_outputs_and_losses(pair: Pair) -> None:
    theirs, ours, targets = pair.theirs, pair.ours, pair.targets
    if isinstance(ours, TwoStageDetector):
        return check_two_stages(pair, ours)
    maps = list(pair.maps.values())
    head = theirs.head(maps)
    anchors = theirs.anchor_generator(pair.images, maps)
    outputs = ours(pair.images.tensors)
    logits = head["cls_logits"]
    close(outputs.logits, logits.roll(-1, -1) if ours.softmax else logits[..., 1:])
    close(outputs.deltas, head["bbox_regression"])
    assert head["cls_logits"][..., 1:].std() > 0.1
    assert head["bbox_regression"].std() > 0.1
    close(ours.anchors_of(pair.size).boxes, anchors[0])

    if pair.name.startswith("fcos"):
        close(outputs.centerness, head["bbox_ctrness"][..., 0])
        wanted = theirs.compute_loss(targets, head, anchors, [len(level) for level in levels(ours, pair.size)])
    elif pair.name.startswith("ssd"):
        matched = [theirs.proposal_matcher(bw.boxes.box_iou(t["boxes"], anchors[0])) for t in targets]
        wanted = theirs.compute_loss(targets, head, anchors, matched)
    else:
        wanted = theirs.compute_loss(targets, head, anchors)
    got = build_criterion(ours.recipe)(ours.anchors_of(pair.size), outputs, padded(targets))
    torch.testing.assert_close(got.box, wanted["bbox_regression"], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got.classification, wanted["classification"], rtol=1e-5, atol=1e-4)
    if "bbox_ctrness" in wanted:
        torch.testing.assert_close(got.terms["centerness"], wanted["bbox_ctrness"], rtol=1e-5, atol=1e-4)
    assert got.positives > 4
    return None


def levels(ours: Detector, size: tuple[int, int]) -> list[range]:
    return [range(level.count) for level in ours.anchors_of(size).levels]


def check_two_stages(pair: Pair, ours: TwoStageDetector) -> None:
    """The RPN's sample is all that there is, so that nothing is drawn at random; the RoI head has torchvision's."""
    theirs, size = pair.theirs, pair.size
    valid_size = torch.tensor(pair.images.image_sizes)
    outputs = ours(pair.images.tensors, valid_size)
    objectness, deltas = theirs.rpn.head(list(pair.maps.values()))
    close(outputs.rpn.logits, rows(objectness, 1))
    close(outputs.rpn.deltas, rows(deltas, 4))
    assert outputs.rpn.logits.std() > 0.1
    anchors = theirs.rpn.anchor_generator(pair.images, list(pair.maps.values()))
    close(ours.anchors_of(size).boxes, anchors[0])
    proposals, _ = theirs.rpn(pair.images, pair.maps)
    for got, wanted in zip(outputs.proposals, proposals, strict=True):
        # Scores and overlaps that differ in their last bit may swap two, or keep the other of two
        nearest = torch.cdist(got, wanted, p=torch.inf).amin(1)
        assert len(got) == len(wanted)
        assert (nearest < 1e-3).float().mean() > 0.99  # pixels

    theirs.rpn.fg_bg_sampler.batch_size_per_image = 10**6
    theirs.rpn.fg_bg_sampler.positive_fraction = 1.0
    labels, matched = theirs.rpn.assign_targets_to_anchors(anchors, pair.targets)
    codes = theirs.rpn.box_coder.encode(matched, anchors)
    wanted = theirs.rpn.compute_loss(outputs.rpn.logits, outputs.rpn.deltas.flatten(0, 1), labels, codes)
    recipe = ours.recipe.replace(rpn_miner="random_balanced:count=1000000,positive_fraction=1")
    criterion = build_criterion(recipe)

    torch.manual_seed(0)
    rois, _, roi_labels, roi_targets = theirs.roi_heads.select_training_samples(proposals, pair.targets)
    pooled = theirs.roi_heads.box_head(theirs.roi_heads.box_roi_pool(pair.maps, rois, pair.images.image_sizes))
    logits, boxes = theirs.roi_heads.box_predictor(pooled)
    refined = ours.refine(outputs.features, rois)
    close(refined.logits, logits.roll(-1, -1))
    close(refined.deltas, boxes[:, 4:])
    assert logits.std() > 0.1
    class_loss, box_loss = detection.roi_heads.fastrcnn_loss(logits, boxes, roi_labels, roi_targets)
    got = criterion(
        ours.anchors_of(size), outputs._replace(rois=rois, refined=RoIOutputs(*refined)), padded(pair.targets)
    )
    for ours_, theirs_ in ((got.terms["proposals classification"], wanted[0]), (got.terms["proposals box"], wanted[1])):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-5, atol=1e-4)
    for ours_, theirs_ in ((got.classification, class_loss), (got.box, box_loss)):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-5, atol=1e-4)
    assert got.positives > 4


def rows(maps: list[Tensor], columns: int) -> Tensor:
    return torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, columns) for x in maps], 1)


@pytest.mark.slow
@torch.no_grad()
def test_same_detections(pair: Pair) -> None:
    for image in some_images():  # one by one: torchvision pads an image as the largest of its batch needs it
        (wanted,), (got,) = pair.theirs([image]), pair.ours.predict(image)
        assert len(got.scores) == len(wanted["scores"]) > 20
        # Where the resize rounds otherwise, by 1e-6, two stages of random weights amplify it
        close(got.scores, wanted["scores"], 1e-3 if pair.name.startswith("faster") else 1e-4)
        # Scores that differ in their last bit may change places: pair each detection with the nearest of its label
        apart = torch.cdist(got.boxes, wanted["boxes"], p=torch.inf)
        apart += 1e3 * ((got.labels + 1)[:, None] != wanted["labels"]) + (got.scores[:, None] - wanted["scores"]).abs()
        limit = 0.1 if pair.name.startswith("faster") else 1e-2  # pixels
        assert apart.min(0).values.max() < limit
        assert apart.min(1).values.max() < limit


def test_constant_batch_norms_of_another_epsilon() -> None:
    """torchvision's published models have 0 where ours have 1e-5."""
    torch.manual_seed(0)
    model = detection.fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2).eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                frozen = FrozenBatchNorm2d(child.num_features, eps=0.0)
                frozen.load_state_dict(child.state_dict())
                frozen.running_var.fill_(2e-5)  # so that the epsilon tells
                frozen.weight.fill_(2e-5**0.5)
                setattr(parent, name, frozen)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = list(model.backbone.body(images).values())
        for ours, theirs in zip(convert(model).net.backbone(images), wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.slow
def test_a_converted_model_is_kept_and_loaded_like_a_run(pair: Pair, tmp_path: Path) -> None:
    Run(tmp_path).keep(pair.ours)
    image = some_images()[1]
    torch.testing.assert_close(bw.load(tmp_path).predict(image), pair.ours.predict(image))


def test_other_models_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected torchvision's ssd300_vgg16, .* but got Linear"):
        convert(nn.Linear(1, 1))
    for name in ("ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_320_fpn"):
        with pytest.raises(ValueError, match="as it is built there but got another"):
            convert(getattr(detection, name)(weights=None, weights_backbone=None))


def test_only_published_sizes_of_ssd() -> None:
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=2)
    model.transform.fixed_size = (400, 400)
    with pytest.raises(ValueError, match="400"):
        convert(model)

"""torchvision's SSD300 and ours from the same weights: outputs, losses and detections. Seeded, nothing downloaded."""

from pathlib import Path

import pytest
import torch
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.ssd import SSD

import boxwright as bw
from boxwright.adapters.torchvision import convert
from boxwright.models import DenseDetector, build_criterion
from boxwright.runs import Run
from boxwright.types import Targets

CLASSES = 4


@pytest.fixture(scope="module")
def theirs() -> SSD:
    torch.manual_seed(5)
    return ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES + 1).eval()


@pytest.fixture(scope="module")
def ours(theirs: SSD) -> DenseDetector:
    return convert(theirs)


def some_images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    small = [torch.rand(1, 3, 30, 30, generator=generator), torch.rand(1, 3, 26, 34, generator=generator)]
    return [torch.nn.functional.interpolate(x, scale_factor=10, mode="bilinear")[0] for x in small]


def some_targets() -> list[dict[str, torch.Tensor]]:
    boxes = [[[20.0, 30, 140, 200], [100, 90, 290, 280], [5, 5, 60, 50]], [[10.0, 20, 300, 240]]]
    return [{"boxes": torch.tensor(b), "labels": torch.tensor(n)} for b, n in zip(boxes, [[1, 4, 2], [3]], strict=True)]


@torch.no_grad()
def test_outputs_and_losses(theirs: SSD, ours: DenseDetector) -> None:
    images, targets = theirs.transform(some_images(), some_targets())
    maps = list(theirs.backbone(images.tensors).values())
    head = theirs.head(maps)
    anchors = theirs.anchor_generator(images, maps)
    outputs = ours(images.tensors)
    torch.testing.assert_close(outputs.logits.roll(1, -1), head["cls_logits"], rtol=0, atol=1e-4)
    torch.testing.assert_close(outputs.deltas, head["bbox_regression"], rtol=0, atol=1e-4)
    torch.testing.assert_close(ours.anchors.boxes, anchors[0], rtol=0, atol=1e-4)

    matched = [theirs.proposal_matcher(bw.boxes.box_iou(t["boxes"], anchors[0])) for t in targets]
    wanted = theirs.compute_loss(targets, head, anchors, matched)
    padded = Targets(torch.zeros(2, 3, 4), torch.full((2, 3), -1), torch.zeros(2, 3, dtype=torch.bool))
    for row, target in enumerate(targets):
        padded.boxes[row, : len(target["boxes"])] = target["boxes"]
        padded.labels[row, : len(target["labels"])] = target["labels"] - 1
    got = build_criterion(ours.recipe)(ours.anchors, outputs, padded)
    torch.testing.assert_close(got.box, wanted["bbox_regression"], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got.classification, wanted["classification"], rtol=1e-5, atol=1e-4)
    assert got.positives > 4


@torch.no_grad()
def test_same_detections(theirs: SSD, ours: DenseDetector) -> None:
    for wanted, got in zip(theirs(some_images()), ours.predict(some_images()), strict=True):
        assert len(got.scores) == len(wanted["scores"]) > 20
        torch.testing.assert_close(got.scores, wanted["scores"], rtol=0, atol=1e-4)
        # Scores that differ in their last bit may change places: pair each detection with the nearest of its label
        apart = torch.cdist(got.boxes, wanted["boxes"], p=torch.inf)
        apart += 1e3 * ((got.labels + 1)[:, None] != wanted["labels"]) + (got.scores[:, None] - wanted["scores"]).abs()
        assert apart.min(0).values.max() < 1e-2  # pixels
        assert apart.min(1).values.max() < 1e-2


def test_a_converted_model_is_kept_and_loaded_like_a_run(ours: DenseDetector, tmp_path: Path) -> None:
    Run(tmp_path).keep(ours)
    image = some_images()[1]
    torch.testing.assert_close(bw.load(tmp_path).predict(image), ours.predict(image))


def test_other_models_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected torchvision's ssd300_vgg16 but got Linear"):
        convert(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="ssd300_vgg16"):
        convert(ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None))

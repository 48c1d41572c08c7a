"""Every detector learns eight real images by heart, on a light backbone: from the data set to the metrics."""

import time
import warnings

import pytest
import torch
from torch import Tensor, nn

import boxwright as bw
from boxwright.data import DetectionDataset
from boxwright.data.cache import ImageCache
from boxwright.data.loading import Batch, TrainingSet, collate
from boxwright.data.transforms import Augmentation
from boxwright.errors import BoxwrightWarning
from boxwright.models import Detector, build_criterion
from boxwright.models.supervision import supervise
from boxwright.training.module import parameter_groups
from real_data import SHARED

BCCD = SHARED / "data" / "bccd"
LITE = {"backbone": "tf_efficientnet_lite0", "freeze_depthwise": 0, "norm_mode": "train", "nms_threshold": 0.5}

# name -> options on top of LITE, steps, peak learning rate
CASES: dict[str, tuple[dict[str, object], int, float]] = {
    "lite320": ({"image_size": 256}, 100, 4e-3),
    "retinanet": ({"image_size": 256, "width": 64}, 240, 5e-4),
    "unitbox": ({"image_size": 256, "width": 64, "matcher": "points:radius=1.5"}, 120, 1e-3),
    "faster-rcnn": ({"image_size": 256, "width": 64, "hidden": 256, "training_proposals": 300}, 120, 1e-3),
    "ssd300": ({}, 120, 1e-3),
    "ssd300-tf": ({}, 160, 1e-3),
    "ssd512": ({}, 90, 1e-3),
    "tiny-detector": ({"image_size": 224}, 120, 2e-3),
}


@pytest.fixture(scope="module")
def images() -> DetectionDataset:
    """Eight of the blood cells' images with all three classes: 9 to 19 objects each."""
    if not BCCD.is_dir():
        pytest.skip(f"the blood cells are not at {BCCD}")
    dataset = bw.read_dataset(BCCD, "train")
    both = [i for i in range(len(dataset)) if len(set(dataset.target(i)[1].tolist())) == 3]
    return dataset.subset(both[:8])


def whole_batch(dataset: DetectionDataset, detector: Detector) -> Batch:
    cache = ImageCache(dataset)
    cache.fill(lambda done: None)
    shown = TrainingSet(cache, range(len(dataset)), detector.recipe.input_size, Augmentation("none", "none"))
    return collate(shown[i] for i in range(len(dataset)))


def learn(detector: Detector, batch: Batch, steps: int, lr: float, *, anneal: bool = True) -> list[float]:
    """The losses, of all images at every step; the rate rises and falls, or stays."""
    criterion = build_criterion(detector.recipe)
    optimizer = torch.optim.AdamW(parameter_groups(detector, 0.0), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps) if anneal else None
    totals = []
    for _ in range(steps):
        losses, _ = supervise(detector, criterion, batch.images, batch.targets, batch.shown)
        optimizer.zero_grad()
        losses.total.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        totals.append(losses.total.item())
    return totals


def ap50(detector: Detector, batch: Batch, dataset: DetectionDataset) -> float:
    """Against the boxes as the network's input shows them."""
    with torch.no_grad():
        found = detector.eval().detect(detector(detector.normalize(batch.images)))

    def of_image(boxes: Tensor, labels: Tensor, ignore: Tensor) -> dict[str, Tensor]:
        real = labels >= 0
        return {"boxes": boxes[real], "labels": labels[real], "difficult": ignore[real]}

    known = [of_image(*fields) for fields in zip(*batch.targets, strict=True)]
    return bw.evaluate.detection_metrics(found, known, dataset.classes).AP50


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_learns_eight_images_by_heart(name: str, images: DetectionDataset) -> None:
    options, steps, lr = CASES[name]
    torch.manual_seed(0)
    detector = bw.create_detector(name, 3, **{**LITE, **options}).train()
    start = time.perf_counter()
    batch = whole_batch(images, detector)
    learn(detector, batch, steps, lr)
    reached = ap50(detector, batch, images)
    print(f"{name}: AP50 {reached:.3f} after {steps} steps, {time.perf_counter() - start:.0f} s")
    assert reached >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("pretrained", "fall"), [(True, 10), (False, 2)])
def test_ssd300_on_vgg16_learns_two_images(pretrained: bool, fall: float, images: DetectionDataset) -> None:
    """Within forty steps. VGG16 has no normalisation: what is not pretrained starts slowly."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "can't get pretrained weights", BoxwrightWarning)
        try:
            detector = bw.create_detector("ssd300", 3, pretrained=pretrained).train()
        except BoxwrightWarning as missing:
            pytest.skip(str(missing))
    batch = whole_batch(images.subset([0, 1]), detector)
    losses = learn(detector, batch, 40, 2e-4, anneal=False)
    assert losses[-1] < losses[0] / fall

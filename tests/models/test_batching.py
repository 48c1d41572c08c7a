"""Prediction in batches: what one image at a time gives, in the order of the images, with few of them in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import boxwright as bw
from boxwright.data.inputs import Input
from boxwright.errors import BoxwrightError, DataError
from boxwright.models import Detector, build_detector
from boxwright.models.batching import auto_batch, predict_stream
from boxwright.recipes import get_recipe
from boxwright.types import Detections
from dataset_builders import write_picture

TINY: dict[str, dict[str, Any]] = {
    "lite320": {"image_size": 64, "width": 16},
    "lite320 padded": {"image_size": 64, "width": 16, "resize": "pad"},
    "lite320 shortest": {"image_size": 64, "width": 16, "resize": "shortest", "max_size": 128},
    "retinanet": {"image_size": 64, "max_size": 128, "width": 16, "backbone": "resnet10t"},
    "unitbox": {"image_size": 64, "max_size": 128, "width": 16, "backbone": "resnet10t"},
    "faster-rcnn": {"image_size": 64, "max_size": 128, "width": 16, "hidden": 32, "backbone": "resnet10t"},
    "nano416": {"image_size": 64},
    "ssdlite300": {},
    "tiny-detector": {},
    "ssd300": {},
    "ssd300 light": {"backbone": "tf_efficientnet_lite0"},
    "ssd300-pool": {},
    "ssd300-tf": {},
    "ssd512": {},
}
SLOW = re.compile("tiny-detector|ssd300$|ssd300-|ssd512")  # VGG at full size
SIZES = ((50, 70), (70, 50), (64, 64), (50, 70), (33, 90), (90, 33), (50, 71))


def tiny(name: str) -> Detector:
    torch.manual_seed(0)
    recipe = get_recipe(name.split()[0], classes=("a", "b"), **TINY[name]).from_scratch()
    detector = build_detector(recipe)
    if name == "retinanet":  # all of its first scores are .01, so that rounding would decide on their order
        with torch.no_grad():
            torch._foreach_mul_([weight for weight in detector.net.head.parameters() if weight.ndim == 4], 4.0)
    return detector.eval()


def pictures(sizes: Sequence[tuple[int, int]] = SIZES) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def test_every_detector_is_tried() -> None:
    assert {name.split()[0] for name in TINY} == set(bw.list_detectors()) - {"auto"}  # which is lite320 once decided


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if SLOW.match(name) else []) for name in TINY]
)
def test_batches_give_what_single_images_do(name: str) -> None:
    """In any order; boxes and scores differ by rounding alone, 1e-5 of the image's sides and of 1."""
    detector, images = tiny(name), pictures()[: 2 if "ssd" in name else None]
    alone = [detector.predict(image, score=0.0)[0] for image in images]
    assert min(len(found.boxes) for found in alone) > 0
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1)).tolist()
    for found, place in zip(detector.predict([images[at] for at in order], score=0.0, batch=3), order, strict=True):
        torch.testing.assert_close(found.boxes, alone[place].boxes, rtol=0, atol=1e-5 * max(images[place].shape))
        torch.testing.assert_close(found.scores, alone[place].scores, rtol=0, atol=1e-5)
        assert torch.equal(found.labels, alone[place].labels)


@pytest.mark.parametrize("name", [name for name in TINY if not SLOW.match(name)])
def test_bf16_moves_scores_by_thousandths(name: str) -> None:
    """Whatever layers a network has; the best detections alone, since those below may change places."""
    detector, image = tiny(name), pictures()[0]
    exact = detector.predict(image, score=0.0)[0].scores[:20]
    rough = detector.for_inference("bf16").predict(image, score=0.0)[0].scores[:20]
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.005)


class Counting(Detector):
    """Says which image it sees by its first level, and counts the batches."""

    def __init__(self, most: int = 99) -> None:
        torch.nn.Module.__init__(self)
        self.recipe = get_recipe("lite320", image_size=64, resize="shortest", max_size=128, classes=("a",))
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.most = most
        self.batches: list[int] = []

    def predict_inputs(self, inputs: Sequence[Input], *_: Any) -> list[Detections]:
        self.batches.append(len(inputs))
        if len(inputs) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        assert len({each.pixels.shape for each in inputs}) == 1
        levels = [torch.from_numpy(each.pixels[0, 0, :1]).float() for each in inputs]
        return [Detections(torch.zeros(1, 4), level, torch.zeros(1).long()) for level in levels]

    def forward(self, images: Any, valid_size: Any = None) -> Any: ...

    def _detect(self, *_: Any) -> list[Detections]: ...  # type: ignore[empty-body]


def levels_of(answers: Iterator[Detections | DataError]) -> list[float | None]:
    return [None if isinstance(each, DataError) else each.scores.item() for each in answers]


def flat(level: int, size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), level, np.uint8)


def test_the_order_is_that_of_the_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images: list[Any] = [flat(level, SIZES[rng.integers(len(SIZES))]) for level in range(60)]
    images[7] = images[30] = tmp_path / "nowhere.jpg"
    expected = [None if place in (7, 30) else float(place) for place in range(60)]
    for size in (1, 4, 16, 99):
        detector = Counting()
        assert levels_of(predict_stream(detector, images, batch=size)) == expected
        assert max(detector.batches) <= size
        assert sum(detector.batches) == 58


def test_images_of_one_size_fill_batches() -> None:
    detector = Counting()
    levels_of(predict_stream(detector, [flat(1, (64, 64))] * 10, batch=4))
    assert detector.batches == [4, 4, 2]


def test_few_images_are_in_memory_at_a_time() -> None:
    """Neither decoded ahead nor waiting: one of a rare size would hold all answers behind it back."""
    read = 0

    def images() -> Iterator[np.ndarray]:
        nonlocal read
        for place in range(500):
            read += 1
            yield flat(1, (64, 128) if place == 20 else (64, 64))

    for answered, _ in enumerate(predict_stream(Counting(), images(), batch=4)):
        assert read - answered <= (2 + 4 + 1) * 4


def test_a_batch_without_memory_is_halved() -> None:
    detector = Counting(most=2)
    images = [flat(level, (64, 64)) for level in range(7)]
    assert levels_of(predict_stream(detector, images, batch=7)) == list(map(float, range(7)))
    assert [size for size in detector.batches if size <= 2] == [1, 2, 2, 2]
    with pytest.raises(BoxwrightError, match="out of memory: an image of 64 x 64 pixels: a model of a smaller"):
        levels_of(predict_stream(Counting(most=0), images, batch=7))


def test_a_fault_of_the_network_is_no_lack_of_memory() -> None:
    detector = Counting()
    detector.predict_inputs = lambda *_: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(ZeroDivisionError):
        levels_of(predict_stream(detector, pictures(), batch=2))


@pytest.mark.parametrize(("options", "size"), [({}, 10), ({"image_size": 64}, 64), ({"image_size": 4096}, 1)])
def test_auto_goes_by_the_pixels_of_the_input(options: dict[str, int], size: int) -> None:
    detector = Counting()
    detector.recipe = get_recipe("lite320", classes=("a",), **options)
    assert auto_batch(detector) == size


def test_a_faulty_file_is_raised_by_predict_itself(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file in files:
        write_picture(file, 1)
    files[1].write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png: not a readable image"):
        tiny("lite320").predict(files)


def test_a_batch_has_an_image() -> None:
    with pytest.raises(ValueError, match="Expected a batch of at least 1 but got 0"):
        tiny("lite320").predict(pictures(), batch=0)

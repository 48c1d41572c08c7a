"""Inputs that are made on the device are those of the CPU, to the rounding of a level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils.data import DataLoader

from boxwright.data import read_dataset
from boxwright.data import windows as module
from boxwright.data.cache import ImageCache
from boxwright.data.decoded import Decoded
from boxwright.data.loading import Sample, TrainingSet, collate
from boxwright.data.sampling import EpochPlaces
from boxwright.data.transforms import (
    FILL,
    GAP,
    Augmentation,
    Drawn,
    Frame,
    InputSize,
    Resize,
    covered,
    light_table,
    show,
)
from boxwright.data.windows import Windows, cut_window, largest_window
from boxwright.demo_data import make_digits

BILINEAR = Image.Resampling.BILINEAR


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth shapes, hard edges and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    shapes = 60 * np.sin(x / 17 + y / 31) + 60 * ((x // 23 + y // 19) % 2) + 100
    image = shapes[..., None] + rng.normal(0, 12, (height, width, 3)) + np.array([0, 10, -15])
    return image.clip(0, 255).astype(np.uint8)


def both(image: NDArray[np.uint8], drawn: Drawn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The input (H, W, 3) as the CPU makes it, and as the device does."""
    pixels, window = cut_window(Decoded.whole(image), drawn)
    sample = Sample(
        pixels, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), 0, (1, 1), window=window
    )
    batch = collate([sample]).resampled()
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    return show(Decoded.whole(image), drawn).astype(np.int64), batch.images[0].permute(1, 2, 0).numpy().astype(np.int64)


def rows_first(image: NDArray[np.uint8], drawn: Drawn) -> NDArray[np.int64]:
    """What Pillow makes of it one direction after the other: in one call it chooses the order by the shape."""
    frame, light = drawn
    (left, right), (top, bottom), (x0, y0, x1, y1) = shown = covered(frame, image.shape[:2])
    out = np.full((*frame.size, 3), FILL, np.uint8)
    if not shown.empty:
        wide = Image.fromarray(image).resize((right - left, image.shape[0]), BILINEAR, box=(x0, 0, x1, image.shape[0]))
        out[top:bottom, left:right] = wide.resize((right - left, bottom - top), BILINEAR, box=(0, y0, right - left, y1))
    out = out[:: -1 if frame.mirror_y else 1, :: -1 if frame.mirror_x else 1]
    if light is not None:
        out = np.stack([light[out[..., channel], channel] for channel in range(3)], -1)
    return out.astype(np.int64)


@pytest.mark.parametrize("kind", ["none", "light", "ssd"])
@pytest.mark.parametrize("resize", ["squash", "pad", "shortest"])
@pytest.mark.parametrize("shape", [(120, 160), (50, 33), (300, 90)])
def test_each_augmentation_gives_the_same_input(kind: Any, resize: Resize, shape: tuple[int, int]) -> None:
    image, box = photo(*shape), np.array([[5, 5, 30, 40]], np.float32)
    size = InputSize(96, resize, 128)
    for seed in range(12):
        drawn, _, _ = Augmentation(kind, "both").draw(shape, box, size, np.random.default_rng(seed))
        ours, theirs = both(image, drawn)
        step = max((drawn.frame.x1 - drawn.frame.x0) / ours.shape[1], (drawn.frame.y1 - drawn.frame.y0) / ours.shape[0])
        difference = abs(ours - theirs)
        if step < 2 * GAP:
            np.testing.assert_array_equal(theirs, rows_first(image, drawn))
            assert difference.max() <= (2 if drawn.light is None else 6)  # contrast stretches them
        assert difference.mean() < (0.5 if step < 2 * GAP else 2)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    corner=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    extent=st.tuples(st.floats(0.5, 200), st.floats(0.5, 200)),
    mirror=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 5),
)
def test_any_frame_gives_the_same_input(
    shape: tuple[int, int],
    size: tuple[int, int],
    corner: tuple[float, float],
    extent: tuple[float, float],
    mirror: tuple[bool, bool],
    seed: int,
) -> None:
    (x0, y0), (width, height) = corner, extent
    frame = Frame(x0, y0, x0 + width, y0 + height, size, *mirror)
    light = light_table(np.random.default_rng(seed))
    ours, theirs = both(photo(*shape, seed), Drawn(frame, light))
    if max(width / size[1], height / size[0]) < 2 * GAP:
        np.testing.assert_array_equal(theirs, rows_first(photo(*shape, seed), Drawn(frame, light)))
        assert abs(ours - theirs).max() <= 6
    shown = show(Decoded.whole(np.zeros((*shape, 3), np.uint8)), Drawn(frame, None)) != FILL
    flat = both(np.zeros((*shape, 3), np.uint8), Drawn(frame, None))[1] != FILL
    np.testing.assert_array_equal(shown, flat)  # the same pixels lie outside of the image


@pytest.mark.parametrize("step", [4, 4.6, 5.9, 7.3, 11])
def test_a_large_window_is_reduced_first_and_hardly_differs(step: float) -> None:
    image = photo(700, 900)
    size = (round(700 / step), round(900 / step))
    for frame in (Frame(0, 0, 900, 700, size, mirror_x=True), Frame(33.3, -50, 888, 640, size)):
        drawn = Drawn(frame, None)
        pixels, _ = cut_window(Decoded.whole(image), drawn)
        assert max(pixels.shape[0] / size[0], pixels.shape[1] / size[1]) < 2 * GAP
        ours, theirs = both(image, drawn)
        inside = ours != FILL
        assert abs(ours - theirs)[inside].mean() < 1.2  # of noise and edges; .2 to .4 of photographs
        assert abs(ours - theirs)[inside].max() < 16


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    side=st.integers(1, 48),
    resize=st.sampled_from(["squash", "pad", "shortest"]),
    kind=st.sampled_from(["none", "light", "ssd"]),
    seed=st.integers(0, 1000),
)
def test_no_window_is_larger_than_was_said(
    shape: tuple[int, int], side: int, resize: Any, kind: Any, seed: int
) -> None:
    size = InputSize(side, resize, 2 * side)
    drawn, _, _ = Augmentation(kind).draw(shape, np.zeros((0, 4), np.float32), size, np.random.default_rng(seed))
    pixels, _ = cut_window(Decoded.whole(np.zeros((*shape, 3), np.uint8)), drawn)
    assert pixels.shape[0] * pixels.shape[1] <= largest_window(shape, size)


def test_a_mean_of_pixels_lies_where_its_pixels_do() -> None:
    """A ramp stays a ramp: nothing shifts, whatever it is reduced by."""
    ramp = np.repeat(np.linspace(0, 255, 840).round().astype(np.uint8)[None, :, None], 4, 0).repeat(3, 2)
    for width in (60, 100, 150, 209):
        for start in (0.0, 13.7):
            ours, theirs = both(ramp, Drawn(Frame(start, 0, 840, 4, (4, width)), None))
            assert abs(ours - theirs)[:, 3:-3].max() <= 1
            assert abs((ours - theirs)[:, 3:-3].mean()) < 0.3


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 8}, size=96)


def sets(data: Path, size: InputSize, kind: Any = "light") -> tuple[TrainingSet, TrainingSet]:
    """What makes its inputs on the CPU, and what makes them on the device."""
    cache, augmentation = ImageCache(read_dataset(data, "train")), Augmentation(kind)
    cpu, device = (TrainingSet(cache, range(8), size, augmentation, 3, windows=windows) for windows in (False, True))
    return cpu, device


@pytest.mark.parametrize("kind", ["none", "light", "ssd"])
@pytest.mark.parametrize("resize", ["squash", "shortest"])
def test_batches_are_the_same(digits: Path, resize: Resize, kind: str) -> None:
    cpu, device = sets(digits, InputSize(48, resize, 80), kind)
    ours, sent = (
        collate([images[key] for key in range(8)], 32 if resize == "shortest" else 1) for images in (cpu, device)
    )
    assert sent.windows is not None
    made = sent.resampled()
    assert made.windows is None
    for name in ("indices", "sizes", "valid_size"):
        assert torch.equal(getattr(ours, name), getattr(made, name)) if getattr(ours, name) is not None else True
    assert (ours.valid_size is None) == (made.valid_size is None)
    for one, other in zip(ours.targets, made.targets, strict=True):
        assert torch.equal(one, other)
    difference = (ours.images.int() - made.images.int()).abs()
    assert ours.images.shape == made.images.shape
    assert ours.images.float().std() > 10
    assert difference.float().mean() < 0.5
    assert difference.max() <= (20 if kind == "ssd" else 3)  # which zooms out so far that a few windows are reduced
    assert abs(ours.images.float().mean() - made.images.float().mean()) < 0.1
    assert abs(ours.images.float().std() - made.images.float().std()) < 0.3


def test_smaller_inputs_are_padded_with_gray(tmp_path: Path) -> None:
    size = InputSize(32, "shortest", 64)
    samples = []
    for place, shape in enumerate([(40, 40), (40, 70)]):
        drawn, _, _ = Augmentation("light").draw(
            shape, np.zeros((0, 4), np.float32), size, np.random.default_rng(place)
        )
        pixels, window = cut_window(Decoded.whole(photo(*shape)), drawn)
        empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
        samples.append(Sample(pixels, *empty, place, shape, window))
    batch = collate(samples, 32).resampled()
    assert batch.images.shape == (2, 3, 32, 64)
    assert batch.valid_size is not None
    assert batch.valid_size.tolist() == [[32, 32], [32, 56]]
    assert (batch.images[0, :, :, 32:] == FILL).all()
    assert (batch.images[1, :, :, 56:] == FILL).all()


def test_images_are_resampled_in_parts_where_they_are_large(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, device = sets(digits, InputSize(64))
    batch = collate([device[key] for key in range(8)])
    whole = batch.resampled().images
    monkeypatch.setattr(module, "_AT_ONCE", 3 * 12 * batch.images.shape[2] * batch.images.shape[3])
    with torch.autocast("cpu", torch.bfloat16):  # which would round the products
        assert torch.equal(batch.resampled().images, whole)


def test_nothing_is_read_on_the_host(digits: Path) -> None:
    """Tensors without values go through: the host never waits for the device."""
    _, device = sets(digits, InputSize(48, "shortest", 80))
    batch = collate([device[key] for key in range(4)], 32)
    assert batch.windows is not None
    with FakeTensorMode() as fake:
        nowhere = batch._replace(
            images=fake.from_tensor(batch.images),
            windows=Windows(*(fake.from_tensor(value) for value in batch.windows)),
            valid_size=None if batch.valid_size is None else fake.from_tensor(batch.valid_size),
        )
        with pytest.raises(DataDependentOutputException):
            bool(nowhere.images.any())
        made = nowhere.resampled().images
    assert made.shape == batch.resampled().images.shape


@pytest.mark.slow
def test_workers_give_the_same_windows(digits: Path) -> None:
    _, device = sets(digits, InputSize(64), "ssd")
    alone, apart = (
        list(
            DataLoader(
                device,
                batch_size=4,
                sampler=EpochPlaces(8, 1, batch_size=4),
                collate_fn=collate,
                num_workers=workers,
            )
        )
        for workers in (0, 2)
    )
    for ours, theirs in zip(alone, apart, strict=True):
        assert torch.equal(ours.resampled().images, theirs.resampled().images)
        assert torch.equal(ours.targets.boxes, theirs.targets.boxes)

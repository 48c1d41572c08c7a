"""Images that are decoded smaller: what an input shows stays where it was, and so does what boxes go by."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import boxwright as bw
from boxwright.check.images import look_at
from boxwright.data import read_dataset
from boxwright.data.cache import ImageCache
from boxwright.data.decoded import Decoded
from boxwright.data.images import PLAIN, PixelRule, decode_image, decode_reduced
from boxwright.data.loading import TrainingSet, collate
from boxwright.data.transforms import Augmentation, Frame, InputSize, Resize, resample
from boxwright.data.upright import turn_back
from boxwright.errors import RecipeError

SIZE = InputSize(64)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """Waves that are wider than any reduction, so that it hardly changes them."""
    y, x = np.mgrid[:height, :width]
    waves = [
        90 * np.sin(x / a + y / b) + 60 * np.cos(y / a - x / c)
        for a, b, c in ((45, 70, 90), (60, 50, 75), (80, 40, 60))
    ]
    return (np.stack(waves, -1) / 1.3 + 128).clip(0, 255).astype(np.uint8)


def save(path: Path, pixels: NDArray[np.uint8], mode: str = "RGB", turned: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(pixels).convert(mode).save(
        path, quality=97, subsampling=0, exif=exif
    ) if path.suffix == ".jpg" else (Image.fromarray(pixels).convert(mode).save(path, exif=exif))
    return path


def by(factor: int) -> Any:
    return lambda height, width: factor


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_nothing_shifts_whatever_exif_says(tmp_path: Path, turned: int, name: str, factor: int) -> None:
    """The sides are no multiples of the factor: the last blocks reach beyond the image, wherever that is turned to."""
    path = save(tmp_path / name, smooth(389, 517), turned=turned)
    for rule in (PLAIN, PixelRule("ignore")):
        whole, small = Decoded.whole(decode_image(path, rule)), decode_reduced(path, rule, by(factor))
        assert small.size == whole.size == whole.pixels.shape[:2]
        assert small.factor == factor
        assert small.pixels.shape[:2] == tuple(-(-side // factor) for side in whole.size)
        height, width = whole.size
        inner = Frame(20, 30, width - 20, height - 30, SIZE.whole(height, width).size)
        corner = Frame(width - 201.5, height - 180, width + 40, height + 21, (48, 40))
        for frame, most in ((inner, 0.7), (corner, 1.2)):  # a shift of one pixel of the image is .8 to 1.6
            assert np.abs(resample(small, frame).astype(int) - resample(whole, frame)).mean() < most


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_jpeg(tmp_path: Path, mode: str, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(400, 520)).convert(mode).save(path, quality=95, progressive=progressive)
    whole, small = Decoded.whole(decode_image(path)), decode_reduced(path, PLAIN, SIZE.reduction)
    assert small.factor == 2
    assert small.pixels.shape == (200, 260, 3)
    frame = SIZE.whole(400, 520)
    assert np.abs(resample(small, frame).astype(int) - resample(whole, frame)).mean() < 1.5


def test_a_jpeg_is_decoded_at_its_scale_and_not_averaged_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jpeg, png = save(tmp_path / "a.jpg", smooth(400, 520)), save(tmp_path / "a.png", smooth(400, 520))
    monkeypatch.setattr(Image.Image, "reduce", lambda *_: pytest.fail("averaged"))
    assert decode_reduced(jpeg, PLAIN, by(8)).pixels.shape == (50, 65, 3)
    with pytest.raises(BaseException, match="averaged"):
        decode_reduced(png, PLAIN, by(8))


def test_deep_pixels_keep_their_range(tmp_path: Path) -> None:
    values = np.linspace(1000, 9000, 320 * 320).reshape(320, 320).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    for rule in (PLAIN, PixelRule(depth_range="0,20000")):
        small = decode_reduced(tmp_path / "deep.png", rule, by(4))
        whole = decode_image(tmp_path / "deep.png", rule)
        np.testing.assert_allclose(small.pixels, whole.reshape(80, 4, 80, 4, 3).mean((1, 3)), atol=0.51)


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 6000),
    width=st.integers(1, 6000),
    side=st.integers(1, 640),
    resize=st.sampled_from(["squash", "pad", "shortest"]),
    zoom=st.floats(1, 4),
)
def test_what_is_decoded_has_as_many_pixels_as_an_input(
    height: int, width: int, side: int, resize: Resize, zoom: float
) -> None:
    size = InputSize(side, resize, 2 * side)
    factor = size.reduction(height, width, zoom)
    whole = size.whole(height, width)
    steps = (whole.x1 - whole.x0) / whole.size[1], (whole.y1 - whole.y0) / whole.size[0]
    assert factor in (1, 2, 4, 8)
    assert factor == 1 or min(steps) >= factor * zoom
    assert factor == 8 or min(steps) < 2 * factor * zoom


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["none", "light", "ssd"]), seed=st.integers(0, 10**6))
def test_no_frame_is_closer_than_the_closest(kind: Any, seed: int) -> None:
    augmentation = Augmentation(kind)
    box = np.array([[100, 100, 300, 250]], np.float32)
    frame = augmentation.draw((400, 600), box, SIZE, np.random.default_rng(seed))[0].frame
    assert frame.x1 - frame.x0 >= 600 / augmentation.closest * 0.999
    assert frame.y1 - frame.y0 >= 400 / augmentation.closest * 0.999


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four JPEGs, each stored in another orientation, with boxes drawn upright."""
    root = tmp_path_factory.mktemp("photos")
    (root / "train").mkdir()
    for place, turned in enumerate((1, 3, 6, 8)):
        pixels = turn_back(np.roll(smooth(389, 517), 40 * place, 1), turned)
        save(root / "train" / f"{place}.jpg", pixels, turned=turned)
    images = [{"id": n, "file_name": f"train/{n}.jpg", "width": 517, "height": 389} for n in range(4)]
    boxes = [
        {"id": 1 + 2 * n + m, "image_id": n, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for n in range(4)
        for m, box in enumerate(([60, 50, 140, 120], [210, 90, 290, 260]))
    ]
    content = {"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": boxes}
    (root / "train.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("kind", ["none", "light", "ssd"])
def test_targets_are_those_of_the_whole_image(photos: Path, kind: Any, windows: bool) -> None:
    augmentation, dataset = Augmentation(kind), read_dataset(photos, "train")
    reduction = partial(SIZE.reduction, zoom=augmentation.closest)
    caches = [ImageCache(dataset), ImageCache(dataset, reduction=reduction)]
    assert [cache.fill() for cache in caches] == [{}, {}]
    assert dataset.boxes[:2].tolist() == [[60, 50, 200, 170], [210, 90, 500, 350]]
    assert caches[1]._used * reduction(389, 517) ** 2 == pytest.approx(caches[0]._used, rel=0.05)
    whole, small = (
        collate(TrainingSet(cache, range(4), SIZE, augmentation, windows=windows)[key] for key in range(4)).resampled()
        for cache in caches
    )
    for name in ("indices", "sizes"):
        assert torch.equal(getattr(whole, name), getattr(small, name))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(whole.targets, small.targets, strict=True))
    assert (whole.images.float() - small.images.float()).abs().mean() < 1.5
    not_kept = TrainingSet(ImageCache(dataset, 0, reduction=reduction), range(4), SIZE, augmentation, windows=windows)
    assert torch.equal(collate(not_kept[key] for key in range(4)).resampled().images, small.images)


@pytest.mark.parametrize("decode", ["full", "scaled"])
def test_prediction_sees_what_validation_does(photos: Path, decode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read_dataset(photos, "train")
    detector = bw.create_detector(
        "lite320", 1, image_size=64, pretrained=False, freeze=0, width=32, decode=decode, exif="apply"
    )
    seen: list[torch.Tensor] = []
    normalize = detector.normalize
    monkeypatch.setattr(detector, "normalize", lambda images, *more: (seen.append(images), normalize(images, *more))[1])
    cache = ImageCache(dataset, reduction=detector.recipe.reduction())
    validation = TrainingSet(cache, range(4), detector.recipe.input_size, Augmentation("none", "none"))
    for place in range(4):
        found = detector.predict(dataset.path(place), score=0.0)[0]
        assert torch.equal(seen[-1], collate([validation[place]]).images)
        assert found.boxes[:, 2].max() > 300  # in pixels of the image, whatever was decoded
    assert cache.read(0).factor == (2 if decode == "scaled" else 1)


def test_a_recipe_says_how_small(photos: Path) -> None:
    recipe = bw.recipes.get_recipe("lite320", decode="scaled", image_size=64, augment="ssd")
    assert [recipe.reduction(training=training)(389, 517) for training in (True, False)] == [1, 2]  # type: ignore[misc]
    assert recipe.replace(decode="full").reduction() is None
    with pytest.raises(RecipeError, match="antialias=true with decode=scaled"):
        recipe.replace(antialias=False)


def test_what_is_checked_is_the_image_and_not_what_was_decoded(photos: Path) -> None:
    for path in sorted(photos.rglob("*.jpg")):
        whole, small = look_at(path, PLAIN)[0], look_at(path, PLAIN, by(4))[0]
        for name in ("size", "stored", "mode", "written", "early", "digest", "fault"):
            assert getattr(whole, name) == getattr(small, name)
        assert whole.thumbnail is not None
        assert small.thumbnail is not None
        assert np.abs(whole.thumbnail.astype(int) - small.thumbnail).mean() < 3

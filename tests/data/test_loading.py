"""Batches: padding, seeds, and images that can't be read."""

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from boxwright.data import read_dataset
from boxwright.data.cache import ImageCache
from boxwright.data.loading import Sample, TrainingSet, collate
from boxwright.data.sampling import EpochPlaces, Showing, encode
from boxwright.data.transforms import Augmentation, InputSize
from boxwright.demo_data import make_digits
from boxwright.errors import DataError


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 6}, size=64)


def sample(boxes: int, place: int = 0) -> Sample:
    image = np.full((8, 8, 3), place, np.uint8)
    return Sample(
        image, np.ones((boxes, 4), np.float32), np.arange(boxes), np.zeros(boxes, bool), place, (30, 40 + place)
    )


def test_targets_are_padded_to_the_most_of_the_batch() -> None:
    batch = collate([sample(2, 5), sample(0, 6), sample(1, 7)])
    assert batch.images.shape == (3, 3, 8, 8)
    assert batch.targets.boxes.shape == (3, 2, 4)
    assert batch.targets.labels.tolist() == [[0, 1], [-1, -1], [0, -1]]
    assert batch.indices.tolist() == [5, 6, 7]
    assert batch.sizes.tolist() == [[30, 45], [30, 46], [30, 47]]
    assert collate([sample(0), sample(0)]).targets.boxes.shape == (2, 0, 4)


def test_augmentation_depends_on_seed_epoch_and_image_alone(digits: Path) -> None:
    cache = ImageCache(read_dataset(digits, "train"))
    cache.fill()
    first = TrainingSet(cache, range(6), InputSize(64), Augmentation("light"), seed=1)
    again = TrainingSet(ImageCache(cache.dataset), range(6), InputSize(64), Augmentation("light"), seed=1)
    np.testing.assert_array_equal(first[3].image, again[3].image)
    for other in (Showing(epoch=1, copy=0, place=3), Showing(epoch=0, copy=1, place=3)):
        shown = first[encode(other, 6)]
        assert (first[3].image != shown.image).any()
        assert shown.place == first[3].place == 3
    other = TrainingSet(cache, range(6), InputSize(64), Augmentation("light"), seed=2)
    assert (first[3].image != other[3].image).any()


def test_a_set_of_which_nothing_can_be_read_is_named(digits: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(digits, tmp_path / "copy")
    for file in (folder / "images" / "train").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of its images"):
        TrainingSet(ImageCache(read_dataset(folder, "train")), range(6), InputSize(32), Augmentation("none", "none"))[1]


def test_ignored_boxes_keep_their_mark(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "train" / "a.png")
    (tmp_path / "train.json").write_text(
        '{"images": [{"id": 1, "file_name": "train/a.png", "width": 20, "height": 20}],'
        ' "categories": [{"id": 1, "name": "x"}], "annotations": ['
        '{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 1},'
        '{"id": 2, "image_id": 1, "category_id": 1, "bbox": [5, 5, 9, 9], "area": 81, "iscrowd": 0}]}'
    )
    dataset = read_dataset(tmp_path, "train")
    item = TrainingSet(ImageCache(dataset), [0], InputSize(20), Augmentation("none", "none"))[0]
    assert item.ignore.tolist() == [True, False]
    assert torch.equal(collate([item]).targets.ignore, torch.tensor([[True, False]]))


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_give_the_same_batches(digits: Path, start: str) -> None:
    """Spawned workers, as on Windows and macOS, get everything by pickle."""
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} on this platform")
    cache = ImageCache(read_dataset(digits, "train"), shared=True)
    cache.fill()
    images = TrainingSet(cache, range(6), InputSize(64), Augmentation("ssd"), seed=1)
    places = EpochPlaces(6, 1, batch_size=2)
    alone = list(DataLoader(images, batch_size=2, sampler=places, collate_fn=collate))
    loader = DataLoader(
        images,
        batch_size=2,
        sampler=places,
        collate_fn=collate,
        num_workers=2,
        multiprocessing_context=start,
    )
    for ours, theirs in zip(alone, loader, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.targets.boxes, theirs.targets.boxes)
        assert torch.equal(ours.indices, theirs.indices)

"""Batches: padding, seeds, and images that can't be read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from boxwright.data import read_dataset
from boxwright.data.loading import ImageCache, Sample, TrainingSet, collate
from boxwright.data.transforms import Augmentation
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
    first = TrainingSet(cache, range(6), 64, Augmentation("light"), seed=1)
    again = TrainingSet(ImageCache(cache.dataset), range(6), 64, Augmentation("light"), seed=1)
    np.testing.assert_array_equal(first[3].image, again[3].image)
    assert (first[3].image != first[6 + 3].image).any()  # the next epoch
    assert first[6 + 3].place == first[3].place == 3
    other = TrainingSet(cache, range(6), 64, Augmentation("light"), seed=2)
    assert (first[3].image != other[3].image).any()


def test_cache_keeps_what_fits_and_names_what_is_unreadable(digits: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(digits, tmp_path / "copy")
    broken = sorted((folder / "images" / "train").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:200])
    dataset = read_dataset(folder, "train")
    cache = ImageCache(dataset, limit=2 * 64 * 64 * 3)
    done: list[int] = []
    faults = cache.fill(done.append)
    assert list(faults) == [2]
    assert broken.name in faults[2]
    assert len(cache) == 2
    assert done[-1] == 6
    assert cache.read(5).shape == (64, 64, 3)  # not kept, decoded again
    # A fault that wasn't met before the training does not end it
    late = TrainingSet(ImageCache(dataset), range(6), 32, Augmentation("none", "none"))
    assert [late[place].place for place in range(6)] == [0, 1, 3, 3, 4, 5]


def test_no_more_is_decoded_than_fits(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxwright.data.loading._CHUNK", 2)
    done: list[int] = []
    ImageCache(read_dataset(digits, "train"), limit=64 * 64 * 3).fill(done.append)
    assert done == [1, 2]


def test_a_set_of_which_nothing_can_be_read_is_named(digits: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(digits, tmp_path / "copy")
    for file in (folder / "images" / "train").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of its images"):
        TrainingSet(ImageCache(read_dataset(folder, "train")), range(6), 32, Augmentation("none", "none"))[1]


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
    item = TrainingSet(ImageCache(dataset), [0], 20, Augmentation("none", "none"))[0]
    assert item.ignore.tolist() == [True, False]
    assert torch.equal(collate([item]).targets.ignore, torch.tensor([[True, False]]))

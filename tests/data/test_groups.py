"""Groups of images by each rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.groups import image_groups
from boxwright.errors import RecipeError
from dataset_builders import write_picture, write_voc

NAMES = ("day_1", "day_2", "night_1", "plain")


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    root = write_voc(tmp_path / "data", {name: [("cat", 10, 12, 40, 50)] for name in NAMES}, {"test": list(NAMES)})
    for seed, name in enumerate(NAMES):
        exif = Image.Exif()
        if seed < 3:
            exif[0x0110] = "Canon " if seed else "Nikon"  # Model
            exif[0x8769] = {0x8827: 100 * seed}  # ISOSpeedRatings
        write_picture(root / "JPEGImages" / f"{name}.jpg", seed, exif=exif)
    return read_dataset(root, "test")


@pytest.mark.parametrize(
    ("rule", "groups"),
    [
        (r"(day|night)_", ["day", "day", "night", "other"]),
        (r"day|night", ["day", "day", "night", "other"]),
        ("exif:Model", ["Nikon", "Canon", "Canon", "other"]),
        ("exif:ISOSpeedRatings", ["0", "100", "200", "other"]),
    ],
)
def test_rules(dataset: DetectionDataset, rule: str, groups: list[str]) -> None:
    assert image_groups(dataset, rule) == groups


def test_sizes_are_named_where_few_and_thirds_where_many(dataset: DetectionDataset) -> None:
    dataset.sizes[:] = [[60, 80], [60, 80], [30, 40], [60, 80]]
    assert image_groups(dataset, "size") == ["80x60", "80x60", "40x30", "80x60"]
    many = DetectionDataset(
        **{name: getattr(dataset, name) for name in dataset.__dataclass_fields__ if name not in ("sizes", "paths")},
        sizes=np.stack([np.arange(1, 10) * 10, np.full(9, 10)], axis=1).astype(np.int32),
        paths=[*dataset.paths] * 2 + [dataset.paths[0]],
    )
    groups = image_groups(many, "size")
    assert groups == ["up to 300 px"] * 3 + ["up to 600 px"] * 3 + ["above 600 px"] * 3


def test_folders(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for place, folder in enumerate(("north", "south", "south")):
        write_picture(root / "images" / "test" / folder / f"{place}.png", place)
        (root / "labels" / "test" / folder).mkdir(parents=True, exist_ok=True)
        (root / "labels" / "test" / folder / f"{place}.txt").write_text("0 .5 .5 .2 .2\n")
    (root / "data.yaml").write_text("names: [cat]\ntest: images/test\n")
    groups = image_groups(read_dataset(root, "test"), "folder")
    assert [group.rpartition("/")[2] for group in groups] == ["north", "south", "south"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("(", "neither folder, size, exif:KEY nor a regular expression"),
        ("zebra", "all 4 images are of one group, 'other'"),
        ("folder", "all 4 images are of one group"),
    ],
)
def test_rules_that_make_no_groups(dataset: DetectionDataset, rule: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("(", r"\(")):
        image_groups(dataset, rule)

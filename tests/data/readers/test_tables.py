"""Tables of boxes: TensorFlow's, Open Images' and keras-retinanet's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxwright.check import check_dataset
from boxwright.data import available_splits, read_dataset
from boxwright.data.annotations import CROWD
from boxwright.data.layout import open_layout
from boxwright.errors import DataError
from dataset_builders import HEIGHT, WIDTH, write_picture, write_text
from layout_builders import OPENIMAGES, TENSORFLOW, openimages_rows, tensorflow_rows, write_openimages

ANTS = [("ant", 10.0, 12.0, 40.0, 50.0), ("zebra", 2.0, 3.0, 20.0, 30.0)]
HEADERLESS = "images/a.jpg,10,12,40,50,ant\nimages/a.jpg,2,3,20,30,zebra\n"


def test_tensorflow_with_the_splits_in_the_names_of_the_tables(tmp_path: Path) -> None:
    """data/train_labels.csv and data/test_labels.csv beside images/, as xml_to_csv.py leaves them."""
    for seed, (split, name) in enumerate((("train", "a.jpg"), ("test", "b.jpg"))):
        write_picture(tmp_path / "images" / name, seed)
        write_text(tmp_path / "data" / f"{split}_labels.csv", TENSORFLOW + tensorflow_rows(name, ANTS))
    assert available_splits(tmp_path) == ("train", "test")
    data = read_dataset(tmp_path, "test")
    assert [data.name(i) for i in range(len(data))] == ["images/b.jpg"]
    assert check_dataset(tmp_path).findings == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_in_any_order_with_any_separator(tmp_path: Path, separator: str) -> None:
    write_picture(tmp_path / "a.jpg", 0)
    text = 'class,ymin,xmin,ymax,xmax,note,Filename\nant,12,10,50,40,"wing, left",a.jpg\n'
    if separator != ",":
        text = text.replace('"wing, left"', "wing").replace(",", separator)
    write_text(tmp_path / "boxes.CSV", text)
    data = read_dataset(tmp_path)
    assert (data.layout, data.boxes.tolist()) == ("tensorflow", [[10, 12, 40, 50]])


@pytest.mark.parametrize(
    ("row", "kind", "box"),
    [
        ("a.jpg,80,60,ant,1,2,x,40", "bad-number", 2),
        ("a.jpg,80,60,ant,1,2", "bad-number", 2),
        ("a.jpg,80,60,,1,2,30,40", "label-out-of-range", 2),
        ("a.jpg,80,60,ant,30,2,1,40", "inverted-box", 2),
        ("a.jpg,80,60,ant,inf,2,1,40", "bad-number", 2),
        (",80,60,ant,1,2,30,40", "unreadable-annotation", 2),
        ("z.jpg,80,60,ant,1,2,30,40", "missing-image", None),
    ],
)
def test_rows_that_cannot_be_used_are_errors(tmp_path: Path, row: str, kind: str, box: int | None) -> None:
    write_picture(tmp_path / "a.jpg", 0)
    write_text(tmp_path / "train.csv", TENSORFLOW + tensorflow_rows("a.jpg", ANTS) + row + "\n")
    (error,) = [f for f in check_dataset(tmp_path).findings if f.severity == "error"]
    assert (error.kind, error.file, error.box) == (kind, "train.csv", box)
    assert len(read_dataset(tmp_path).boxes) == 2


def test_open_images_names_and_groups(tmp_path: Path) -> None:
    codes = {"ant": "/m/0b", "zebra": "/m/0a"}
    write_picture(tmp_path / "train" / "0a1.jpg", 0)
    rows = openimages_rows("0a1", ANTS[:1], codes) + openimages_rows("0a1", ANTS[1:], codes, group=1)
    write_text(tmp_path / "train-annotations-bbox.csv", OPENIMAGES + rows)
    write_text(tmp_path / "class-descriptions.csv", "LabelName,DisplayName\n/m/0a,zebra\n/m/0b,ant\n/m/0c,unused\n")
    data = read_dataset(tmp_path, "train")
    assert data.classes == ("ant", "zebra")
    np.testing.assert_allclose(data.boxes, [box[1:] for box in ANTS], atol=1e-4)
    assert data.code.tolist() == [0, CROWD]
    (tmp_path / "class-descriptions.csv").unlink()
    assert read_dataset(tmp_path).classes == ("/m/0a", "/m/0b")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_open_images_of_more_pixels_are_read_where_they_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    write_openimages(tmp_path, {"train": {"a.jpg": ANTS}})
    with pytest.raises(DataError, match=r"refused, 80x60 pixels are more than 4799 \(max_pixels\)"):
        read_dataset(tmp_path)
    assert len(read_dataset(tmp_path, max_pixels=HEIGHT * WIDTH)) == 1
    assert [f.kind for f in check_dataset(tmp_path, max_pixels=HEIGHT * WIDTH).findings] == []


def test_open_images_as_fiftyone_exports_it(tmp_path: Path) -> None:
    codes = {"ant": "/m/0b", "zebra": "/m/0a"}
    for seed, split in enumerate(("train", "validation")):
        write_picture(tmp_path / split / "data" / "0a1.jpg", seed)  # the same name in both
        write_text(tmp_path / split / "labels" / "detections.csv", OPENIMAGES + openimages_rows("0a1", ANTS, codes))
        write_text(tmp_path / split / "metadata" / "classes.csv", "/m/0a,zebra\n/m/0b,ant\n")
    assert available_splits(tmp_path) == ("train", "val")
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes, report.findings) == (2, 4, ())


def test_a_class_table_in_which_a_class_is_missing(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.jpg", 0)
    write_text(tmp_path / "annotations.csv", HEADERLESS)
    write_text(tmp_path / "classes.csv", "zebra,0\n")
    report = check_dataset(tmp_path)
    assert report.classes == ("zebra",)
    assert [(f.kind, f.box) for f in report.findings] == [("label-out-of-range", 0)]
    write_text(tmp_path / "old_classes.csv", "ant,0\nzebra,1\n")
    assert ("unused-file", "old_classes.csv") in [(f.kind, f.file) for f in check_dataset(tmp_path).findings]


def test_the_order_of_classes_is_that_of_their_ids(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.jpg", 0)
    write_text(tmp_path / "annotations.csv", HEADERLESS)
    assert read_dataset(tmp_path).classes == ("ant", "zebra")
    write_text(tmp_path / "classes.csv", "ant,1\nzebra,0\n")
    assert read_dataset(tmp_path).classes == ("zebra", "ant")


def test_images_without_objects_have_empty_cells(tmp_path: Path) -> None:
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        write_picture(tmp_path / "images" / name, seed)
    write_text(tmp_path / "annotations.csv", "images/b.jpg,,,,,\n" + HEADERLESS + "images/a.jpg,1,2\n")
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes) == (2, 3)
    assert sorted(f.kind for f in report.findings) == ["bad-number", "no-boxes"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "a.jpg,1,2,3,4\n",
        "a.jpg,1,2,3,4,ant,0.5\n",
        "notes.txt,1,2,3,4,ant\n",
        "a.jpg,x1,y1,x2,y2,class\n",
        'image_id,width,height,bbox\na.jpg,80,60,"[1, 2, 3, 4]"\n',
    ],
)
def test_tables_of_other_kinds_are_no_data_set(tmp_path: Path, text: str) -> None:
    write_picture(tmp_path / "a.jpg", 0)
    write_text(tmp_path / "table.csv", text)
    with pytest.raises(DataError, match="no data set found"):
        open_layout(tmp_path)

"""Which layout a folder has, and what is said of one that has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boxwright._util.ownership import mark_folder
from boxwright.data.layout import NEAREST, READERS, open_layout
from boxwright.errors import DataError
from dataset_builders import write_coco, write_picture, write_text
from layout_builders import write_yolo_config

CASES: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: None, "looked for *.xml in Annotations/ or beside the images (VOC), "),
    (
        lambda root: write_picture(root / "images" / "b.jpg", 2),
        "nearest is YOLO: images/ is there, but none of 2 images has a .txt in labels/ or beside it",
    ),
    (
        lambda root: write_text(root / "a.txt", "an ant\n"),
        "nearest is YOLO: a.txt begins with 'an ant', where a class's number and four fractions are due",
    ),
    (
        lambda root: write_text(root / "a.xml", "<note/>"),
        "nearest is VOC: a.xml is called as an image, but its root isn't <annotation>",
    ),
    (
        lambda root: write_text(
            root / "annotations.xml", "<?xml version='1.0'?>\n<annotations>\n <version>1.1</version>"
        ),
        "nearest is VOC: annotations.xml is CVAT's own XML, which isn't read: export Pascal VOC, COCO or YOLO",
    ),
    (
        lambda root: write_text(root / "via_project.json", '{"a.jpg12": {"regions": []}}'),
        "via_project.json is of no kind that is read; looked for *.xml in Annotations/ or beside the images (VOC), ",
    ),
    (
        lambda root: [write_text(root / "label_2" / f"{n}.txt", "Car 0 0 1 2 3 40 50") for n in range(5)],
        "label_2/0.txt, label_2/1.txt, label_2/2.txt are of no kind that is read; looked for *.xml in Annotations/ ",
    ),
    (
        lambda root: [write_text(root / name, "x,y,label\n") for name in ("images/b.jpg", "boxes.csv")],
        "boxes.csv is of no kind that is read; nearest is YOLO: images/ is there, but none of 2 images has a .txt in ",
    ),
    (
        lambda root: [write_text(root / name, "<annotation>cat & dog") for name in ("a.xml", "b.xml")],
        "nearest is VOC: a.xml is called as an image, but is XML that can't be parsed: not well-formed",
    ),
    (
        lambda root: write_text(root / "train.json", json.dumps({"images": [], "annotations": []})),
        "nearest is COCO: train.json has images and annotations, but no categories",
    ),
    (
        lambda root: write_text(root / "b.json", json.dumps({"shapes": []})),
        "nearest is labelme: b.json has shapes, but isn't called as an image or is incomplete",
    ),
    (
        lambda root: write_text(root / "b.json", json.dumps([{"image": "a.jpg", "annotations": [{"label": "ant"}]}])),
        "nearest is Create ML: b.json lists images, but their annotations have no coordinates",
    ),
    (
        lambda root: write_text(root / "metadata.csv", "file_name,text\na.jpg,ant\n"),
        "nearest is Hugging Face ImageFolder: metadata.csv has no file_name and objects in its first line",
    ),
    (
        lambda root: write_text(root / "data" / "train-0.parquet", "PAR1"),
        "nearest is Hugging Face ImageFolder: data/train-0.parquet is Parquet, which isn't read: "
        "save it as images and metadata.jsonl",
    ),
    (
        lambda root: write_text(root / "boxes.csv", "filename,width,height,xmin,ymin,xmax,ymax\n"),
        "nearest is TensorFlow CSV: boxes.csv has no column class",
    ),
    (
        lambda root: write_text(root / "boxes.csv", "a.jpg,1,2,30,40\n"),
        "nearest is keras-retinanet CSV: boxes.csv begins with 'a.jpg,1,2,30,40', where path,x1,y1,x2,y2,class is due",
    ),
]


@pytest.mark.parametrize(("write", "text"), CASES)
def test_what_is_nearest_and_what_is_missing(tmp_path: Path, write: Callable[[Path], object], text: str) -> None:
    write_picture(tmp_path / "a.jpg", 1)
    write(tmp_path)
    with pytest.raises(DataError) as caught:
        open_layout(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: no data set found; {text}")


def test_data_sets_in_folders_are_named(tmp_path: Path) -> None:
    def message() -> str:
        with pytest.raises(DataError) as caught:
            open_layout(tmp_path)
        return str(caught.value).removeprefix(f"{tmp_path}: ")

    write_coco(tmp_path / "pets" / "dataset", {"train": {"a.jpg": [("ant", 1, 2, 30, 40)]}}, ["ant"])
    write_text(tmp_path / "__MACOSX" / "pets" / "._data.yaml", "x")
    assert message() == "no data set found, but there is a COCO data set in pets/dataset: give that folder"
    write_yolo_config(tmp_path / "pets (1)", {"train": {"a.jpg": [("ant", 1, 2, 30, 40)]}}, ["ant"])
    write_text(tmp_path / "pets (1)" / "broken" / "data.yaml", "a: [")
    both = "a YOLO data set in pets (1) and a COCO data set in pets/dataset"
    assert message() == f"no data set found, but there is {both}: give one of these folders"
    mark_folder(tmp_path / "pets (1)", "run")
    assert message().endswith("there is a COCO data set in pets/dataset: give that folder")


def test_open_images_lacks_a_column(tmp_path: Path) -> None:
    write_text(tmp_path / "train-annotations-bbox.csv", "ImageID,LabelName,XMin,XMax,YMin\n")
    with pytest.raises(DataError, match=r"nearest is Open Images: .*bbox\.csv has no column ymax"):
        open_layout(tmp_path)


def test_every_reader_says_what_it_is() -> None:
    assert set(READERS) == set(NEAREST)
    assert len({reader.layout for reader in READERS}) == len({reader.title for reader in READERS}) == len(READERS)

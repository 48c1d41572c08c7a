"""What a training says of its data before anything is written."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import boxwright as bw
from boxwright.data import DetectionDataset
from boxwright.data.dataset import DIFFICULT
from boxwright.errors import DataError
from boxwright.recipes import get_recipe
from boxwright.training import RunOptions
from boxwright.training.reading import check_trainable, read_data
from dataset_builders import voc_object, voc_xml, write_coco, write_text, write_voc

CAT, DOG = ("cat", 10, 10, 40, 40), ("dog", 20, 10, 50, 40)


def read(data: Path | DetectionDataset, **options: Any) -> tuple[list[DetectionDataset | None], str]:
    """The data sets, and what was said."""
    console = Console(record=True, width=300, file=io.StringIO())
    recipe = {key: options.pop(key) for key in ("classes", "patience", "ema", "negatives") if key in options}
    found = read_data(
        data, options.pop("validation", None), get_recipe("lite320", **recipe), RunOptions(**options), console
    )
    return list(found), console.export_text()


def voc(root: Path, train: list[Any], val: list[Any]) -> Path:
    """Images with one box each, or none for None."""
    boxes = [[] if box is None else [box] for box in (*train, *val)]
    names = [f"i{place}" for place in range(len(boxes))]
    lists = {"train": names[: len(train)], "val": names[len(train) :]}
    return write_voc(root, dict(zip(names, boxes, strict=True)), lists)


@pytest.mark.parametrize(
    "spoil",
    ["no boxes", "all difficult", "boxes outside", "no classes", "no images", "negatives dropped", "other classes"],
)
def test_nothing_to_train_on(tmp_path: Path, spoil: str) -> None:
    options: dict[str, Any] = {"val_split": None}
    if spoil in ("no classes", "no images"):
        write_coco(tmp_path, {"train": {} if spoil == "no images" else {"a.jpg": [], "b.jpg": []}}, ())
    else:
        outside = ("cat", 500, 500, 600, 600)
        box = {"boxes outside": outside, "all difficult": CAT, "other classes": CAT}.get(spoil)
        voc(tmp_path, [box] * 3, [CAT])
        if spoil == "all difficult":
            for stem in ("i0", "i1", "i2"):
                difficult = voc_object("cat", 10, 10, 40, 40, difficult=1)
                write_text(tmp_path / "Annotations" / f"{stem}.xml", voc_xml(f"{stem}.jpg", extra=difficult))
        if spoil == "other classes":
            write_text(tmp_path / "Annotations" / "i3.xml", voc_xml("i3.jpg", [DOG]))
            options["classes"] = ["dog"]
        if spoil == "negatives dropped":
            options["negatives"] = "drop"
    with pytest.raises(DataError, match=r"^nothing-to-train: ") as caught:
        read(tmp_path, **options)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(DataError, match="nothing-to-train"):
        bw.train(tmp_path, out=tmp_path / "run", console=Console(quiet=True), **options)
    assert not (tmp_path / "run").exists()


def test_boxes_of_unreadable_images_are_none(tmp_path: Path) -> None:
    dataset = bw.read_dataset(voc(tmp_path, [CAT, None, DOG], []), "train")
    check_trainable(dataset)
    check_trainable(dataset, [1, 2])
    with pytest.raises(DataError, match="split 'train' has 1 image and no box to learn from"):
        check_trainable(dataset, [1])


def test_a_validation_without_objects_is_told(tmp_path: Path) -> None:
    found, said = read(voc(tmp_path, [CAT] * 3, [None] * 2), patience=2)
    assert found[1] is not None
    assert "AP can't be computed on split 'val', it has no box: the last averaged weights will be the model" in said
    assert "patience can't end the training" in said
    assert "--val-split NAME" in said


def test_all_difficult_and_none_of_the_classes_too(tmp_path: Path) -> None:
    root = voc(tmp_path, [CAT, DOG, CAT], [DOG])
    _, said = read(root, classes=["cat"], ema=0.0)
    assert "it has no box of cat: the last weights will be the model." in said
    training, validation = (bw.read_dataset(root, split) for split in ("train", "val"))
    difficult = replace(validation, code=np.full_like(validation.code, DIFFICULT))
    _, said = read(training, validation=difficult)
    assert "all its boxes are difficult or crowds" in said
    _, said = read(training, validation=validation)
    assert "can't be computed" not in said


@pytest.mark.parametrize("images", [1, 2])
def test_one_or_two_images_are_trained_on_without_validation(tmp_path: Path, images: int) -> None:
    write_voc(tmp_path, {f"i{place}": [CAT] for place in range(images)})
    (training, validation), said = read(tmp_path)
    assert training is not None
    assert len(training) == images
    assert validation is None
    assert "too few images" in said
    assert "the last weights will be the model" in said
    with pytest.raises(DataError, match=r"no images in split 'test': .* three distinct images .* in split 'train'"):
        read(tmp_path, val_split="test")


@pytest.mark.parametrize(("images", "few"), [(8, True), (30, False)])
def test_few_images_are_told(tmp_path: Path, images: int, few: bool) -> None:
    write_voc(tmp_path, {f"i{place}": [CAT] for place in range(images)})
    (_, validation), said = read(tmp_path)
    assert validation is not None
    assert ("says little, more of them help" in said) == few


def test_none_in_words_is_no_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    def look(data: Any, validation: Any, recipe: Any, options: RunOptions, console: Any) -> None:
        assert options.val_split is None
        raise Seen

    monkeypatch.setattr("boxwright.training.engine.read_data", look)
    with pytest.raises(Seen):
        bw.train(tmp_path, val_split="none", console=Console(quiet=True))

"""The inputs that inspect shows are those that a training step receives."""

from __future__ import annotations

import html
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inspect_builders import small_recipe
from lightning.pytorch.callbacks import Callback
from PIL import Image
from typer.testing import CliRunner

import boxwright as bw
from boxwright.cli.app import app
from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.loading import Batch
from boxwright.errors import DataError, RecipeError, WriteError
from boxwright.inspect import inputs_page, training_inputs, write_inputs_page
from boxwright.inspect.inputs_page import advice, summary

AUGMENTED = {"augment": "light", "batch_size": 3, "augment_on": "cpu", "ema": 0.0}


class Received(Callback):
    """The batches that training steps get, after all that is done to them on their way."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Batch, place: int) -> None:
        self.batches.append(batch.each(torch.clone))


def received(dataset: DetectionDataset, folder: Path, seed: int, **options: Any) -> list[Batch]:
    """What the first four steps of a training get."""
    watched = Received()
    recipe = small_recipe(**AUGMENTED | options)
    bw.train(
        dataset, recipe, seed=seed, steps=4, workers=0, device="cpu", out=folder, callbacks=[watched], console=None
    )
    return watched.batches


def assert_same(batches: list[Batch], wanted: list[Batch]) -> None:
    assert len(batches) == len(wanted)
    for batch, other in zip(batches, wanted, strict=True):
        assert torch.equal(batch.images, other.images)
        assert torch.equal(batch.indices, other.indices)
        for mine, theirs in zip(batch.targets, other.targets, strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"augment": "ssd", "flip": "both", "sampling": "repeat_factor:threshold=1"},
        {"augment_on": "device", "resize": "shortest"},
    ],
    ids=["ssd", "device"],
)
def test_they_are_what_the_training_step_receives(
    dataset: DetectionDataset, options: dict[str, Any], tmp_path: Path
) -> None:
    wanted = received(dataset, tmp_path / "run", seed=3, **options)
    found = training_inputs(dataset, small_recipe(**AUGMENTED | options), seed=3, inputs=12)
    assert_same(found.batches, wanted)


@pytest.mark.slow
def test_an_image_that_cannot_be_decoded_is_left_out_of_both(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "data")
    (copy / "JPEGImages" / "03.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    dataset = read_dataset(copy)
    wanted = received(dataset, tmp_path / "run", seed=0)
    found = training_inputs(dataset, small_recipe(**AUGMENTED), inputs=12)
    assert_same(found.batches, wanted)
    assert found.unreadable == 1


def test_views_are_the_rows_of_the_batches(dataset: DetectionDataset) -> None:
    found = training_inputs(dataset, small_recipe(**AUGMENTED), seed=1, inputs=8)
    assert [len(batch.indices) for batch in found.batches] == [3, 3, 3]
    assert len(found.views) == 8
    for place, view in enumerate(found.views):
        batch, row = found.batches[place // 3], place % 3
        np.testing.assert_array_equal(view.image.transpose(2, 0, 1), batch.images[row].numpy())
        assert view.name == dataset.name(int(batch.indices[row]))
        assert len(view.boxes) == len(view.labels) == int((batch.targets.labels[row] >= 0).sum())
        assert view.kept <= view.objects == int((~dataset.supervised(view.place)[2]).sum())
        assert view.epoch == place // 6  # 8 images, of which an epoch shows two whole batches


def test_the_same_images_come_in_the_first_epochs(dataset: DetectionDataset) -> None:
    recipe = small_recipe(**AUGMENTED)
    found = training_inputs(dataset, recipe, inputs=12)
    assert len(found.again) == 4
    for views in found.again:
        assert len({view.place for view in views}) == 1
        assert [view.epoch for view in views] == [0, 1, 2, 3]
        for view in views:
            same = [shown for shown in found.views if (shown.place, shown.epoch) == (view.place, view.epoch)]
            assert all((shown.image == view.image).all() for shown in same)
    assert (found.again[0][0].image != found.again[0][1].image).any()
    assert training_inputs(dataset, recipe.replace(augment="none", flip="none")).again == []


def test_what_cannot_be_shown_is_told(dataset: DetectionDataset) -> None:
    with pytest.raises(RecipeError, match="at least one input but got 0"):
        training_inputs(dataset, small_recipe(), inputs=0)
    empty = dataset.subset([0])
    with pytest.raises(DataError, match="nothing-to-train"):
        training_inputs(empty, small_recipe())
    with pytest.raises(RecipeError, match="unknown recipe 'lite32'"):
        training_inputs(dataset, "lite32")


def test_of_a_large_data_set_only_what_is_shown_is_decoded(
    dataset: DetectionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(**AUGMENTED)
    wanted = training_inputs(dataset, recipe, inputs=3)
    monkeypatch.setattr(bw.inspect.inputs, "MOST_TRIED", 7)
    decoded: list[int] = []
    plain = DetectionDataset.decode_reduced
    monkeypatch.setattr(
        DetectionDataset, "decode_reduced", lambda self, place, how: decoded.append(place) or plain(self, place, how)
    )
    found = training_inputs(dataset, recipe, inputs=3)
    assert_same(found.batches, wanted.batches)
    assert found.unreadable is None
    assert set(decoded) == {view.place for view in found.views}
    page = write_inputs_page(tmp_path / "page.html", found).read_text()
    assert "Of 8 images only these were decoded" in page


def test_an_automatic_batch_size_makes_one_batch(dataset: DetectionDataset) -> None:
    found = training_inputs(dataset, small_recipe(batch_size="auto"), inputs=5)
    assert [len(batch.indices) for batch in found.batches] == [5]


def test_more_inputs_than_images_come_from_later_epochs(dataset: DetectionDataset) -> None:
    found = training_inputs(dataset.subset([1]), small_recipe(batch_size=4), inputs=6)
    assert len(found.views) == 6
    assert {view.place for view in found.views} == {0}


@bw.augmentation
def swapped(
    image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn x into y in the pixels, and leave the boxes far away."""
    return image.transpose(1, 0, 2), boxes + 1000, labels


@bw.augmentation
def broken(*given: Any) -> None:
    raise KeyError("mask")


@bw.augmentation
def two_values(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Any:
    return image, boxes


@bw.augmentation
def mislabeled(
    image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return image, boxes, labels + 7


def test_augmentations_of_one_s_own_tell_what_is_wrong(dataset: DetectionDataset) -> None:
    with pytest.raises(DataError, match=r"0\d\.jpg: the augmentation failed: KeyError: 'mask'"):
        training_inputs(dataset, small_recipe(augment=broken))
    with pytest.raises(DataError, match=r"labels from tests\.inspect\.\w+:two_values but got 2 values"):
        training_inputs(dataset, small_recipe(augment=two_values))
    with pytest.raises(DataError, match=r"boxes that can't be learned: .*0\d\.jpg: .* is none of 0\.\.1"):
        training_inputs(dataset, small_recipe(augment=mislabeled))
    lost = training_inputs(dataset, small_recipe(augment=swapped))
    assert "100% of the objects are lost" in advice(lost)
    assert "your augmentation, if it moves boxes as it moves pixels" in advice(lost)


def test_the_sentence_counts(dataset: DetectionDataset) -> None:
    found = training_inputs(dataset, small_recipe(augment="none", flip="none", batch_size=4), inputs=8)
    objects = sum(view.objects for view in found.views)
    said = summary(found)
    assert said.startswith(f"8 inputs of the first 2 batches of 4, with {objects} of their images' {objects} objects")
    assert "1 input without any" in said
    tiny = replace(found, views=[replace(v, boxes=v.boxes / 50) for v in found.views])
    assert "smaller than 8 px: show them larger, --set image_size=128" in advice(tiny)


def test_the_page_names_the_images_and_loads_nothing(dataset: DetectionDataset, tmp_path: Path) -> None:
    found = training_inputs(dataset, small_recipe(**AUGMENTED), inputs=5)
    page = write_inputs_page(tmp_path / "inputs.html", found)
    content = page.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", content)
    assert content.count("<figure>") == 5 + 4 * len(found.again)
    for view in found.views:
        assert f"<b>{view.name}</b>" in content
    assert summary(found).replace("'", "&#x27;") in content
    with Image.open(tmp_path / "inputs-sheet.png") as sheet:
        sheet.verify()
    write_inputs_page(page, found)  # its own
    (tmp_path / "inputs-sheet.png").write_bytes(b"mine")
    with pytest.raises(WriteError, match=r"inputs-sheet\.png is there"):
        write_inputs_page(page, found)


def test_the_page_is_bounded_and_says_what_it_leaves_out(
    dataset: DetectionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs_page, "MOST_BYTES", 1)
    found = training_inputs(dataset, small_recipe(**AUGMENTED), inputs=5)
    content = write_inputs_page(tmp_path / "inputs.html", found).read_text()
    assert content.count("<figure>") == 1
    assert f"{4 + 4 * len(found.again)} inputs more would have made the page too large" in content


@pytest.mark.parametrize("name", ["</script><b>", "<!--", "a&lt;b", "猫 🐈"])
def test_hostile_names_are_escaped(name: str, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    for file in copy.rglob("*.xml"):
        file.write_text(file.read_text().replace("<name>cat<", f"<name>{html.escape(name)}<"))
    dataset = read_dataset(copy)
    found = training_inputs(dataset, small_recipe(), inputs=2)
    found = replace(found, views=[replace(view, name=name) for view in found.views])
    content = write_inputs_page(tmp_path / "page.html", found).read_text()
    assert f"<b>{html.escape(name)}</b>" in content


def test_the_command(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "seen.html"
    settings = ["image_size=64", "width=16", "pretrained=false", "freeze=0", "batch_size=4"]
    arguments = ["inspect", str(folder), "--inputs", "--images", "6", "--seed", "5", "--split", "train"]
    for setting in settings:
        arguments += ["--set", setting]
    result = CliRunner().invoke(app, [*arguments, "--out", str(page)])
    assert result.exit_code == 0, result.output
    assert "6 inputs of the first 2 batches of 4" in " ".join(result.output.split())
    assert "with seed 5" in page.read_text()
    assert (tmp_path / "seen-sheet.png").is_file()

"""What a training sees of turned and of deep images, evaluation and prediction see too."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import boxwright as bw
from boxwright.data import pictures
from boxwright.hardest.review import review_labels
from boxwright.recipes import get_recipe
from boxwright.runs.assess import evaluate_run, predict_to_folder
from boxwright.runs.predict import predict_dataset
from boxwright.training.batches import Batches
from boxwright.training.distributed import Ranks
from boxwright.training.options import RunOptions
from boxwright.training.record import describe_data
from dataset_builders import Box, exif_with, picture, voc_xml, write_text, write_voc

BOX: Box = ("cat", 10, 12, 40, 50)
TINY = {"image_size": 64, "width": 32, "batch_size": 2, "pretrained": False, "freeze": 0, "freeze_depthwise": 0}
QUIET = Console(file=io.StringIO())


def write_deep(root: Path) -> Path:
    """12 bits in 16, stored on their side with the boxes drawn so."""
    for seed, name in enumerate("abcd"):
        values = Image.fromarray(picture(seed)[..., 0].astype(np.uint16) * 16)
        (root / "JPEGImages").mkdir(parents=True, exist_ok=True)
        values.save(root / "JPEGImages" / f"{name}.png", exif=exif_with(6))
        write_text(root / "Annotations" / f"{name}.xml", voc_xml(f"{name}.png", [BOX]))
    for split, names in {"train": "ab", "val": "c", "test": "d"}.items():
        write_text(root / "ImageSets" / "Main" / f"{split}.txt", "\n".join(names))
    return root


def test_what_decoding_told_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a", "b", "c", "d"]
    lists = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    root = write_voc(tmp_path, {name: [BOX] for name in names}, lists)
    broken = root / "JPEGImages" / "b.jpg"
    broken.write_bytes(broken.read_bytes()[:400])
    training, validation = (bw.read_dataset(root, split) for split in ("train", "val"))
    recipe = get_recipe("lite320", classes=training.classes)
    opened: list[str] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path, **k: opened.append(Path(path).stem) or original(path, **k))
    batches = Batches(training, validation, recipe, RunOptions(), Ranks.of_environment(), QUIET)
    assert sorted(opened) == ["a", "b", "c"]
    shared = describe_data(batches.datasets, recipe, root, QUIET, batches.facts)
    assert sorted(opened) == names
    assert shared == describe_data(batches.datasets, recipe, root, QUIET)
    assert sorted(opened) == sorted(names * 2)
    assert list(batches.unreadable) == ["JPEGImages/b.jpg"]
    assert "not a readable image" in batches.unreadable["JPEGImages/b.jpg"]


def test_a_turned_image_that_reading_missed_is_left_out_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_HEADERS", 2)
    monkeypatch.setattr(pictures, "SPREAD", 2)
    root = write_voc(tmp_path, {key: [BOX] for key in "abc"})
    Image.fromarray(picture(5)).save(root / "JPEGImages" / "b.jpg", exif=exif_with(6))
    training = bw.read_dataset(root)
    batches = Batches(training, None, get_recipe("lite320"), RunOptions(), Ranks.of_environment(), QUIET)
    assert list(batches.unreadable) == ["JPEGImages/b.jpg"]
    assert "--set exif=boxes" in batches.unreadable["JPEGImages/b.jpg"]


def test_images_are_predicted_as_their_data_set_reads_them(tmp_path: Path) -> None:
    """The recipe of a detector that never saw a deep image knows no range."""
    dataset = bw.read_dataset(write_deep(tmp_path), "test")
    detector = bw.create_detector("lite320", 1, **TINY).eval()
    assert detector.recipe.depth_range == "data"
    found, faults = predict_dataset(detector, dataset, score=0.0)
    expected = detector.predict(dataset.decode(0), score=0.0)[0]
    assert not faults
    torch.testing.assert_close(found[0].scores, expected.scores, atol=1e-4, rtol=1e-4)
    assert detector.recipe.depth_range == "data"


@pytest.mark.slow
def test_a_run_keeps_how_it_read_its_images(tmp_path: Path) -> None:
    data = write_deep(tmp_path / "data")
    run = bw.train(data, out=tmp_path / "run", console=QUIET, steps=2, augment="none", **TINY)
    training = bw.read_dataset(data, "train")
    assert (run.recipe.exif, run.recipe.depth_range) == ("boxes", training.pixels.depth_range)
    assert run.recipe.depth_range != "data"
    detector = run.load()
    file = data / "JPEGImages" / "d.png"
    pixels = np.ascontiguousarray(np.rot90(np.asarray(Image.open(file)), -1))
    from_file, from_array = detector.predict([file, pixels], score=0.0)
    assert len(from_file.boxes)
    assert torch.equal(from_file.boxes, from_array.boxes)
    test = evaluate_run(run.folder, data).dataset
    assert test.pixels == training.pixels
    assert test.target(0).boxes.tolist() == [[10, 10, 48, 40]]
    ignored = evaluate_run(run.folder, data, exif="ignore").dataset
    assert ignored.target(0).boxes.tolist() == [[10, 12, 40, 50]]
    assert ignored.pixels.depth_range == training.pixels.depth_range
    reviewed = review_labels(data, run.folder, reading={"exif": "ignore", "depth_range": None}).dataset
    assert reviewed.pixels == replace(training.pixels, exif="ignore")
    predicted = predict_to_folder(run.folder, [file], tmp_path / "found", save_images=True, score=0.0)
    assert not predicted.faults
    with Image.open(tmp_path / "found" / "d.jpg") as drawn:
        assert drawn.width == 5 * 60  # enlarged
        assert drawn.height >= 5 * 80  # with a strip for labels

"""Targets that can't be learnt end a training with the image's name, before they reach the criterion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import boxwright as bw
from boxwright.data.loading import Batch
from boxwright.demo_data import make_digits
from boxwright.errors import DataError
from boxwright.training.targets import TargetsError, check_targets
from boxwright.types import Targets

BOX = [1.0, 2.0, 9.0, 8.0]


def batch(box: list[float], label: int) -> Batch:
    """Two images; the second has the box in question after a sound one."""
    boxes = torch.tensor([[BOX, [0.0] * 4], [BOX, box]])
    targets = Targets(boxes, torch.tensor([[0, -1], [2, label]]), torch.zeros(2, 2, dtype=torch.bool))
    return Batch(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), targets, torch.tensor([7, 4]), torch.full((2, 2), 16))


@pytest.mark.parametrize(
    ("box", "label", "text"),
    [
        (BOX, 3, "label 3 is none of 0..2"),
        (BOX, 255, "label 255 is none of 0..2"),
        (BOX, -2, "label -2 is none of 0..2"),
        ([5.0, 2.0, 5.0, 8.0], 0, "has no area"),
        ([9.0, 2.0, 1.0, 8.0], 0, "has no area"),
        ([float("nan"), 2.0, 9.0, 8.0], 0, "is not finite"),
        ([1.0, 2.0, float("inf"), 8.0], 0, "is not finite"),
    ],
)
def test_what_is_wrong_is_told_by_image(box: list[float], label: int, text: str) -> None:
    with pytest.raises(TargetsError) as caught:
        check_targets(batch(box, label), 3, validation=False)
    ((place, said),) = caught.value.faults
    assert place == 4
    assert "in pixels of the input" in said
    assert said.endswith(text)


def test_padding_and_sound_targets_pass() -> None:
    check_targets(batch(BOX, 1), 3, validation=False)
    check_targets(batch([0.0] * 4, -1), 3, validation=False)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_training_names_the_image(tmp_path: Path, split: str) -> None:
    root = make_digits(tmp_path / "digits", images={"train": 5, "val": 3}, size=64)
    sets = {name: bw.read_dataset(root, name) for name in ("train", "val")}
    spoilt = sets[split]
    row = int(np.flatnonzero(np.diff(spoilt.offsets))[0])
    labels = spoilt.labels.copy()
    labels[spoilt.offsets[row]] = 10
    sets[split] = replace(spoilt, labels=labels)
    options = {"image_size": 64, "width": 32, "batch_size": 4, "epochs": 1, "freeze": 4, "augment": "none"}
    with pytest.raises(DataError, match=f"{spoilt.name(row)}: box .* label 10 is none of 0..9"):
        bw.train(sets["train"], validation=sets["val"], out=tmp_path / "run", console=Console(quiet=True), **options)

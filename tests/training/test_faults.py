"""What a training says when something is wrong with it: at once, by name, and with the means to look into it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_scores import make_up_ap
from rich.console import Console
from torch import Tensor

import boxwright as bw
from boxwright.criterion import DenseCriterion, Positives
from boxwright.demo_data import make_digits
from boxwright.errors import BoxwrightError, RecipeError
from boxwright.training import replay
from boxwright.training.callbacks import supervision_warnings
from boxwright.training.module import TrainingModule

SETTINGS = {"image_size": 64, "width": 32, "batch_size": 4, "epochs": 1, "freeze": 4}
LINEAR = {"coder": "delta", "box_loss": "l1", "class_loss": "cross_entropy", "normalizer": "positives"}
CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 9, "val": 2}, size=64)


def said_by(digits: Path, out: Path, **options: object) -> str:
    said = Console(record=True, file=out.with_suffix(".txt").open("w"), width=300)
    bw.train(digits, out=out, console=said, **{**SETTINGS, **options})
    return said.export_text()


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True])
def test_a_loss_that_is_no_number_names_its_images_and_replays(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """At once, or as on a GPU a step later, when the next batch is on its way: the weights are as they were."""
    measure, calls, bad = DenseCriterion._box_losses, [], []

    def with_one_bad_target(
        self: DenseCriterion, positives: Positives, decoded: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        calls.extend([len(positives.labels)] if self.training else [])  # and not when its options are tried
        if self.training and len(calls) == 2:
            bad.append(positives.targets[0, 0].item())
        hit = torch.isin(positives.targets[:, 0], torch.tensor(bad))
        box, distribution = measure(self, positives, decoded)
        return torch.where(hit, torch.inf, box), distribution

    monkeypatch.setattr(TrainingModule, "reads_late", late)
    monkeypatch.setattr(DenseCriterion, "_box_losses", with_one_bad_target)
    options = {**SETTINGS, **LINEAR, "precision": "float32"}  # no steps are tried before
    with pytest.raises(BoxwrightError) as caught:
        bw.train(digits, out=tmp_path / "run", console=Console(quiet=True), **options)
    text = str(caught.value)
    assert "step 1: not finite: box loss" in text
    assert text.count("boxes in pixels of the input") == 1  # of four images
    assert "the weights were finite" in text
    losses = replay(tmp_path / "run" / "nonfinite.ckpt")
    assert not losses.box.isfinite()
    assert losses.classification.isfinite()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("late", "text"), [(False, r"not finite: gradient \(norm"), (True, "not finite: loss or gradient")]
)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_gradient_that_is_no_number_stops_too(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool, text: str, optimizer: str
) -> None:
    share = TrainingModule._share_of_step
    monkeypatch.setattr(TrainingModule, "reads_late", late)
    monkeypatch.setattr(TrainingModule, "_share_of_step", lambda self, losses: share(self, losses) * float("inf"))
    options = {**SETTINGS, "optimizer": optimizer, "lr": 1e-3}
    with pytest.raises(BoxwrightError, match=text) as caught:
        bw.train(digits, out=tmp_path / "run", console=Console(quiet=True), **options)
    assert "step 0" in str(caught.value)
    assert "the weights were finite" in str(caught.value)


@pytest.mark.slow
def test_nothing_matched_is_said_after_the_first_epoch(digits: Path, tmp_path: Path) -> None:
    text = said_by(digits, tmp_path / "run", matcher="iou:positive=0.99,negative=0.99,force=null")
    assert "0 anchors were matched" in text


def test_supervision_warnings() -> None:
    boxes = np.array([5, 7, 0])
    assert supervision_warnings(CLASSES, boxes, np.array([9, 9, 0]), np.array([4, 5, 0])) == []
    (line,) = supervision_warnings(CLASSES, boxes, np.array([0, 0, 0]), np.array([0, 0, 0]))
    assert "0 anchors" in line
    (line,) = supervision_warnings(CLASSES, boxes, np.array([9, 0, 0]), np.array([9, 0, 0]))
    assert "any object of dog" in line
    (line,) = supervision_warnings(CLASSES, boxes, np.array([9, 2, 0]), np.array([11, 0, 0]))
    assert "every matched anchor says cat" in line
    (line,) = supervision_warnings(CLASSES, boxes, np.array([9, 2, 0]), np.array([0, 0, 0, 11]))
    assert "background" in line
    assert supervision_warnings(CLASSES, np.zeros(3, np.int64), np.zeros(3, np.int64), np.zeros(3, np.int64)) == []
    # A data set of one class predicts one class
    assert supervision_warnings(("cat",), boxes[:1], np.array([9]), np.array([9])) == []


@pytest.mark.slow
def test_early_stopping(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aps = iter([0.2, 0.5, 0.4, 0.4, 0.6, 0.7])
    make_up_ap(monkeypatch, aps)
    text = said_by(digits, tmp_path / "run", epochs=9, patience=2)
    assert text.count("epoch  ") == 4
    with pytest.raises(RecipeError, match="needs a validation split"):
        said_by(digits, tmp_path / "other", patience=2, val_split=None)
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_accumulated_batches_are_one_batch(digits: Path, tmp_path: Path) -> None:
    """Without BatchNorm, whose statistics are of a batch, two batches of 2 make the step of one of 4."""
    fixed = {**SETTINGS, "norm_mode": "group", "augment": "none", "ema": 0.0, "clip": 0.0, "optimizer": "sgd"}
    fixed["warmup"] = 0.0  # the weights move by some thousandths
    runs = [
        bw.train(digits, out=tmp_path / str(n), console=Console(quiet=True), val_split=None, **{**fixed, **sizes})
        for n, sizes in enumerate(({"batch_size": 4}, {"batch_size": 2, "accumulate": 2}))
    ]
    ours, theirs = (torch.load(run.last_checkpoint, weights_only=True)["state_dict"] for run in runs)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logger": "paper"}, "csv, tensorboard"),
        ({"checkpoint_minutes": -1.0}, "at least 0"),
        ({"precision": "int8"}, "precision"),
        ({"class_weights": "inverted"}, "class_weights"),
        ({"sampling": "repeat"}, "did you mean 'repeat_factor'"),
        ({"accumulate": 0}, "above 0"),
    ],
)
def test_wrong_values(digits: Path, tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        bw.train(digits, out=tmp_path / "run", console=Console(quiet=True), **options)
    assert not (tmp_path / "run").exists()

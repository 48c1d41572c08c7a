"""batch_size=auto: what fits, the learning rate that goes with it, and that a run keeps both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import boxwright as bw
from boxwright.compare import compare
from boxwright.data import DetectionDataset, read_dataset
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.recipes import Recipe, get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.runs import Run
from boxwright.training import batch_size
from boxwright.training.batch_size import Trial, fitting_bytes, largest_fitting, power_of_two, scaled_rate
from boxwright.training.distributed import Ranks

SMALL: Any = {"image_size": 64, "width": 16, "pretrained": False, "freeze": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 12, "val": 3}, size=64)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> DetectionDataset:
    return read_dataset(folder, "train")


def recipe_of(dataset: DetectionDataset, name: str = "lite320", **options: Any) -> Recipe:
    return get_recipe(name, classes=dataset.classes, batch_size="auto", norm_mode="train", **{**SMALL, **options})


def trial_of(recipe: Recipe, dataset: DetectionDataset) -> Trial:
    return Trial(recipe, dataset, build_criterion(recipe), torch.device("cpu"))


def test_only_auto_and_numbers_are_batch_sizes() -> None:
    assert get_recipe("lite320", batch_size="auto").to_dict()["batch_size"] == "auto"
    assert get_recipe("lite320", batch_size="4").images_a_batch == 4
    for wrong in ("most", 0, 2.5):
        with pytest.raises(RecipeError, match="batch_size"):
            get_recipe("lite320", batch_size=wrong)
    with pytest.raises(RecipeError, match="--set batch_size=N"):
        _ = get_recipe("lite320", batch_size="auto").images_a_batch


@pytest.mark.parametrize("limit", range(1, 70))
def test_power_of_two(limit: int) -> None:
    assert power_of_two(limit) == max(2**n for n in range(7) if 2**n <= limit)


@pytest.mark.parametrize("most", [1, 2, 4, 64])
@pytest.mark.parametrize("room", [0, 1, 2, 3, 7, 8, 63, 64, 1000])
def test_the_largest_power_of_two_that_fits(room: int, most: int) -> None:
    tried = []

    def fits(images: int) -> bool:
        tried.append(images)
        return images <= room

    best = max((2**n for n in range(7) if 2**n <= min(room, most)), default=0)
    assert largest_fitting(fits, most) == best
    assert max(tried) <= most
    assert fitting_bytes(10, 10 * room + 9, most) == best


def test_the_rate_follows_the_batch_in_proportion_or_by_its_root() -> None:
    assert scaled_rate(get_recipe("retinanet", lr=0.01), 64, 16) == 0.04
    assert scaled_rate(get_recipe("lite320", lr=0.004), 32, 8) == 0.008
    assert scaled_rate(get_recipe("lite320", lr=0.004), 64, 8) == 0.01131
    assert scaled_rate(get_recipe("lite320", lr=0.004, optimizer="sgd:momentum=0.5"), 2, 8) == 0.001


@pytest.mark.parametrize("name", ["lite320", "faster-rcnn"])
def test_what_an_image_takes_is_what_a_forward_pass_saves(dataset: DetectionDataset, name: str) -> None:
    trial = trial_of(recipe_of(dataset, name, backbone="tf_efficientnet_lite0"), dataset)
    each = trial.bytes_an_image()
    assert 1e6 < each < 1e8
    larger = trial_of(recipe_of(dataset, name, backbone="tf_efficientnet_lite0", image_size=128), dataset)
    assert 3 < larger.bytes_an_image() / each < 5  # four times the pixels


def test_images_that_keep_their_aspect_meet_in_the_largest_batch(dataset: DetectionDataset) -> None:
    sizes = np.array([[60, 100], [100, 60], [0, 0]] * 4)  # 0: what can't be read
    mixed = DetectionDataset(**{**vars(dataset), "sizes": sizes})
    recipe = recipe_of(dataset, "retinanet", backbone="tf_efficientnet_lite0", resize="shortest", image_size=60)
    assert trial_of(recipe, mixed).size == (128, 128)  # a hundred, rounded up to a multiple of 32
    assert trial_of(recipe_of(dataset), mixed).size == (64, 64)


def test_a_trial_on_a_gpu_frees_what_it_took(dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is made up: so many bytes an image, of 100."""
    trial = trial_of(recipe_of(dataset), dataset)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (80, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 20)
    for each, fits in ((44, True), (45, True), (46, False), (51, False)):
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _, each=each: 2 * each)

        def step(images: int, each: int = each) -> None:
            Trial._step(trial, images)
            if 2 * each > 100:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 bytes.")

        monkeypatch.setattr(trial, "_step", step)
        assert trial.fits(2) is fits
        assert all(p.grad is None for p in trial._detector.parameters())
    monkeypatch.setattr(trial, "_step", lambda _: [][0])
    with pytest.raises(IndexError):
        trial.fits(2)


def test_an_epoch_keeps_its_steps_and_processes_share(
    dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def size(images: int, ranks: Ranks, each: int = 1, free: int = 2**40) -> int:
        rows = np.arange(images) % len(dataset)
        monkeypatch.setattr(batch_size, "free_memory", lambda: free)
        monkeypatch.setattr(Trial, "__init__", lambda *_: None)
        monkeypatch.setattr(Trial, "bytes_an_image", lambda _: each)
        monkeypatch.setattr(Trial, "size", (64, 64), raising=False)
        monkeypatch.setattr(Ranks, "least", lambda _, number, __: number)
        recipe = recipe_of(dataset)
        settled = batch_size.settle_batch_size(recipe, dataset.subset(rows), torch.nn.Identity(), "cpu", ranks)
        assert settled.lr == pytest.approx(recipe.lr * (settled.images_a_batch / 8) ** 0.5, rel=1e-3)
        return settled.images_a_batch

    assert size(12, Ranks()) == 8  # the recipe's own, though an epoch has two steps
    assert size(16 * 33, Ranks()) == 32
    assert size(16 * 65, Ranks()) == 64  # the most on a CPU
    assert size(16 * 33, Ranks(1, 4, 4)) == 32
    assert size(12, Ranks(0, 16, 16)) == 16  # one image each
    assert size(16 * 33, Ranks(), each=100, free=1000) == 4  # of half the memory
    with pytest.raises(RecipeError, match=r"one image of 64 x 64 pixels .* image_size or precision=bf16"):
        size(12, Ranks(), each=100, free=199)


@pytest.mark.slow
def test_a_run_keeps_what_was_found(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options: Any = {"image_size": 64, "width": 16, "freeze": 4, "steps": 2, "device": "cpu"}
    run = bw.train(folder, out=tmp_path / "run", batch_size="auto", console=Console(width=200), **options)
    assert "batch_size=auto is 8 here: lr 0.004 becomes 0.004" in capsys.readouterr().out
    assert Run(tmp_path / "run").recipe.batch_size == 8
    assert run.record["training"]["batch size"] == 8
    assert "auto" not in run.record["origin"]["commands"][0]
    again = bw.train(folder, resume=run.folder, steps=3, console=Console(quiet=True))
    assert again.recipe.batch_size == 8


def test_arms_are_compared_at_one_size(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--set batch_size=8 is the recipe's"):
        compare(folder, {"box_loss": ["giou", "ciou"]}, batch_size="auto", out=tmp_path / "compare")

"""The frozen tier: features once, heads on them, and what it refuses."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import boxwright as bw
from boxwright.compare.run import features as features_module
from boxwright.compare.run import frozen
from boxwright.compare.run.execute import execute
from boxwright.compare.run.features import VIEWS, Features, cache_features, cache_name
from boxwright.compare.run.frozen import check_freezable, time_frozen
from boxwright.data import read_dataset
from boxwright.data.cache import ImageCache
from boxwright.data.loading import Batch, TrainingSet, collate
from boxwright.data.sampling import Showing, encode
from boxwright.data.transforms import Augmentation, InputSize
from boxwright.errors import BoxwrightError, DataError, RecipeError
from boxwright.models import build_detector
from boxwright.recipes import get_recipe
from boxwright.recipes.criterion import build_criterion
from comparison_builders import digits, job, recipe

SEVEN = 7  # a readable image in the middle


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = digits(tmp_path_factory.mktemp("data") / "digits")
    broken = sorted((folder / "images" / "train").iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:300])
    return folder


@pytest.fixture(scope="module")
def cache(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features") / "a"
    seen: list[tuple[int, int]] = []
    cache_features(recipe(), read_dataset(data, "train"), folder, lambda *progress: seen.append(progress))
    assert seen[-1] == (VIEWS * 15, VIEWS * 15)
    assert 0 < json.loads((folder / "meta.json").read_text())["seconds"] < 60
    return folder


def test_features_are_those_of_the_backbone(data: Path, cache: Path) -> None:
    """Of a view by hand: augment, normalize, forward; and its targets."""
    features, dataset = Features.open(cache), read_dataset(data, "train")
    assert features.images == 15
    assert 3 not in features.readable
    assert features.views == VIEWS
    images = TrainingSet(ImageCache(dataset), features.readable, InputSize(64), Augmentation(), seed=0)
    detector = build_detector(recipe()).eval()
    for epoch in (0, 2, VIEWS + 2):  # views come round again
        batch = collate([images[encode(Showing(epoch % VIEWS, 0, SEVEN), 15)]])
        with torch.no_grad():
            expected = detector.net.backbone(detector.normalize(batch.images))
        maps, targets = features.batch([encode(Showing(epoch, 0, SEVEN), 15)], detector)
        for found, wanted in zip(maps, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
        assert torch.equal(targets.boxes, batch.targets.boxes)
        assert torch.equal(targets.labels, batch.targets.labels)


def test_features_are_computed_once(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "build_detector", None)  # would be called
    cache_features(recipe(), read_dataset(data, "train"), cache)


def test_arms_share_features_unless_they_see_other_images() -> None:
    base = recipe()
    assert cache_name(base) == cache_name(base.replace(box_loss="ciou", width=48, lr=0.1, coder="delta"))
    others = [{"image_size": 96}, {"augment": "none"}, {"backbone": "resnet18"}, {"strides": (16, 32)}]
    assert len({cache_name(base.replace(**other)) for other in others} | {cache_name(base)}) == 5


@pytest.mark.slow
def test_heads_learn_and_the_backbone_stays(data: Path, cache: Path, tmp_path: Path) -> None:
    long = execute(job(data, tmp_path / "long", recipe(), steps=60, features=cache))
    short = execute(job(data, tmp_path / "short", recipe(), steps=1, features=cache))
    again = execute(job(data, tmp_path / "again", recipe(), steps=1, features=cache))
    assert not long.failed, long.failed
    assert long.steps == 60
    losses = {}
    for name in ("long", "short"):
        detector = bw.load(tmp_path / name).eval()
        criterion = build_criterion(recipe()).eval()
        maps, targets = Features.open(cache).batch(list(range(8)), detector)
        backbone, detector.net.backbone = detector.net.backbone, torch.nn.Identity()
        with torch.no_grad():
            losses[name] = float(criterion(detector.anchors, detector(maps), targets).total)
        for key, value in build_detector(recipe()).net.backbone.state_dict().items():
            assert torch.equal(value, backbone.state_dict()[key]), key
    assert losses["long"] < 0.8 * losses["short"]
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("short", "again")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert str(short.metrics) == str(again.metrics)
    record = json.loads((tmp_path / "long" / "data.json").read_text())
    assert record["training"]["tier"] == "frozen"
    assert record["training"]["images"] == 15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ssd300", {"backbone": "tf_efficientnet_lite0"}),
        ("retinanet", {"backbone": "tf_efficientnet_lite0", "image_size": 128, "width": 32}),
        ("unitbox", {"backbone": "tf_efficientnet_lite0", "image_size": 128, "width": 32}),
    ],
)
def test_other_detectors(data: Path, tmp_path: Path, name: str, options: dict[str, object]) -> None:
    arm = get_recipe(name, batch_size=4, classes=tuple("0123456789"), **options)
    check_freezable(arm)
    dataset = read_dataset(data, "train").subset([0, 1, 2, 4])
    cache_features(arm, dataset, tmp_path / "features")
    one = job(data, tmp_path / "run", arm, steps=2, features=tmp_path / "features")
    assert not frozen.train_head(one, dataset, {}, lambda _: None).load().training


@pytest.mark.parametrize("spoilt", [1, 3])
def test_a_loss_that_is_not_finite_is_told_a_step_later(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: int
) -> None:
    """So that the device never waits; that of the last step is told too."""
    build, losses, beats = frozen.build_criterion, itertools.count(), []

    def build_spoilt(*arguments: Any) -> torch.nn.Module:
        criterion = build(*arguments)
        criterion.register_forward_hook(
            lambda _, __, found: found._replace(total=found.total * (math.nan if next(losses) == spoilt else 1))
        )
        return criterion

    monkeypatch.setattr(frozen, "build_criterion", build_spoilt)
    one = job(data, tmp_path / "run", recipe(), steps=4, features=cache)
    with pytest.raises(BoxwrightError, match=f"the loss is not finite any more after {spoilt} steps"):
        frozen.train_head(one, read_dataset(data, "train"), {}, beats.append)
    assert beats == list(range(1, spoilt + 2))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": False, "freeze": 0}, "pretrained"),
        ({"norm_mode": "group"}, "norm_mode"),
    ],
)
def test_what_it_cannot_do_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_freezable(recipe(**options))


def test_a_detector_without_a_backbone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "build_detector", lambda *_, **__: torch.nn.Identity())
    with pytest.raises(RecipeError, match="dense detectors"):
        check_freezable(recipe())


def test_a_full_disk_and_unreadable_images_are_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_dataset(data, "train")
    with pytest.raises(DataError, match="can be decoded"):
        cache_features(recipe(), dataset.subset([3]), tmp_path / "none")
    monkeypatch.setattr(features_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(RecipeError, match="GiB of disk"):
        cache_features(recipe(), dataset.subset([0]), tmp_path / "full")


def test_fewer_views_where_the_disk_is_small(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, one_view = read_dataset(data, "train").subset([0, 1]), 2 * 2 * (40 * 64 + 112 * 16 + 320 * 4)
    monkeypatch.setattr(features_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2 * 3 * one_view}))
    cache_features(recipe(), dataset, tmp_path / "small")
    assert Features.open(tmp_path / "small").views == 3


def test_times_are_positive() -> None:
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    targets = bw.types.Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0).long(), torch.zeros(2, 0).bool())
    head, features = time_frozen(recipe(), Batch(images, targets, torch.arange(2), torch.full((2, 2), 64)))
    assert 0 < head < 10
    assert 0 < features < 10

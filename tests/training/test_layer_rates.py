"""Learning rates by layer: the longest prefix counts, and a layer that waits stays as it is bit for bit."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from small_network import SMALL_NETWORK
from torch import Tensor, nn

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from boxwright.training.layer_rates import Rate, layer_rates, parameter_groups

NAMES = ("net.backbone.body.0.weight", "net.backbone.body.1.weight", "net.head.logits.weight", "net.head.log.weight")


def rates(started: tuple[str, ...] = (), **keys: str) -> list[Rate]:
    return list(layer_rates(NAMES, get_recipe("lite320", **keys), started).values())  # type: ignore[arg-type]


def test_nothing_is_slower_without_a_start() -> None:
    assert rates() == [Rate()] * 4


def test_the_longest_prefix_counts() -> None:
    found = rates(
        NAMES[1:3], layer_lr="start=0.5, backbone=0.1, backbone.body.1=0, head.log=3", layer_delay="start=0.25"
    )
    assert found == [Rate(0.1, 0), Rate(0, 0.25), Rate(0.5, 0.25), Rate(3, 0)]


def test_rates_by_time() -> None:
    rate = Rate(0.5, 0.25)
    assert [rate.at(done, 0.8) for done in (0, 0.249, 0.25, 1)] == [0, 0, 0.4, 0.4]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"layer_lr": "bakbone=0.1"}, "layer_lr: the network has no layer 'bakbone'; did you mean 'backbone'"),
        ({"layer_delay": "head.logit=0.1"}, r"layer_delay: the network has no layer 'head\.logit'"),
        ({"layer_lr": "0.1"}, "Expected layer_lr to be none or NAME=NUMBER,... but got '0.1'"),
        ({"layer_lr": "=0.1"}, "Expected layer_lr to be none or"),
        ({"layer_lr": "start=-1"}, "Expected layer_lr of 'start' of at least 0 but got -1"),
        ({"layer_lr": "start=inf"}, "Expected layer_lr of 'start' to be float but got 'inf'"),
        ({"layer_delay": "start=1.5"}, r"Expected layer_delay of 'start' in 0\.\.1 but got 1\.5"),
    ],
)
def test_what_cannot_be(keys: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rates(**keys)


def test_groups_of_one_rate_are_as_ever() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    module[2].requires_grad_(False)
    decaying, plain = parameter_groups(module, 0.1)
    assert decaying == {"params": [module[0].weight], "weight_decay": 0.1}
    assert plain["params"] == [module[0].bias, module[1].weight, module[1].bias]
    slower = Rate(0.5)
    groups = parameter_groups(module, 0.1, {"0.weight": slower, "0.bias": slower, "1.weight": Rate(), "1.bias": Rate()})
    assert [group.get("rate") for group in groups] == [None, None, [0.5, 0.0], [0.5, 0.0]]
    assert [len(group["params"]) for group in groups] == [0, 2, 1, 1]


class Watch(Callback):
    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.seen.append({name: value.detach().clone() for name, value in pl_module.detector.named_parameters()})


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_layers_learn_by_their_rates(tmp_path: Path, optimizer: str) -> None:
    digits = make_digits(tmp_path / "digits", images={"train": 8}, size=64)
    options: dict[str, Any] = {**SMALL_NETWORK, "optimizer": optimizer, "lr": 1e-2, "steps": 8, "warmup": 0}
    options |= {"val_split": None, "console": Console(quiet=True), "schedule": "constant"}
    watch = Watch()
    rated = {"layer_lr": "head.laterals=0.25", "layer_delay": "backbone=0.5"}
    bw.train(digits, out=tmp_path / "rated", callbacks=[watch], **options, **rated)
    plain = Watch()
    bw.train(digits, out=tmp_path / "plain", callbacks=[plain], **options)
    name = "net.head.laterals.0.0.weight"
    change, whole = (each.seen[1][name] - each.seen[0][name] for each in (watch, plain))
    torch.testing.assert_close(change, 0.25 * whole, rtol=1e-3, atol=1e-8)
    waits = [each for each in watch.seen[0] if each.startswith("net.backbone.")]
    assert waits
    for each in waits:
        first, *others = (weights[each] for weights in watch.seen)
        assert all(torch.equal(first, other) for other in others[:4])
        assert first.ndim < 2 or not torch.equal(first, others[-1])

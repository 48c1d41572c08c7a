"""A compiled network trains as any other: the same end, the same names, resumed or not. The backend is torch's own code
here, so that nothing is built."""

import csv
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import torch._dynamo
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from safetensors import safe_open
from same_end import assert_same_end
from small_network import SMALL_NETWORK

import boxwright as bw
from boxwright.data.loading import Sample, collate
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.runs import Run
from boxwright.training import compiling
from boxwright.training.compiling import check_compilable
from boxwright.training.distributed import Ranks
from boxwright.training.made_up import made_up_batch


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 9, "val": 2}, size=64)


@pytest.fixture(scope="module")
def plain(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(digits, tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")


def train(digits: Path, out: Path, **options: Any) -> Run:
    return bw.train(digits, out=out, **{"console": Console(quiet=True), "device": "cpu", **SMALL_NETWORK, **options})


class Stop(Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            raise OSError("the power went")


@pytest.fixture(scope="module")
def compiled(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    folder = tmp_path_factory.mktemp("compiled")
    said = Console(record=True, file=(folder / "said.txt").open("w"), width=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "BACKEND", "eager")
        return train(digits, folder / "run", compile=True, console=said), said.export_text()


def assert_near(run: Run, other: Run) -> None:
    """Compiled losses take the way of devices, which rounds otherwise."""
    here, there = (list(csv.DictReader(each.metrics_file.open())) for each in (run, other))
    assert len(here) == len(there)
    for row, same in zip(here, there, strict=True):
        assert row.keys() == same.keys()
        for name in row:
            if "loss" in name and row[name]:
                assert float(row[name]) == pytest.approx(float(same[name]), rel=1e-2)
    states = [torch.load(each.last_checkpoint, weights_only=True)["current_model_state"] for each in (run, other)]
    counts = [[value for name, value in state.items() if "num_batches" in name] for state in states]
    assert counts[0]
    assert counts[0] == counts[1]  # norms have seen no step but the training's


@pytest.mark.slow
def test_a_compiled_network_ends_as_any_other(compiled: tuple[Run, str], plain: Run) -> None:
    run, text = compiled
    assert_near(run, plain)
    assert "compiled network and losses in" in text
    assert "a step, forward and backward, takes" in text
    with safe_open(run.model_file, "pt") as model:
        assert not [name for name in model.keys() if "_orig_mod" in name]  # noqa: SIM118
    kept = torch.load(run.last_checkpoint, weights_only=True)
    assert not [name for name in kept["state_dict"] if "_orig_mod" in name]
    assert "--compile" in run.record["origin"]["commands"][0].split()


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
def test_a_run_is_resumed_with_it_or_without(
    digits: Path, tmp_path: Path, plain: Run, compiled: tuple[Run, str], again: bool
) -> None:
    with pytest.raises(OSError, match="the power went"):
        train(digits, tmp_path / "run", compile=True, checkpoint_minutes=0, callbacks=[Stop()])
    run = bw.train(digits, resume=tmp_path / "run", compile=again, console=Console(quiet=True))
    if again:
        assert_same_end(run, compiled[0])
    else:
        assert_near(run, plain)


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_what_to_do(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError("no C++ compiler\nand a long story")

    monkeypatch.setattr(compiling, "BACKEND", failing)
    message = r"torch can't compile the network here \(.*\): train without compile"
    with pytest.raises(RecipeError, match=message) as caught:
        train(digits, tmp_path / "run", compile=True)
    assert "long story" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["lite320", "ssd300", "ssd300-tf", "retinanet", "unitbox", "tiny-detector"])
def test_a_dense_criterion_is_one_graph(recipe: str) -> None:
    """Also where the number of positives differs; and it answers as it does without the compiler."""
    sized = {"image_size": 128} if recipe in ("lite320", "retinanet", "unitbox") else {}
    scratch = {"backbone": "tf_efficientnet_lite0", "norm_mode": "train"} if recipe in ("retinanet", "unitbox") else {}
    detector = bw.create_detector(recipe, 3, pretrained=False, freeze=0, **sized, **scratch).train()
    criterion = build_criterion(detector.recipe)
    side = detector.recipe.image_size
    anchors = detector.anchors_of((side, side))
    assert anchors.corners is not None  # Python 3.11 locks what is computed once, which no graph can hold
    with torch.no_grad():
        outputs = detector(torch.randn(2, 3, side, side))
    compiled = torch.compile(criterion, backend="eager", fullgraph=True)
    with torch._dynamo.config.patch(compiling._OPTIONS):
        for seed in (0, 1):
            _, targets = made_up_batch(2, (side, side), 8, 3, torch.device("cpu"))
            targets.labels[seed:, 3:] = -1
            there, here = compiled(anchors, outputs, targets), criterion(anchors, outputs, targets)
            torch.testing.assert_close(there.total, here.total)
            assert torch.equal(there.positives, here.positives)


def test_compiled_losses_meet_few_numbers_of_targets() -> None:
    def counts(samples: list[int], few: bool) -> int:
        made = [
            Sample(
                np.zeros((8, 8, 3), np.uint8),
                np.ones((count, 4), np.float32),
                np.zeros(count, np.int64),
                np.zeros(count, np.bool_),
                place,
                (8, 8),
            )
            for place, count in enumerate(samples)
        ]
        return collate(made, few_counts=few).targets.labels.shape[1]

    assert [counts([most, 1], True) for most in (0, 1, 8, 9, 33)] == [8, 8, 8, 16, 64]
    assert counts([5, 1], False) == 5


@pytest.mark.parametrize(
    ("options", "ranks", "message"),
    [
        ({"resize": "shortest"}, Ranks(), "resize=squash or resize=pad with compile"),
        ({}, Ranks(0, 2, 2), "one process with compile but got several"),
    ],
)
def test_what_a_compiled_network_is_not_for(options: dict[str, Any], ranks: Ranks, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_compilable(get_recipe("lite320", **options), ranks)

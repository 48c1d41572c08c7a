"""Several processes train as one would on the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

import boxwright as bw
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.runs import Run
from boxwright.training.distributed import Ranks

# Without BatchNorm, whose statistics are of a rank's share, and AdamW, which makes whole steps of a gradient's rounding
SETTINGS = {
    "image_size": 64,
    "width": 32,
    "batch_size": 4,
    "epochs": 2,
    "freeze": 4,
    "seed": 3,
    "norm_mode": "group",
    "optimizer": "sgd",
    "lr": 1e-3,
    "precision": "float32",
}


def test_ranks_come_from_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Ranks.of_environment() == Ranks()
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    ranks = Ranks.of_environment()
    assert ranks == Ranks(5, 8, 4)
    assert not ranks.first
    assert ranks.trainer_options() == {"devices": 4, "num_nodes": 2, "strategy": "ddp"}
    ranks.check(16)
    ranks.check("auto")
    assert ranks.device("cuda") == torch.device("cuda", 1)
    assert Ranks().least(7, "cpu") == 7
    with pytest.raises(RecipeError, match="multiple of"):
        ranks.check(12)


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "boxwright"]
LAUNCH = """import sys
from boxwright._util.launching import launch
sys.exit(launch([sys.executable, "-m", "boxwright", *sys.argv[1:]], 2))"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 13, "val": 5}, size=64)


@pytest.fixture(scope="module")
def one(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("one")
    return bw.train(data, out=folder / "run", console=Console(quiet=True), **SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("start", [TORCHRUN, [sys.executable, "-c", LAUNCH]], ids=["torchrun", "launch"])
def test_two_processes_end_as_one(data: Path, one: Run, tmp_path: Path, start: list[str]) -> None:
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items() if key not in ("epochs", "seed")]
    command = [*start, "train", str(data), "--out", str(tmp_path / "two"), "--epochs=2", "--seed=3", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the model is in") == 1
    assert not list(Path("/dev/shm").glob("boxwright-*"))  # where both decoded a part of the images for both
    states = [torch.load(run / "last.ckpt", weights_only=True) for run in (one.folder, tmp_path / "two")]
    assert states[0]["global_step"] == states[1]["global_step"] == 6
    for name, value in states[0]["current_model_state"].items():
        torch.testing.assert_close(value, states[1]["current_model_state"][name], rtol=1e-3, atol=1e-5)
    best = [
        next(v for k, v in state["callbacks"].items() if k.startswith("BestCheckpoint"))["best_model_score"]
        for state in states
    ]
    torch.testing.assert_close(*best, rtol=1e-3, atol=1e-4)  # AP of all five images, though the ranks had three each
    assert one.load().classes == bw.load(tmp_path / "two").classes

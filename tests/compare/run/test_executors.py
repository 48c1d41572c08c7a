"""Runs in processes of their own, and on Ray."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from boxwright.compare.results.results import RunResult
from boxwright.compare.run import executors
from boxwright.compare.run.executors import run_locally, run_on_ray
from boxwright.compare.run.jobs import Job
from boxwright.errors import RecipeError
from comparison_builders import job, recipe

pytestmark = pytest.mark.slow


def jobs(data: Path, out: Path) -> list[Job]:
    """The second can't be trained: there is no such split."""
    arms = {"giou": recipe(), "broken": recipe(), "ciou": recipe(box_loss="ciou")}
    return [
        job(data, out / name, arm, name=name, split="nowhere" if name == "broken" else "train")
        for name, arm in arms.items()
    ]


@pytest.fixture(scope="module")
def local(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Job], list[RunResult]]:
    made, seen = jobs(data, tmp_path_factory.mktemp("local")), []
    results = list(run_locally(made, seen.extend))
    assert set(seen) == set(made)
    return made, results


def test_a_run_that_fails_leaves_the_others_alone(local: tuple[list[Job], list[RunResult]]) -> None:
    made, results = local
    assert [result.arm for result in results] == ["giou", "broken", "ciou"]
    assert "nowhere" in results[1].failed
    assert [each.finished for each in made] == [True, False, True]
    assert "boxes" in (made[0].folder / "run.log").read_text()
    # Its memory is its own: the second run doesn't hold the first one's too
    assert results[2].peak_memory_mb < 1.2 * results[0].peak_memory_mb


def test_a_process_that_is_killed_is_a_failure(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_run_alone", killed)
    one = job(data, tmp_path / "a", recipe())
    (result,) = run_locally([one], lambda _: None)
    assert "signal 9" in result.failed
    assert not one.finished


def killed(one: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_ctrl_c_ends_the_run_in_order_and_it_goes_on(data: Path, tmp_path: Path) -> None:
    settings = ["--set=image_size=64", "--set=width=32", "--set=batch_size=4", "--set=freeze=4"]
    command = [sys.executable, "-m", "boxwright", "compare", str(data), "--vary=box_loss=giou,ciou", "--steps=400"]
    command += ["--seeds=1", f"--out={tmp_path}", "--threads=1", *settings]
    process = subprocess.Popen(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    folder = tmp_path / "runs" / "giou-seed0"
    deadline = time.monotonic() + 120
    while not (folder / "last.ckpt").is_file():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "stopped with 0 of 2 runs finished: the same command goes on" in said
    assert "goes on" in (folder / "run.log").read_text()
    assert not (folder / "result.json").exists()
    assert (folder / "last.ckpt").is_file()


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    """A local cluster of two machines of one processor each."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'boxwright[ray]'")
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    import ray

    ray.init(address=cluster.address, log_to_driver=False)
    yield
    ray.shutdown()
    cluster.shutdown()


def test_ray_gives_what_local_runs_give(
    two_workers: None, data: Path, tmp_path: Path, local: tuple[list[Job], list[RunResult]]
) -> None:
    import ray

    assert len(ray.nodes()) == 2
    made = jobs(data, tmp_path)
    results = {result.arm: result for result in run_on_ray(made, lambda _: None)}
    for one, here, before in zip(made, local[0], local[1], strict=True):
        result = results[one.arm]
        assert bool(result.failed) == bool(before.failed)
        if not before.failed:
            assert str(result.metrics) == str(before.metrics)  # as text: NaN isn't equal to itself
            weights, others = (load_file(each.folder / "model.safetensors") for each in (one, here))
            assert all((weights[name] == others[name]).all() for name in others)
            assert one.detections_file.read_bytes() == here.detections_file.read_bytes()


def test_ray_that_is_missing_is_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RecipeError, match=r"boxwright\[ray\]"):
        next(run_on_ray(jobs(data, tmp_path), lambda _: None))

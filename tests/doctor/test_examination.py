"""What doctor finds: rules on given numbers, made-up systems, and this machine; a probe that fails stops no other."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from boxwright.cli.output import json_text
from boxwright.doctor import Part, examine, libraries, measure_speed
from boxwright.doctor.devices import examine_devices, gpu_advice, nvidia_card
from boxwright.doctor.examination import PROBES
from boxwright.doctor.libraries import extras, version_advice
from boxwright.doctor.machine import disk_advice, memory_advice, thread_advice
from boxwright.doctor.speed import Speed
from boxwright.doctor.stores import cache_advice, examine_caches, is_writable


def test_every_part_is_found_here() -> None:
    found = examine()
    assert list(found.parts) == list(PROBES)
    assert not [name for name, part in found.parts.items() if "error" in part.facts]
    json_text(found.to_json())  # holds plain values alone


def test_a_probe_that_fails_stops_no_other() -> None:
    def fail() -> Part:
        raise OSError("no such system")

    found = examine({"broken": fail, "sound": lambda: Part({"a": 1})})
    assert found.parts["sound"].facts == {"a": 1}
    assert found.parts["broken"].facts == {"error": "OSError: no such system"}
    assert [each.problem for each in found.advice] == ["broken can't be looked at: OSError: no such system"]


@pytest.mark.parametrize(
    ("cores", "threads", "given", "problem", "cure"),
    [
        (4, 4, {}, None, None),
        (4, 2, {"OMP_NUM_THREADS": "2"}, None, None),
        (4, 4, {"OMP_NUM_THREADS": "4,1"}, None, None),
        (1, 1, {"OMP_NUM_THREADS": "1"}, None, None),
        (4, 1, {"OMP_NUM_THREADS": "1"}, "one of 4 cores", "unset OMP_NUM_THREADS, or export OMP_NUM_THREADS=4"),
        (4, 4, {"OMP_NUM_THREADS": "all"}, "is no number", "unset OMP_NUM_THREADS"),
        (4, 4, {"OMP_NUM_THREADS": ""}, "is no number", "unset OMP_NUM_THREADS"),
        (4, 4, {"MKL_NUM_THREADS": "0"}, "MKL_NUM_THREADS=0", "unset MKL_NUM_THREADS"),
        (2, 16, {}, "16 threads on 2 usable cores", "export OMP_NUM_THREADS=2"),
    ],
)
def test_threads(cores: int, threads: int, given: dict[str, str], problem: str | None, cure: str | None) -> None:
    found = list(thread_advice(cores, threads, given))
    assert len(found) == (problem is not None)
    for advice in found:
        assert problem is not None
        assert problem in advice.problem
        assert cure is not None
        assert cure in advice.cure


@pytest.mark.parametrize(
    ("card", "driver", "build", "usable", "problem"),
    [
        (False, False, None, False, None),
        (None, False, "13.0", False, None),
        (True, True, "13.0", True, None),
        (True, True, None, False, "built for processors alone"),
        (None, True, None, False, "built for processors alone"),  # a container sees the driver, not always the card
        (True, False, "13.0", False, "its driver is not loaded"),
        (True, True, "13.0", False, "PyTorch (built for CUDA 13.0) can't use them"),
    ],
)
def test_gpus(card: bool | None, driver: bool, build: str | None, usable: bool, problem: str | None) -> None:
    found = list(gpu_advice(card=card, driver=driver, build=build, usable=usable))
    assert len(found) == (problem is not None)
    assert all(problem is not None and problem in advice.problem for advice in found)


def test_a_card_is_seen_by_its_maker_and_class(tmp_path: Path) -> None:
    assert nvidia_card(tmp_path) is None
    devices = tmp_path / "sys/bus/pci/devices"
    for name, vendor, kind in (("sound", "0x10de", "0x040300"), ("other", "0x1002", "0x030000")):
        (devices / name).mkdir(parents=True)
        (devices / name / "vendor").write_text(f"{vendor}\n")
        (devices / name / "class").write_text(f"{kind}\n")
    (devices / "strange").mkdir()
    assert nvidia_card(tmp_path) is False
    (devices / "sound" / "class").write_text("0x030200\n")  # a 3D controller: without an outlet
    assert nvidia_card(tmp_path) is True
    assert examine_devices(tmp_path).facts["NVIDIA card"] is True


def test_memory_and_disk() -> None:
    assert not list(memory_advice(8, 8))
    assert [each.problem for each in memory_advice(0.5, 0.5)] == ["0.5 GB of memory are free: trainings may be killed"]
    (shared,) = memory_advice(8, 0.0625)
    assert shared.problem.startswith("/dev/shm has 64 MB free")
    assert "--shm-size" in shared.cure
    assert [each.problem for each in disk_advice({"/a": 90.0, "/b": 0.3})] == [
        "0.3 GB are free in /b: runs and exported models may not fit"
    ]


def test_packages_that_are_missing_or_old() -> None:
    found = list(version_advice([Requirement("no-such-package>=1"), Requirement("torch>=999"), Requirement("numpy")]))
    assert [each.cure for each in found] == ["pip install 'no-such-package>=1'", "pip install 'torch>=999'"]
    assert "no-such-package is not installed" in found[0].problem


def test_extras_that_only_developers_need_are_left_out() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    users = project["optional-dependencies"].keys() - set(libraries._OF_DEVELOPERS)
    assert users == {"demo", "ray", "export", "openvino", "serve", "video"}


def test_extras_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "torch>=2.6",
        "no-such-a; extra == 'a'",
        "boxwright[a]; extra == 'b'",
        "numpy; (python_version > '3' and extra == 'b') or extra == 'c'",
        "pytest; extra == 'test'",
    ]
    monkeypatch.setattr(libraries, "requires", lambda name: wanted)
    assert extras() == ["a", "b", "c"]
    assert libraries.examine_extras().facts == {
        "a": "needs no-such-a: pip install 'boxwright[a]'",
        "b": "needs no-such-a: pip install 'boxwright[b]'",
        "c": "installed",
    }


def test_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert is_writable(tmp_path / "new" / "folder")
    assert not is_writable(tmp_path / "file" / "folder")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not is_writable(tmp_path)
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "file" / "cache"))
    found = examine_caches()
    assert found.facts[f"boxwright: {tmp_path / 'file' / 'cache'}"] == "can't be written"
    assert found.advice[0].cure == "export BOXWRIGHT_CACHE=FOLDER, one of yours"
    assert not list(cache_advice({"torch: x": True}))


def test_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("boxwright.doctor.stores.cache_folder", homeless)
    assert examine_caches().advice[0].cure == "export BOXWRIGHT_CACHE=FOLDER"


def test_what_to_expect_of_a_speed() -> None:
    assert "500 images for 40 epochs take 10 minutes" in Speed("cpu", "float32", 8, 100 / 3).line()
    assert "take 20 seconds" in Speed("cuda", "bf16", 8, 1000.0).line()
    assert (
        Speed("cuda", "bf16", 8, 1000.0).line().startswith("about 1000 images/s in steps of lite320 on cuda (bf16, 8")
    )
    assert Speed("cpu", "float32", 8, 2.216).line().startswith("about 2.22 images/s")


@pytest.mark.slow
def test_the_speed_of_this_machine() -> None:
    found = measure_speed(0.01)
    assert found.device in ("cpu", "cuda", "xpu")
    assert 0 < found.images_per_second < 1e6

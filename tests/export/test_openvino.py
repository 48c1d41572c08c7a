"""Runs become OpenVINO folders that say what the runs say, or nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from export_runs import found_by, lively_run

from boxwright.errors import WriteError
from boxwright.export import Exported, export_run
from boxwright.runs import Run
from command_line import Boxwright

pytest.importorskip("openvino", reason="the extra openvino is not installed")
pytest.importorskip("nncf", reason="the extra openvino is not installed")

from boxwright.export.openvino import OpenVinoGraph, OpenVinoSession

pytestmark = pytest.mark.usefixtures("kept_graphs")


@pytest.fixture(scope="module")
def exported(tiny: Run, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_run(tiny.folder, tmp_path_factory.mktemp("out"), form="openvino")


def opened(file: Path) -> OpenVinoSession:
    return OpenVinoSession(OpenVinoGraph(file.read_bytes(), file.with_suffix(".bin").read_bytes()))


def test_the_folder_finds_what_the_run_finds(tiny: Run, exported: Exported) -> None:
    session = opened(exported.file)
    pictures = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), np.uint8)
    pictures[:, 20:40, 20:50] = 255
    found = session({"images": pictures})
    assert found["boxes"].shape == (5, 100, 4)
    for row, expected in enumerate(tiny.load().predict(list(pictures))):
        count = int(found["count"][row])
        assert count == len(expected.scores) > 0
        torch.testing.assert_close(torch.from_numpy(found["scores"][row, :count]), expected.scores, atol=1e-4, rtol=0)
        torch.testing.assert_close(torch.from_numpy(found["boxes"][row, :count]), expected.boxes, atol=0.05, rtol=0)
        assert found["labels"][row, :count].tolist() == expected.labels.tolist()
        assert (found["labels"][row, count:] == -1).all()
    assert len(session({"images": pictures[:1]})["count"]) == 1


def test_the_folder_says_what_a_prediction_needs(tiny: Run, exported: Exported) -> None:
    folder = exported.file.parent
    assert sorted(path.name for path in folder.iterdir()) == [".boxwright", "metadata.json", "model.bin", "model.xml"]
    said = json.loads((folder / "metadata.json").read_text("utf-8"))
    assert said["classes"] == list(tiny.recipe.classes)
    assert said["inference"] == {"INFERENCE_PRECISION_HINT": "f32"}
    assert said["generator"].startswith("boxwright")


def test_a_folder_of_ours_is_replaced_and_others_are_not(tiny: Run, exported: Exported, tmp_path: Path) -> None:
    again = export_run(tiny.folder, exported.file.parents[1], form="openvino")
    assert again.file == exported.file
    theirs = tmp_path / "openvino" / "model.bin"
    theirs.parent.mkdir()
    theirs.write_bytes(b"theirs")
    with pytest.raises(WriteError, match="didn't write it"):
        export_run(tiny.folder, tmp_path, form="openvino")
    assert [path.name for path in theirs.parent.iterdir()] == ["model.bin"]


@pytest.mark.slow
def test_raw_of_any_size_in_half(tmp_path: Path) -> None:
    run = lively_run(tmp_path, "unitbox", resize="shortest", max_size=192)
    file = export_run(run.folder, form="openvino", nms="runtime", half=True).file
    assert file == tmp_path / "openvino" / "model.xml"
    assert file.with_suffix(".bin").stat().st_size < 0.6 * run.model_file.stat().st_size


@pytest.mark.slow
def test_int8_at_the_command_line(tiny: Run, tmp_path: Path, boxwright: Boxwright) -> None:
    data = found_by(tiny, tmp_path / "data", {"train": 4, "val": 4})
    out = tmp_path / "out"
    flags = ("--format", "openvino", "--int8", data, "--max-loss", 0.5, "--out", out)
    outcome = boxwright("export", tiny.folder, *flags)
    assert outcome.code == 0, outcome.err
    assert "int8: AP " in outcome.out
    assert f"the model is in {out / 'openvino' / 'model.xml'}" in outcome.out
    folder = out / "openvino"
    assert "i8" in (folder / "model.xml").read_text()
    assert (folder / "model.bin").stat().st_size < 0.6 * tiny.model_file.stat().st_size
    said = json.loads((folder / "metadata.json").read_text("utf-8"))["int8"]
    assert said["calibrated_on"] == 4
    assert said["AP"]["float"] - said["AP"]["int8"] <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "work", ["export_run(run, out, form='openvino')", "Predictor(made)(np.zeros((64, 64, 3), np.uint8))"]
)
def test_a_signal_can_be_handled_after_it(tiny: Run, exported: Exported, tmp_path: Path, work: str) -> None:
    """OpenVINO's plugin for processors with AMX leaves a freed stack for signal handlers behind it."""
    code = f"""
import gc, signal
import numpy as np
from boxwright.export import export_run
from boxwright.runtime import Predictor
run, out, made = {str(tiny.folder)!r}, {str(tmp_path)!r}, {str(exported.file.parent)!r}
{work}
gc.collect()
signal.signal(signal.SIGTERM, lambda number, frame: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_nobody_is_told(exported: Exported) -> None:
    """Neither is an id kept that OpenVINO would report with."""
    from openvino_telemetry import Telemetry

    assert not Telemetry().consent


def test_without_the_extra(tiny: Run, boxwright: Boxwright, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boxwright.cli.export.find_spec", lambda name: None if name == "nncf" else name)
    outcome = boxwright("export", tiny.folder, "--format", "openvino")
    assert "export needs nncf: pip install 'boxwright[openvino]'" in outcome.err

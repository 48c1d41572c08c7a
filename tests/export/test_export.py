"""Runs become ONNX files that say what the runs say, or no files at all."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_runs import LARGE, lively, lively_run
from PIL import Image
from torch import nn

from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError, WriteError
from boxwright.export import Exported, Unfaithful, export_run, exporting, models
from boxwright.export.compare import Tolerance
from boxwright.export.metadata import describe
from boxwright.export.onnx_graph import between, to_onnx
from boxwright.export.samples import make_samples, pictures_of
from boxwright.export.session import Session
from boxwright.export.verify import Verifier
from boxwright.models import DenseDetector
from boxwright.recipes import get_recipe
from boxwright.runs import Run
from command_line import Boxwright

RAW = ("all_scores", "all_boxes")
ONES = (0.2, 0.5, 0.8)  # a mean of unlike channels


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return lively_run(tmp_path_factory.mktemp("runs") / "lite", "lite320", vote=0.05, mean=ONES)


@pytest.fixture(scope="module")
def exported(run: Run) -> Exported:
    return export_run(run.folder)


@pytest.fixture(scope="module")
def raw(run: Run, exported: Exported) -> tuple[DenseDetector, onnx.ModelProto]:
    """The detector, and the part of its file that gives scores and boxes of all anchors."""
    detector = run.load()
    assert isinstance(detector, DenseDetector)
    model = onnx.load(exported.file)
    del model.graph.output[:]
    for name, columns in (("all_scores", 3), ("all_boxes", 4)):
        shape = ["batch", len(detector.anchors), columns]
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return detector, between(model, ["images"], RAW)


def opened(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def faults_of(detector: DenseDetector, model: onnx.ModelProto) -> list[str]:
    least = [0.2] * len(detector.classes)
    verifier = Verifier(detector, make_samples(detector, [])[:2], None, least, Tolerance(1e-4))
    verifier.check(Session(model), raw=RAW, detections=False)
    return verifier.agreement.faults


def test_the_file_finds_what_the_run_finds(run: Run, exported: Exported) -> None:
    """Of pictures of the input's own size, which are prepared as they are."""
    assert exported.file == run.folder / "model.onnx"
    session = opened(exported.file)
    pictures = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), np.uint8)
    pictures[:, 20:40, 20:50] = 255
    boxes, scores, labels, count = session.run(None, {"images": pictures})
    assert boxes.shape == (5, 100, 4)
    for row, expected in enumerate(run.load().predict(list(pictures))):
        found = int(count[row])
        assert found == len(expected.scores) > 0
        torch.testing.assert_close(torch.from_numpy(scores[row, :found]), expected.scores, atol=1e-4, rtol=0)
        torch.testing.assert_close(torch.from_numpy(boxes[row, :found]), expected.boxes, atol=0.05, rtol=0)
        assert labels[row, :found].tolist() == expected.labels.tolist()
        assert (labels[row, found:] == -1).all()
        assert not boxes[row, found:].any()
        assert not scores[row, found:].any()


def test_the_page_finds_what_the_run_finds(run: Run, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python, as it is printed."""
    monkeypatch.chdir(exported.file.parent)
    pixels = np.random.default_rng(2).integers(0, 256, (12, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((180, 240)).save("a.jpg")
    page = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    (expected,) = run.load().predict("a.jpg")
    assert len(expected.scores) > 3
    assert names["found"].boxes == pytest.approx(expected.boxes.numpy(), abs=0.05)
    assert names["found"].labels.tolist() == expected.labels.tolist()


def test_the_verification_says_what_it_compared(exported: Exported) -> None:
    first, second = exported.agreement.lines()
    assert first.startswith("10 pictures: scores differ by at most ")
    assert f"{exported.agreement.pairs} detections one to one" in second
    assert exported.agreement.pairs > 100
    assert 0 < exported.agreement.box_difference < 0.01


def test_the_file_says_what_a_prediction_needs(run: Run, exported: Exported) -> None:
    said = {item.key: json.loads(item.value) for item in onnx.load(exported.file).metadata_props}
    recipe = run.recipe
    assert said["classes"] == list(recipe.classes)
    assert said["input"]["height"] == said["input"]["width"] == 64
    assert said["input"]["resize"] == "squash"
    assert said["input"]["antialias"] is True
    assert said["normalization"]["mean"] == pytest.approx([255 * each for each in ONES])
    assert said["thresholds"] == dict.fromkeys(recipe.classes, 0.2)
    assert said["nms"]["vote"] == 0.05
    assert said["nms"]["maps"] == [64, 16, 4]
    assert said["recipe"] == json.loads(json.dumps(recipe.to_dict()))
    assert said["start"]["backbone"] == "tf_efficientnet_lite0"
    assert onnx.load(exported.file, load_external_data=False).opset_import[0].version == 18


def test_a_file_of_ours_is_replaced_and_others_are_not(run: Run, tmp_path: Path, exported: Exported) -> None:
    exporting.claim(exported.file)
    (tmp_path / "model.onnx").write_bytes(b"theirs")
    with pytest.raises(WriteError, match="didn't write it"):
        export_run(run.folder, tmp_path)


def test_the_name_of_a_file_is_no_folder(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"in which the file is model\.onnx, but got .*new\.onnx: --out .+"):
        export_run(run.folder, tmp_path / "new.onnx")
    assert not list(tmp_path.iterdir())


def test_the_raw_form_agrees(raw: tuple[DenseDetector, onnx.ModelProto]) -> None:
    assert faults_of(*raw) == []


def swap_mean(detector: DenseDetector) -> None:
    detector.get_buffer("_mean").copy_(detector.get_buffer("_mean").flip(1))


def swap_classes(detector: DenseDetector) -> None:
    scores = detector.scores
    detector.scores = lambda outputs: scores(outputs).flip(-1)  # type: ignore[method-assign]


def shift_anchors(detector: DenseDetector) -> None:
    detector.anchors.boxes.add_(0.1)


@pytest.mark.parametrize("change", [swap_mean, swap_classes, shift_anchors])
def test_a_file_of_another_detector_is_refused(
    raw: tuple[DenseDetector, onnx.ModelProto], change: Callable[[DenseDetector], None]
) -> None:
    detector, model = raw
    other = copy.deepcopy(detector)
    change(other)
    assert faults_of(other, model)


def test_a_file_without_one_map_is_refused(raw: tuple[DenseDetector, onnx.ModelProto]) -> None:
    detector, model = raw
    part = onnx.ModelProto()
    part.CopyFrom(model)
    kept = detector.anchors.levels[0].count
    for name in RAW:
        for node in part.graph.node:
            node.output[:] = [f"{name}_of_all" if output == name else output for output in node.output]
            node.input[:] = [f"{name}_of_all" if used == name else used for used in node.input]
        ends = [
            onnx.numpy_helper.from_array(np.array([end]), f"{name}_{end}_{kind}")
            for kind, end in enumerate((0, kept, 1))
        ]
        part.graph.initializer.extend(ends)
        part.graph.node.append(onnx.helper.make_node("Slice", [f"{name}_of_all", *(end.name for end in ends)], [name]))
    for output in part.graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = kept
    assert any("Expected scores of shape" in fault for fault in faults_of(detector, part))


def test_what_is_unfaithful_is_not_written(
    run: Run,
    tmp_path: Path,
    raw: tuple[DenseDetector, onnx.ModelProto],
    boxwright: Boxwright,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run with another mean gets the file of the first."""
    other = lively_run(tmp_path / "run", "lite320", mean=ONES[::-1])
    monkeypatch.setattr(models.OnnxModel, "make", lambda *_, **__: models.OnnxModel(raw[1]))
    monkeypatch.setattr(exporting, "_RAW_ALONE", RAW)
    outcome = boxwright("export", other.folder, "--nms", "runtime", "--out", tmp_path / "out")
    assert outcome.code == 1
    assert "isn't written" in outcome.out
    assert not (tmp_path / "out").exists()
    with pytest.raises(Unfaithful):
        export_run(other.folder, nms="runtime")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tiny-detector", {"nms_agnostic": True, "vote": 0.05, "max_detections": 5, "candidates_per": "class"}),
        ("retinanet", {"candidates_per": "map", "candidates": 50, "resize": "pad"}),
        ("unitbox", {"centerness": True, "resize": "shortest", "max_size": 192, "candidates": 300}),
        ("lite320", {"strides": (8, 16, 32, 64, 128), "image_size": 100, "resize": "pad"}),
    ],
)
def test_each_kind_of_detector(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    agreement = export_run(lively_run(tmp_path, name, **options).folder).agreement
    assert agreement.pairs > sum(agreement.excused.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_each_large_detector(tmp_path: Path, name: str) -> None:
    agreement = export_run(lively_run(tmp_path, name).folder, half=name == "ssd300").agreement
    assert agreement.pairs > sum(agreement.excused.values())


@pytest.mark.slow
def test_half_of_a_fixed_number_at_the_command_line(tmp_path: Path, boxwright: Boxwright) -> None:
    run = lively_run(tmp_path / "run", "tiny-detector")
    outcome = boxwright("export", run.folder, "--half", "--batch", 2, "--out", tmp_path / "out", "--score", 0.4)
    assert outcome.code == 0, outcome.err
    file = tmp_path / "out" / "model.onnx"
    assert f"the model is in {file}" in outcome.out
    assert file.stat().st_size < 0.6 * run.model_file.stat().st_size
    session = opened(file)
    assert session.get_inputs()[0].shape == [2, 64, 64, 3]
    scores = session.run(["scores"], {"images": np.full((2, 64, 64, 3), 128, np.uint8)})[0]
    assert not ((scores > 0) & (scores <= 0.4)).any()


@pytest.mark.slow
def test_scores_by_class(tmp_path: Path) -> None:
    least = [0.1, 0.5, 0.7]
    session = opened(export_run(lively_run(tmp_path, "tiny-detector").folder, score=least).file)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    _, scores, labels, count = session.run(None, {"images": pictures})
    for row, found in enumerate(count):
        assert (np.diff(scores[row]) <= 0).all()
        assert (scores[row, :found] > np.array(least)[labels[row, :found]]).all()


def test_without_antialias_of_one_class_of_any_name(tmp_path: Path) -> None:
    """Such a recipe's pixels are not whole numbers."""
    run = lively_run(tmp_path, "tiny-detector", antialias=False, classes=("Größe\n“é”",))
    file = export_run(run.folder, half=True).file
    assert opened(file).get_inputs()[0].type == "tensor(float)"
    (classes,) = (item.value for item in onnx.load(file).metadata_props if item.key == "classes")
    assert json.loads(classes) == ["Größe\n“é”"]


@pytest.mark.slow
def test_the_precision_on_a_data_set(tmp_path: Path, boxwright: Boxwright, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    make_digits(data, images={"train": 2, "val": 9}, size=64)
    run = lively_run(tmp_path / "run", "tiny-detector", classes=tuple("0123456789"))
    outcome = boxwright("export", run.folder, "--verify", data, "--out", out)
    assert outcome.code == 0, outcome.err
    assert re.search(r"AP on val \(9 images, .*\): run (0\.\d+), file \1, difference [+-]0\.0000", outcome.out)
    said = {item.key: json.loads(item.value) for item in onnx.load(out / "model.onnx").metadata_props}
    low, high = said["figures"]["intervals"]["AP"]
    assert low <= said["figures"]["AP"] <= high
    assert said["figures"]["images"] == 9
    monkeypatch.setattr(exporting, "_AP", -1)
    outcome = boxwright("export", run.folder, "--verify", data, "--out", tmp_path / "other")
    assert outcome.code == 1
    assert "isn't as good as the run" in outcome.out
    assert not (tmp_path / "other").exists()
    assert "no split" in boxwright("export", run.folder, "--verify", data, "--split", "summer", "--out", out).err


def test_where_the_start_came_from(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.keep(lively("tiny-detector"), origin="somebody", license="BSD-3-Clause")
    detector = run.load()
    start = describe(run, detector, [0.1] * 3, "graph")["start"]
    assert (start["origin"], start["license"]) == ("somebody", "BSD-3-Clause")
    taken = {"name": "a-start", "origin": "others", "license": "MIT", "taken": ["backbone"]}
    run.data_file.write_text(json.dumps({"origin": {"start": taken}}))
    assert taken.items() <= describe(run, detector, [0.1] * 3, "graph")["start"].items()


class Doubting(nn.Module):
    """What no graph can be made of."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + 1 if images.sum() > 0 else images


def test_a_network_that_torch_cannot_export() -> None:
    with pytest.raises(RecipeError, match=r"^torch can't export this network as ONNX: [^\n]{10,}$"):
        to_onnx(Doubting(), {"images": torch.zeros(2, 3)}, ("out",), dynamic=True)


def test_the_run_s_own_validation_images(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_digits(data, images={"train": 4, "val": 3}, size=64)
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    recipe = get_recipe("tiny-detector", classes=tuple("0123456789"))
    assert pictures_of(run, recipe) == []
    run.data_file.write_text(json.dumps({"origin": {"commands": [f"boxwright train '{data}' --seed 0"]}}))
    assert sorted(path.parent.name for path in pictures_of(run, recipe)) == ["val"] * 3
    assert pictures_of(run, recipe.replace(classes=("another",))) == []
    data.rename(tmp_path / "moved")
    assert pictures_of(run, recipe) == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tiny-detector", {"nms": "soft_gaussian"}, "there is no operator for nms=soft_gaussian: add --nms runtime"),
        ("tiny-detector", {"nms": "diou"}, "add --nms runtime"),
    ],
)
def test_what_cannot_be_exported(tmp_path: Path, name: str, options: dict[str, object], message: str) -> None:
    run = lively_run(tmp_path, name, **options)
    with pytest.raises(RecipeError, match=message):
        export_run(run.folder)
    assert not (tmp_path / "model.onnx").exists()


def test_arguments(tmp_path: Path, boxwright: Boxwright, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no run or model" in boxwright("export", tmp_path / "none").err
    assert "Expected graph or runtime" in boxwright("export", tmp_path, "--nms", "both").err
    assert "Expected dynamic or 1 to 9999" in boxwright("export", tmp_path, "--batch", 0).err
    assert "Expected onnx or openvino or torch" in boxwright("export", tmp_path, "--format", "tflite").err
    monkeypatch.setattr("boxwright.cli.export.find_spec", lambda name: None)
    assert "pip install 'boxwright[export]'" in boxwright("export", tmp_path).err


class Dot(nn.Module):
    """Multiplies rows by a vector."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ torch.arange(5.0)


def test_a_vector_is_multiplied_as_a_column() -> None:
    """In onnxruntime a vector takes five times as long."""
    x = torch.rand(2, 3, 5)
    model = to_onnx(Dot(), {"x": x}, ("y",), dynamic=True)
    assert "Squeeze" in [node.op_type for node in model.graph.node]
    np.testing.assert_allclose(Session(model)({"x": x.numpy()})["y"], x @ torch.arange(5.0), atol=1e-5)

"""Networks in int8: which layers, at what loss, and what is written of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from export_runs import found_by, lively_run
from onnx import TensorProto, helper
from PIL import Image

from boxwright.errors import DataError, RecipeError
from boxwright.evaluate import MetricsTable
from boxwright.export import Exported, Unfaithful, export_run
from boxwright.export.exporting import FormName
from boxwright.export.measure import images_per_second
from boxwright.export.quantize import Layers, Network, Trial, search
from boxwright.runs import Run
from command_line import Boxwright

NETWORK = Network(tuple("abcdefghijkl"), ("k", "l"))


pytestmark = pytest.mark.usefixtures("kept_graphs")


@pytest.fixture(scope="module")
def data(tiny: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose objects are what the run finds in them."""
    return found_by(tiny, tmp_path_factory.mktemp("data"), {"train": 6, "val": 5})


@pytest.fixture(scope="module")
def exported(tiny: Run, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_run(tiny.folder, tmp_path_factory.mktemp("out"), int8=data, max_loss=0.5)


def costs(**parts: float) -> tuple[list[Layers], object]:
    """What was tried, and a network that loses so much AP for each of these layers that isn't in float."""
    asked: list[Layers] = []

    def attempt(floats: Layers) -> Trial:
        asked.append(floats)
        table = MetricsTable.__new__(MetricsTable)
        return Trial(floats, None, table, sum(cost for name, cost in parts.items() if name not in floats))

    return asked, attempt


def test_all_layers_where_that_costs_little() -> None:
    asked, attempt = costs(a=0.01)
    assert search(NETWORK, attempt, 0.01).floats == ()
    assert asked == [()]


def test_the_last_convolutions_first() -> None:
    asked, attempt = costs(a=0.01, k=0.1)
    assert search(NETWORK, attempt, 0.01).floats == ("k", "l")
    assert len(asked) == 2


def test_then_what_costs_most() -> None:
    """Ten more layers are eight stretches: two of two layers, six of one."""
    asked, attempt = costs(c=0.02, g=0.2, e=0.05, k=0.1)
    assert search(NETWORK, attempt, 0.03).floats == ("k", "l", "g", "e")
    assert len(asked) == 2 + 8 + 1
    assert search(NETWORK, attempt, 0.01).floats == ("k", "l", "g", "e", "c", "d")


def test_where_everything_costs_too_much() -> None:
    asked, attempt = costs(**dict.fromkeys("abcdefghijkl", 0.1))
    with pytest.raises(
        Unfaithful, match=r"^int8 loses 0\.100 of AP at least, with 11 of 12 layers in float: more than"
    ):
        search(NETWORK, attempt, 0.01)
    assert len(asked) == 2 + 8 + 6
    assert max(map(len, asked)) < len(NETWORK.layers)


def test_a_network_of_one_layer() -> None:
    _, attempt = costs(a=0.1)
    with pytest.raises(Unfaithful):
        search(Network(("a",), ("a",)), attempt, 0.01)


def test_what_lies_between_convolutions() -> None:
    """Of a chain with a fork: what comes before the first and after the last stays out, and so does what no integer
    does."""
    nodes = [
        ("Div", ["images"], "scaled"),
        ("Conv", ["scaled"], "first"),
        ("Relu", ["first"], "active"),
        ("Sigmoid", ["active"], "gate"),
        ("Add", ["active", "gate"], "sum"),
        ("Conv", ["sum"], "scores"),
        ("Conv", ["active"], "boxes"),
        ("Relu", ["scores"], "shown"),
    ]
    made = [helper.make_node(kind, inputs, [output], name=f"make_{output}") for kind, inputs, output in nodes]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("images", "shown", "boxes")]
    network = Network.of(helper.make_model(helper.make_graph(made, "graph", ends[:1], ends[1:])))
    assert network.layers == ("make_first", "make_active", "make_sum", "make_scores", "make_boxes")
    assert network.last == ("make_scores", "make_boxes")


def test_speed_is_of_images_and_takes_turns() -> None:
    order = []
    models = [lambda given, name=name: order.append(name) or sum(range(20_000 * name)) for name in (1, 8)]
    slow, fast = images_per_second(models[::-1], [{"images": np.zeros((3, 1, 1, 3), np.uint8)}])
    assert fast > 3 * slow
    assert order[2:6] == [8, 1, 8, 1]


def test_the_file_computes_in_int8(tiny: Run, exported: Exported) -> None:
    model = onnx.load(exported.file)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") > 3
    weights = [each for each in model.graph.initializer if each.data_type == TensorProto.INT8 and len(each.dims) == 4]
    scales = {each.name: each for each in model.graph.initializer}
    read = {node.input[0]: scales[node.input[1]] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert len(weights) > 3
    assert all(list(read[each.name].dims) == [each.dims[0]] for each in weights)  # by channel
    assert exported.file.stat().st_size < 0.6 * tiny.model_file.stat().st_size


def test_the_file_finds_nearly_what_the_run_finds(tiny: Run, data: Path, exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    files = sorted((data / "images" / "val").iterdir())
    boxes, scores, labels, count = session.run(None, {"images": np.stack([np.array(Image.open(f)) for f in files])})
    near = 0
    for row, expected in enumerate(tiny.load().predict(files)):
        best = 0 if not count[row] else int(labels[row, 0])
        near += best == int(expected.labels[0])
        assert (np.diff(scores[row]) <= 0).all()
    assert near >= 3
    assert boxes.shape == (len(files), 100, 4)


def test_what_it_costs_is_said(tiny: Run, data: Path, exported: Exported) -> None:
    told = exported.int8
    assert told is not None
    assert told.agreement.pairs > 50
    assert told.before > 0.9
    assert told.after == pytest.approx(told.before + told.difference.value)
    assert told.before - told.after <= 0.5
    assert (told.calibrated, told.images, told.floats) == (6, 5, ())
    ap, size, layers = told.lines()
    assert ap.startswith(f"int8: AP {told.before:.4f} becomes {told.after:.4f} on 5 images: ")
    assert "95 % interval" in ap
    assert "images a second of one core" in size
    assert layers == "int8: no layer stays in float; calibrated on 6 images"
    said = {item.key: json.loads(item.value) for item in onnx.load(exported.file).metadata_props}
    assert said["int8"]["AP"]["int8"] == told.after
    assert said["classes"] == list(tiny.recipe.classes)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_two_stages(form: FormName, tmp_path: Path) -> None:
    """Each file has the detections of its own regions; other regions may be chosen in int8."""
    run = lively_run(tmp_path / "run", "faster-rcnn")
    data = found_by(run, tmp_path / "data", {"train": 3, "val": 3}, score=0.2)
    told = export_run(run.folder, tmp_path / "out", form=form, int8=data, max_loss=1).int8
    assert told is not None
    assert (told.agreement.faults, told.floats) == ([], ())
    assert told.agreement.pairs > 20
    assert told.sizes[1] < 0.6 * told.sizes[0]


@pytest.mark.slow
def test_what_loses_too_much_is_not_written(
    tiny: Run, data: Path, tmp_path: Path, boxwright: Boxwright, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boxwright.export.quantize._STRETCHES", 2)
    monkeypatch.setattr(Trial, "loss", 0.5)
    outcome = boxwright("export", tiny.folder, "--int8", data, "--out", tmp_path / "out", "--max-loss", 0.1)
    assert outcome.code == 1
    assert "int8 loses 0.500 of AP at least" in outcome.out
    assert "layers in int8: AP " in outcome.out
    assert not (tmp_path / "out").exists()


def test_arguments(tiny: Run, data: Path, tmp_path: Path, boxwright: Boxwright) -> None:
    assert "no such folder" in boxwright("export", tiny.folder, "--int8", tmp_path / "none").err
    assert "Expected 0 to 1" in boxwright("export", tiny.folder, "--int8", data, "--max-loss", 2).err
    with pytest.raises(RecipeError, match="half and int8"):
        export_run(tiny.folder, int8=data, half=True)
    with pytest.raises(RecipeError, match="for onnx and openvino, not for torch"):
        export_run(tiny.folder, form="torch", int8=data)
    only = found_by(tiny, tmp_path / "only", {"train": 1})
    with pytest.raises(DataError, match="val"):
        export_run(tiny.folder, int8=only)

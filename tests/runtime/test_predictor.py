"""Model files predict as the runs that they were made of, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from export_runs import lively_run
from PIL import Image
from torch.nn import functional as F

from boxwright.data.inputs import resize_bilinear
from boxwright.errors import DataError, RecipeError
from boxwright.export import export_run
from boxwright.models import Detector
from boxwright.runs import Run
from boxwright.runtime import Detections, Predictor
from command_line import Boxwright

SIZES = ((60, 80), (64, 64), (200, 90), (33, 47), (120, 160))


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        np.kron(rng.integers(0, 256, (h // 10 + 1, w // 10 + 1, 3)), np.ones((10, 10, 1))).astype(np.uint8)[:h, :w]
        for h, w in SIZES
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return lively_run(tmp_path_factory.mktemp("runs") / "lite", "lite320", vote=0.05)


@pytest.fixture(scope="module")
def detector(run: Run) -> Detector:
    return run.load()


@pytest.fixture(scope="module")
def whole(run: Run) -> Path:
    return export_run(run.folder, run.folder / "out").file


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, pixels in enumerate(pictures()):
        exif = Image.Exif()
        exif[0x0112] = number + 4  # turned, each another way
        Image.fromarray(pixels).save(folder / f"{number}.png", exif=exif)
    return folder


def same(found: Sequence[Detections], expected: Sequence[object]) -> None:
    assert sum(len(each.scores) for each in found)
    for own, other in zip(found, expected, strict=True):
        for values, theirs in zip(own, other, strict=True):  # type: ignore[call-overload]
            np.testing.assert_allclose(values, theirs.numpy(), atol=0.01)


def test_a_file_finds_what_the_run_finds(whole: Path, detector: Detector, photos: Path) -> None:
    predictor, files = Predictor(whole), sorted(photos.iterdir())
    assert predictor.classes == detector.classes
    same(predictor(files), detector.predict(files))
    same(predictor(pictures(), batch=2), detector.predict(pictures()))
    same(predictor(files[0]), detector.predict(files[0]))


@pytest.mark.parametrize("score", [0.5, 0.01, (0.3, 0.1, 0.6)])
@pytest.mark.parametrize("nms", [None, "diou", "soft_gaussian"])
def test_scores_and_kinds_that_the_file_was_not_made_for(
    whole: Path, detector: Detector, score: float | Sequence[float], nms: str | None
) -> None:
    same(Predictor(whole)(pictures(), score, nms), detector.predict(pictures(), score, nms))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_batch_that_is_fixed(run: Run, detector: Detector, tmp_path: Path) -> None:
    file = export_run(run.folder, tmp_path, batch=2, nms="runtime").file
    same(Predictor(file)(pictures()), detector.predict(pictures()))


@pytest.mark.slow
def test_inputs_of_any_size(tmp_path: Path) -> None:
    options = {"resize": "shortest", "max_size": 160, "antialias": False, "candidates_per": "map", "candidates": 20}
    run = lively_run(tmp_path / "run", "retinanet", **options)
    predictor = Predictor(export_run(run.folder, tmp_path).file)
    same(predictor(pictures()), run.load().predict(pictures()))
    same(predictor(pictures(), 0.05), run.load().predict(pictures(), 0.05))


@pytest.mark.slow
def test_two_stages(tmp_path: Path) -> None:
    """By the graph's own selection, and from the raw values of the regions, with boxes by class."""
    run = lively_run(tmp_path / "run", "faster-rcnn")
    whole, raw = (Predictor(export_run(run.folder, tmp_path / nms, nms=nms).file) for nms in ("graph", "runtime"))
    expected = run.load().predict(pictures())
    same(whole(pictures()), expected)
    same(raw(pictures()), expected)
    same(whole(pictures(), 0.05, "soft_gaussian"), run.load().predict(pictures(), 0.05, "soft_gaussian"))


@pytest.mark.parametrize("size", [(20, 30), (64, 64), (200, 90)])
def test_bilinear_is_that_of_torch(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 70, 3), np.uint8)
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    expected = F.interpolate(given, size=size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    np.testing.assert_allclose(resize_bilinear(pixels, size), expected.numpy(), atol=1e-3)


def test_what_is_no_model(whole: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no model at"):
        Predictor(tmp_path / "none.onnx")
    with pytest.raises(RecipeError, match="is no model: expected"):
        Predictor(photos)
    (tmp_path / "torn.onnx").write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(RecipeError, match=r"torn\.onnx can't be used"):
        Predictor(tmp_path / "torn.onnx")
    (photos.parent / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="torn"):
        Predictor(whole)(photos.parent / "torn.png")
    with pytest.raises(ValueError, match="a score for each of 3 classes"):
        Predictor(whole)(pictures()[0], [0.1, 0.2])


WITHOUT = """
import sys
for name in ("torch", "msgspec", "yaml", "defusedxml", "rich", "typer", "onnx", "lightning"):
    sys.modules[name] = None
from boxwright.runtime import Predictor
found = Predictor(sys.argv[1])(sys.argv[2:], 0.05)
print(*sorted(name for name in sys.modules if name.startswith("boxwright")))
print([[part.tolist() for part in each] for each in found])
"""


def test_nothing_is_imported_but_what_the_distribution_has(whole: Path, detector: Detector, photos: Path) -> None:
    """Neither torch nor the other packages are there, and every module is listed in the distribution's file."""
    files = sorted(map(str, photos.iterdir()))
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(whole), *files], capture_output=True, text=True, check=True
    )
    modules, found = ran.stdout.splitlines()
    same([Detections(*map(np.array, each)) for each in json.loads(found)], detector.predict(files, 0.05))
    listed = (Path(__file__).parents[2] / "packaging/runtime/pyproject.toml").read_text()
    for name in modules.split():
        place = name.removeprefix("boxwright").removeprefix(".").replace(".", "/")
        if not place.startswith("runtime"):
            assert f'"{place}.py"' in listed or f'"{place}/__init__.py"'.replace('"/', '"') in listed, name


def test_predict_and_eval_take_a_file(whole: Path, run: Run, photos: Path, boxwright: Boxwright) -> None:
    ours, theirs = whole.parent / "model-onnx" / "predictions", run.folder / "predictions"
    boxwright("predict", whole, photos, "--score", "0.1", "--save-images")
    boxwright("predict", run.folder, photos, "--score", "0.1", "--save-images")
    found, expected = (json.loads((folder / "detections.json").read_text()) for folder in (ours, theirs))
    assert len(found) == len(expected) > 0
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose([*own["bbox"], own["score"]], [*other["bbox"], other["score"]], atol=0.01)
        assert (own["category"], own["file_name"]) == (other["category"], other["file_name"])
    assert (ours / "0.jpg").is_file()

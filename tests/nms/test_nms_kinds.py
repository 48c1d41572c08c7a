"""The kinds of NMS by name: alone, in a detector, and on the command line."""

import json
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import boxwright as bw
from boxwright.cli.app import app
from boxwright.errors import RecipeError
from boxwright.nms import NmsKind, batched_nms, cluster_soft_nms, soft_nms, suppress
from boxwright.recipes import Recipe, get_recipe
from boxwright.runs import Run
from boxwright.types import DenseOutputs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "nms.npz")
BOXES, SCORES, CLASSES = (torch.from_numpy(GOLDEN[key]) for key in ("boxes", "scores", "classes"))
KINDS = get_args(NmsKind)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    options = {"image_size": 96, "pretrained": False, "freeze": 0, "width": 32, "vote": 0.0, "max_detections": 1000}
    return bw.create_detector("lite320", 3, **options).eval()


@pytest.fixture(scope="module")
def outputs(detector):
    """One box of class 0, a lesser one that overlaps it by 0.7, and a lesser one in its place of class 1."""
    anchors = detector.anchors.boxes
    boxes = torch.tensor([[20.0, 30, 60, 70], [20, 30, 60, 58], [20, 30, 60, 70]])
    logits = torch.full((1, len(anchors), 3), -20.0)
    deltas = torch.zeros(1, len(anchors), 4 * 17)
    near = (anchors.view(-1, 2, 2).mean(1) - torch.tensor([40.0, 48])).norm(dim=1).argsort()[:3]
    for anchor, box, (label, logit) in zip(near, boxes, [(0, 3.0), (0, 2.0), (1, 1.0)], strict=True):
        deltas[0, anchor] = detector.coder.encode(anchors[anchor][None], box[None])[0]
        logits[0, anchor, label] = logit
    return DenseOutputs(logits, deltas)


@pytest.mark.parametrize("agnostic", [False, True])
def test_each_kind_is_its_function(agnostic):
    options = {"iou": 0.4, "agnostic": agnostic}
    for kind, expected in {
        "iou": batched_nms(BOXES, SCORES, CLASSES, **options),
        "diou": batched_nms(BOXES, SCORES, CLASSES, kind="diou", **options),
        "cluster_iou": batched_nms(BOXES, SCORES, CLASSES, **options),
        "soft_linear": soft_nms(BOXES, SCORES, CLASSES, "linear", min_score=0.1, **options),
        "soft_gaussian": soft_nms(BOXES, SCORES, CLASSES, "gaussian", min_score=0.1, **options),
        "cluster_soft": cluster_soft_nms(BOXES, SCORES, CLASSES, min_score=0.1, **options),
    }.items():
        kept, scores = suppress(BOXES, SCORES, CLASSES, kind=kind, min_score=0.1, **options)
        wanted = expected if isinstance(expected, tuple) else (expected, SCORES[expected])
        assert torch.equal(kept, wanted[0])
        assert torch.equal(scores, wanted[1])


def test_a_recipe_has_every_kind_and_another_name_tells_them():
    assert get_args(get_type_hints(Recipe)["nms"]) == KINDS
    with pytest.raises(RecipeError, match=", ".join(KINDS)):
        get_recipe("lite320", nms="hard")
    with pytest.raises(ValueError, match=r"Expected an NMS kind out of .*'cluster_soft'.* but got 'hard'"):
        suppress(BOXES, SCORES, CLASSES, kind="hard")


def test_hard_kinds_drop_and_soft_ones_lower(detector, outputs):
    first, second, third = torch.tensor([3.0, 2, 1]).sigmoid().tolist()
    for kind in KINDS:
        found = detector.detect(outputs, score=0.05, nms=kind)[0]
        assert found.scores[0].item() == pytest.approx(first)
        others = found.scores[found.labels == 1].tolist()
        assert others == pytest.approx([third])  # alone in its class
        lowered = found.scores[found.labels == 0].tolist()[1:]
        if kind in ("iou", "diou", "cluster_iou"):
            assert lowered == []
        else:
            assert len(lowered) == 1
            assert lowered[0] < 0.5 * second
        assert (found.scores.diff() <= 0).all()


def test_what_falls_to_the_least_score_goes(detector, outputs):
    for kind in ("soft_linear", "soft_gaussian", "cluster_soft"):
        assert len(detector.detect(outputs, score=0.4, nms=kind)[0].scores) == 2
        assert len(detector.detect(outputs, score=0.05, nms=kind)[0].scores) == 3


def test_class_agnostic(detector, outputs):
    before = detector.recipe
    try:
        detector.recipe = before.replace(nms_agnostic=True)
        assert detector.detect(outputs, score=0.05)[0].labels.tolist() == [0]
    finally:
        detector.recipe = before
    assert detector.detect(outputs, score=0.05)[0].labels.tolist() == [0, 1]


def test_commands_take_any_kind_without_a_training(detector, tmp_path):
    run, image = tmp_path / "run", tmp_path / "a.png"
    detector.recipe = detector.recipe.replace(classes=("a", "b", "c"))
    Run(run).keep(detector)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)).save(image)

    def predict(*options):
        result = CliRunner().invoke(app, ["predict", str(run), str(image), "--score", "0", *options])
        assert result.exit_code == 0, result.output
        return len(json.loads((run / "predictions" / "detections.json").read_text()))

    hard = predict()
    assert predict("--nms", "cluster_iou", "--nms-per-class") == hard
    assert predict("--nms-agnostic") < hard
    assert predict("--nms", "soft_gaussian") > hard
    text = " ".join(CliRunner().invoke(app, ["predict", "--help"], env={"COLUMNS": "200"}).output.split())
    assert all(kind in text for kind in KINDS)

"""Soft-NMS and the score penalty of cluster-NMS. Golden results: Soft-NMS in plain loops, and effdet's by class."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.boxes import box_iou
from boxwright.nms import batched_nms, cluster_soft_nms, soft_nms

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "nms.npz")
BOXES, SCORES, CLASSES = (torch.from_numpy(GOLDEN[key]) for key in ("boxes", "scores", "classes"))
ONE_CLASS = torch.zeros_like(CLASSES)
SETTINGS = [key.removesuffix("_idx") for key in GOLDEN if key.startswith("softnms_") and key.endswith("_idx")]


def plain_soft(boxes, scores, labels, decay, least):
    iou, left, taken = box_iou(boxes, boxes).tolist(), list(scores), []
    while True:
        open_ones = [i for i in range(len(left)) if i not in dict(taken) and left[i] > least]
        if not open_ones:
            return [i for i, _ in taken], [score for _, score in taken]
        best = max(open_ones, key=lambda i: left[i])  # the first of equal ones
        taken.append((best, left[best]))
        for i in open_ones:
            if labels[i] == labels[best]:
                left[i] *= decay(iou[best][i])


@pytest.mark.parametrize("setting", SETTINGS)
def test_golden(setting):
    _, method, sigma, threshold, least = setting.split("_")
    options = {"sigma": float(sigma[1:]), "iou": float(threshold[1:]), "min_score": float(least[1:])}
    kept, scores = soft_nms(BOXES, SCORES, ONE_CLASS, method, **options)
    assert kept.tolist() == GOLDEN[f"{setting}_idx"].tolist()
    np.testing.assert_allclose(scores.numpy(), GOLDEN[f"{setting}_score"], rtol=1e-12)
    kept, _ = soft_nms(BOXES, SCORES, CLASSES, method, agnostic=True, **options)
    assert kept.tolist() == GOLDEN[f"{setting}_idx"].tolist()


def test_golden_settings_are_there():
    assert len(SETTINGS) == 6


def test_golden_by_class():
    kept, scores = soft_nms(BOXES, SCORES, CLASSES, min_score=0.0)
    assert kept.tolist() == GOLDEN["effdet_batched_softnms_idx"].tolist()
    np.testing.assert_allclose(scores.numpy(), GOLDEN["effdet_batched_softnms_score"], atol=1e-6)


def test_the_best_is_looked_for_after_each_decay():
    # The second decays below the third, which is then taken before it and doesn't decay by it.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 7, 10, 17]])
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3)
    ab, ac, bc = 0.8, 3 / 17, 1 / 17
    third = 0.7 * math.exp(-(ac**2) / 0.5)
    second = 0.8 * math.exp(-(ab**2) / 0.5) * math.exp(-(bc**2) / 0.5)
    kept, decayed = soft_nms(boxes, scores, labels)
    assert kept.tolist() == [0, 2, 1]
    assert decayed.tolist() == pytest.approx([0.9, third, second])
    kept, decayed = soft_nms(boxes, scores, labels, "linear", iou=0.1)
    assert kept.tolist() == [0, 2, 1]
    assert decayed.tolist() == pytest.approx([0.9, 0.7 * (1 - ac), 0.8 * (1 - ab)])


def test_linear_leaves_an_overlap_at_the_threshold():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    _, decayed = soft_nms(boxes, torch.tensor([0.9, 0.8]), torch.zeros(2), "linear", iou=0.5)
    assert decayed.tolist() == pytest.approx([0.9, 0.8])


coordinates = st.tuples(*[st.integers(-4, 4)] * 2, *[st.integers(-1, 4)] * 2)  # sides below 0: inverted corners
candidates = st.lists(
    st.tuples(coordinates.map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]), st.integers(0, 5), st.integers(0, 1)),
    min_size=1,
    max_size=20,
)


@settings(deadline=None, max_examples=60)
@given(found=candidates, threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_linear_equals_plain_loops(found, threshold):
    boxes = torch.tensor([box for box, _, _ in found]).double()
    scores, labels = torch.tensor([s for _, s, _ in found]) / 5, torch.tensor([label for _, _, label in found])
    expected = plain_soft(
        boxes, scores.double().tolist(), labels.tolist(), lambda iou: 1 - iou if iou > threshold else 1.0, 0.01
    )
    kept, decayed = soft_nms(boxes, scores.double(), labels, "linear", iou=threshold, min_score=0.01)
    assert (kept.tolist(), decayed.tolist()) == expected


def crowd(count=400, classes=4):
    generator = torch.Generator().manual_seed(0)
    owner = torch.randint(20, (count,), generator=generator)
    centers = (torch.rand(20, 2, generator=generator) * 200 - 100)[owner]
    centers = centers + 8 * torch.randn(count, 2, generator=generator)
    sides = torch.exp(3.5 + 0.4 * torch.randn(count, 2, generator=generator))
    boxes = torch.cat([centers - sides / 2, centers + sides / 2], dim=1)
    return boxes.double(), torch.rand(count, generator=generator).double(), owner % classes


@pytest.mark.parametrize("classes", [1, 4])
def test_gaussian_equals_plain_loops(classes):
    boxes, scores, labels = crowd(classes=classes)
    expected, left = plain_soft(boxes, scores.tolist(), labels.tolist(), lambda iou: math.exp(-(iou**2) / 0.3), 0.001)
    kept, decayed = soft_nms(boxes, scores, labels, sigma=0.3)
    assert kept.tolist() == expected
    np.testing.assert_allclose(decayed.numpy(), left, rtol=1e-9)


def test_classes_do_not_act_on_one_another():
    boxes, scores, labels = crowd()
    together = dict(zip(*(t.tolist() for t in soft_nms(boxes, scores, labels)), strict=True))
    apart = {}
    for label in range(4):
        mine = (labels == label).nonzero().squeeze(1)
        kept, left = soft_nms(boxes[mine], scores[mine], labels[mine])
        apart |= dict(zip(mine[kept].tolist(), left.tolist(), strict=True))
    assert together.keys() == apart.keys()
    assert together == pytest.approx(apart, rel=1e-12)


def test_cluster_penalty_equals_plain_loops():
    boxes, scores, labels = crowd()
    iou, expected = box_iou(boxes, boxes).tolist(), scores.tolist()
    for kept in batched_nms(boxes, scores, labels, 0.4).tolist():
        for i in range(len(boxes)):
            if labels[i] == labels[kept] and scores[i] < scores[kept]:
                expected[i] *= math.exp(-(iou[kept][i] ** 2) / 0.2)
    order = sorted((i for i in range(len(boxes)) if expected[i] > 0.01), key=lambda i: -expected[i])
    found, rescored = cluster_soft_nms(boxes, scores, labels, 0.4, min_score=0.01)
    assert found.tolist() == order
    np.testing.assert_allclose(rescored.numpy(), [expected[i] for i in order], rtol=1e-9)
    one = cluster_soft_nms(boxes, scores, torch.zeros_like(labels), 0.4)
    for got, wanted in zip(cluster_soft_nms(boxes, scores, labels, 0.4, agnostic=True), one, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("nms", [soft_nms, cluster_soft_nms])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_and_no_boxes(nms, dtype):
    boxes, scores = (BOXES * 4).to(dtype).requires_grad_(), SCORES.to(dtype).requires_grad_()
    kept, rescored = nms(boxes, scores, CLASSES)
    expected_kept, expected = nms(boxes.float(), scores.float(), CLASSES)
    assert rescored.dtype == torch.float32
    assert not rescored.requires_grad
    assert torch.equal(kept, expected_kept)
    assert torch.equal(rescored, expected)
    assert (rescored.diff() <= 0).all()
    kept, rescored = nms(boxes[:0], scores[:0], CLASSES[:0])
    assert kept.shape == rescored.shape == (0,)
    assert kept.dtype == torch.int64


def test_scores_given_stay_as_they_are():
    before = SCORES.clone()
    soft_nms(BOXES, SCORES, CLASSES)
    assert torch.equal(SCORES, before)


def test_errors():
    with pytest.raises(ValueError, match=r"Expected a soft NMS method out of .* but got 'cosine'"):
        soft_nms(BOXES, SCORES, CLASSES, "cosine")
    with pytest.raises(ValueError, match="Expected min_score to be at least 0 but got -1"):
        soft_nms(BOXES, SCORES, CLASSES, min_score=-1)
    for nms in (soft_nms, cluster_soft_nms):
        with pytest.raises(ValueError, match="Expected a sigma above 0 but got 0"):
            nms(BOXES, SCORES, CLASSES, sigma=0)
        with pytest.raises(ValueError, match=r"Expected an NMS threshold in 0\.\.1 but got 2"):
            nms(BOXES, SCORES, CLASSES, iou=2)

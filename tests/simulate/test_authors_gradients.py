"""The DIoU authors' own gradients, against a transcription of their code (tests/golden/simulate.npz, float64)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from boxwright import losses
from boxwright.boxes import convert_boxes
from boxwright.simulate.authors import AUTHORS, derivative

GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "simulate.npz"))


def columns(boxes: object) -> Tensor:
    return convert_boxes(torch.as_tensor(np.asarray(boxes, dtype=np.float64)), "xyxy", "cxcywh").T


PRED, TARGET = columns(GOLDEN["pred"]), columns(GOLDEN["target"])


@pytest.mark.parametrize("kind", ["iou", "diou", "ciou"])
def test_equal_to_the_published_code(kind: str) -> None:
    ours = -AUTHORS[f"authors_{kind}"](PRED, TARGET).T.numpy()  # there a step goes along it
    tolerance = 1e-5 if kind == "ciou" else 1e-12  # their alpha has 1e-7 in its denominator
    np.testing.assert_allclose(ours, GOLDEN[kind], rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize("kind", ["iou", "diou", "ciou"])
def test_autograd_has_the_derivative(kind: str) -> None:
    ours = -derivative(getattr(losses, f"{kind}_loss"))(PRED, TARGET).T.numpy()
    np.testing.assert_allclose(ours, GOLDEN[f"true_{kind}"], rtol=1e-6, atol=1e-9)


def test_overlapping_giou_is_the_derivative_with_the_sides_twofold() -> None:
    pred, target = torch.tensor([[0.0, 0, 2, 3]]), torch.tensor([[0.5, -1, 3, 2]])
    true = derivative(losses.giou_loss)(columns(pred), columns(target))[:, 0]
    authors = AUTHORS["authors_giou"](columns(pred), columns(target))[:, 0]
    torch.testing.assert_close(authors, true * torch.tensor([1, 1, 2, 2]))


def test_giou_pulls_on_nothing_beside_a_target_of_the_same_height() -> None:
    """There U = (w + w' + gap) h is C wherever the box lies, and U / C = 1 has no slope in x and w."""
    pred, target = columns([[5.0, 0, 7, 1]]), columns([[0.0, 0, 1, 1]])
    authors = AUTHORS["authors_giou"](pred, target)[:, 0]
    torch.testing.assert_close(authors[[0, 2]], torch.zeros(2, dtype=torch.float64))
    true = derivative(losses.giou_loss)(pred, target)[:, 0]
    assert true[0] > 0.05  # (C - U) / C = 4 / 7 without the sign: moves left

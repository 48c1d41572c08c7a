"""Class weights against the formulas, and against ESPNet's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from boxwright.losses import class_weights

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "losses.npz")


@pytest.mark.parametrize(
    ("scheme", "raw"),
    [
        ("inverse", [1.0, 4.0]),
        ("inverse_sqrt", [1.0, 2.0]),
        ("inverse_log", [1 / np.log(1.1 + 0.8), 1 / np.log(1.1 + 0.2)]),
        ("effective", [1 / (1 - 0.999**800), 1 / (1 - 0.999**200)]),
    ],
)
def test_closed_form(scheme, raw):
    weights = class_weights(torch.tensor([800, 0, 200]), scheme)
    wanted = np.array([raw[0], raw[1]]) / np.mean(raw)
    np.testing.assert_allclose(weights.numpy(), [wanted[0], 1, wanted[1]], rtol=1e-6)


def test_golden_inverse_log():
    counts = GOLDEN["cw_counts"]
    weights = class_weights(torch.from_numpy(counts), "inverse_log").double().numpy()
    occurs = counts > 0
    golden = GOLDEN["cw_inv_log_1.10"][occurs]
    np.testing.assert_allclose(weights[occurs], golden / golden.mean(), rtol=1e-6)
    assert (weights[~occurs] == 1).all()


def test_no_boxes_no_weights():
    assert class_weights(torch.zeros(3), "inverse").tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("counts", "scheme", "beta"), [([1, 2], "inverted", 0.9), ([-1, 2], "inverse", 0.9), ([1], "effective", 1.0)]
)
def test_wrong_values(counts, scheme, beta):
    with pytest.raises(ValueError, match="Expected"):
        class_weights(torch.tensor(counts), scheme, beta=beta)

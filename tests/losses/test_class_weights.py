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


def test_golden_raw_weights():
    """As ESPNet's and ERFNet's code has them, absent classes at 1 / ln 1.1 included, and CVNets' with 0 for these."""
    counts, golden = torch.from_numpy(GOLDEN["cw_counts"]), GOLDEN["cw_inv_log_1.10"]
    weights = class_weights(counts, "inverse_log", normalize=False)
    np.testing.assert_allclose(weights.numpy(), golden, rtol=1e-6)
    assert weights[counts == 0].tolist() == pytest.approx([1 / np.log(1.1)])
    cvnets = class_weights(counts, "inverse_log", normalize=False, absent=0)
    np.testing.assert_allclose(cvnets.numpy(), golden * (counts > 0).numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("scheme", "raw"),
    [
        ("inverse", [1.25, 0, 5]),
        ("inverse_sqrt", [1.25**0.5, 0, 5**0.5]),
        ("inverse_log", [1 / np.log(1.9), 1 / np.log(1.1), 1 / np.log(1.3)]),
        ("effective", [0.001 / (1 - 0.999**800), 0, 0.001 / (1 - 0.999**200)]),
    ],
)
def test_without_normalizing(scheme, raw):
    counts = torch.tensor([800, 0, 200])
    np.testing.assert_allclose(class_weights(counts, scheme, normalize=False).numpy(), raw, rtol=1e-5)
    for normalize in (True, False):
        given = class_weights(counts, scheme, normalize=normalize, absent=2.5)
        assert given[1] == 2.5
        assert torch.equal(given[[0, 2]], class_weights(counts, scheme, normalize=normalize)[[0, 2]])


def test_no_boxes_no_weights():
    assert class_weights(torch.zeros(3), "inverse").tolist() == [1, 1, 1]
    assert class_weights(torch.zeros(3), "inverse", normalize=False).tolist() == [0, 0, 0]
    assert class_weights(torch.zeros(2), "inverse_log", normalize=False).tolist() == pytest.approx([10.49206] * 2)


@pytest.mark.parametrize(
    ("counts", "scheme", "beta"), [([1, 2], "inverted", 0.9), ([-1, 2], "inverse", 0.9), ([1], "effective", 1.0)]
)
def test_wrong_values(counts, scheme, beta):
    with pytest.raises(ValueError, match="Expected"):
        class_weights(torch.tensor(counts), scheme, beta=beta)


@pytest.mark.parametrize("absent", [-1.0, float("inf"), float("nan")])
def test_wrong_weights_of_absent_classes(absent):
    with pytest.raises(ValueError, match="Expected a finite absent"):
        class_weights(torch.tensor([1, 2]), "inverse", absent=absent)

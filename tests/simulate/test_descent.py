"""The setting of the experiment, and its steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from boxwright.errors import RecipeError
from boxwright.simulate import simulate, trace
from boxwright.simulate.cases import CASES_A_CENTER, CENTERS, learning_rate, make_cases, make_centers
from boxwright.simulate.descent import LEAST_SIDE, descend, gradient_of

SQUARE = (10.0, 10.0, 1.0, 1.0)


def test_the_full_experiment_has_the_papers_cases() -> None:
    assert CENTERS * CASES_A_CENTER == 1_715_000
    anchors, targets = make_cases(make_centers(3, seed=0))
    assert anchors.shape == targets.shape == (4, 3 * 343)
    torch.testing.assert_close(targets[2] * targets[3], torch.ones(3 * 343))
    assert torch.unique((targets[2] / targets[3]).round(decimals=3)).tolist() == pytest.approx(
        [0.25, 0.333, 0.5, 1, 2, 3, 4]
    )
    areas = torch.unique((anchors[2] * anchors[3]).round(decimals=3)).tolist()
    assert areas == pytest.approx([0.5, 0.67, 0.75, 1, 1.33, 1.5, 2])
    shapes = torch.cat([anchors[2:], targets[2:]])[:, :343].round(decimals=4)
    assert torch.unique(shapes, dim=1).shape[1] == 343  # every anchor with every target
    assert (targets[:2] == 10).all()


def test_centers_are_uniform_in_the_disk() -> None:
    distance = (make_centers(20_000, seed=1) - 10).norm(dim=0)
    assert distance.max() <= 3 + 1e-5
    for radius in (1.0, 2.0):  # as many as the area has, within four standard deviations
        assert (distance < radius).float().mean() == pytest.approx(radius**2 / 9, abs=4 * 0.5 / 20_000**0.5)


def test_the_learning_rate_falls_at_160_and_180() -> None:
    assert [learning_rate(step) for step in (0, 159, 160, 179, 180, 199)] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_a_step_by_hand() -> None:
    """IoU of (2 wide, 1 high) around (1 x 1): 1 / 2; 1 - 1 / (w h) has slopes 1 / (w^2 h) = 1/4, 1/2 in w and h."""
    way = trace("iou", [(10, 10, 2, 1.001)], [SQUARE], steps=1)
    iou = 1 / (2 * 1.001)
    step = 0.1 * (2 - iou)
    expected = (10, 10, 2 - step / (2**2 * 1.001), 1.001 - step / (2 * 1.001**2))
    np.testing.assert_allclose(way[1, 0], expected, rtol=1e-12)


def test_a_side_stays_above_the_floor() -> None:
    gradient = lambda boxes, targets: torch.full_like(boxes, 10.0)  # noqa: E731
    start = torch.tensor(SQUARE)[:, None]
    boxes = [boxes for boxes, _ in descend(gradient, start, start, 3)][-1]
    assert boxes[2:].flatten().tolist() == pytest.approx([LEAST_SIDE, LEAST_SIDE])


def test_sums_are_those_of_every_case() -> None:
    """Center by center and case by case, in float64."""
    found = simulate(["giou"], centers=2, steps=5, seed=3)
    anchors, targets = make_cases(make_centers(2, seed=3))
    way = trace("giou", anchors.T, targets.T, steps=5)
    off = np.abs(way - targets.T.numpy())
    regression = found.losses["giou"]
    np.testing.assert_allclose(regression.errors, off.sum(1), rtol=1e-4)
    np.testing.assert_allclose(regression.error, off.sum((1, 2)), rtol=1e-4)
    np.testing.assert_allclose(regression.final, off[-1].sum(1).reshape(2, 343).mean(1), rtol=1e-4)
    assert found.cases == 686
    assert regression.floored == 0


def test_no_chunk_is_left_out() -> None:
    """50 centers are two chunks: together they give what they give one by one."""
    told: list[tuple[int, int]] = []
    found = simulate(["diou"], centers=50, steps=2, advance=lambda done, total: told.append((done, total)))
    places = make_centers(50, seed=0)
    for i in (0, 47, 48, 49):
        anchors, targets = make_cases(places[:, [i]])
        off = np.abs(trace("diou", anchors.T, targets.T, steps=2)[-1] - targets.T.numpy())
        assert found.losses["diou"].final[i] == pytest.approx(off.sum(1).mean(), rel=1e-4)
    assert told == [(48, 50), (50, 50)]


def test_repeats_itself_and_follows_the_seed() -> None:
    first, again, other = (simulate(["ciou"], centers=1, steps=3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.losses["ciou"].errors, again.losses["ciou"].errors)
    assert (first.centers != other.centers).all()


def test_options_of_a_recipe_reach_the_loss() -> None:
    way = trace("ciou:variant=tpami", [(12, 12, 2, 1)], [SQUARE], steps=1)
    np.testing.assert_array_equal(way, trace("diou", [(12, 12, 2, 1)], [SQUARE], steps=1))  # alpha = 0: no overlap
    assert (way != trace("ciou", [(12, 12, 2, 1)], [SQUARE], steps=1)).any()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ciuo", "did you mean 'ciou'"),
        ("authors_gio", "did you mean 'authors_giou'"),
        ("ciou:varaint=tpami", "did you mean 'variant'"),
        ("ciou:variant=tpani", "tpani"),
        ("smooth_l1", "compares deltas"),
        ("mpdiou", "image_size"),
        ("alpha_iou:alpha=x", "alpha"),
    ],
)
def test_what_cannot_be_simulated(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        gradient_of(name)


def test_nothing_to_simulate() -> None:
    with pytest.raises(RecipeError, match="at least one loss"):
        simulate([])
    with pytest.raises(ValueError, match="at least one center"):
        simulate(["iou"], centers=0)

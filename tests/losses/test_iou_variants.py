"""The later overlap losses: golden numbers where a reference exists, else the paper's formula with plain numbers."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from box_cases import GOLDEN, assert_golden, overlapping_pairs, value_and_gradient

from boxwright import losses
from boxwright.catalog import built_in
from boxwright.choices import resolve_choice
from boxwright.errors import RecipeError
from boxwright.parts import part_info

KINDS = ("iou", "giou", "diou", "ciou")
IMAGE = (300, 400)


def iou_of(p, t):
    width = min(p[2], t[2]) - max(p[0], t[0])
    height = min(p[3], t[3]) - max(p[1], t[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((p[2] - p[0]) * (p[3] - p[1]) + (t[2] - t[0]) * (t[3] - t[1]) - shared)


def squared_diagonal(p, t):
    return (max(p[2], t[2]) - min(p[0], t[0])) ** 2 + (max(p[3], t[3]) - min(p[1], t[1])) ** 2


def wiou_of(p, t, diagonal):
    rho2 = ((p[0] + p[2] - t[0] - t[2]) / 2) ** 2 + ((p[1] + p[3] - t[1] - t[3]) / 2) ** 2
    return math.exp(rho2 / diagonal) * (1 - iou_of(p, t))


def mpdiou_of(p, t):
    upper_left = (p[0] - t[0]) ** 2 + (p[1] - t[1]) ** 2
    lower_right = (p[2] - t[2]) ** 2 + (p[3] - t[3]) ** 2
    squared = IMAGE[0] ** 2 + IMAGE[1] ** 2
    return 1 - (iou_of(p, t) - upper_left / squared - lower_right / squared)


def inner_iou_of(p, t, ratio):
    def inner(b):
        x, y, w, h = (b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]
        return [x - w * ratio / 2, y - h * ratio / 2, x + w * ratio / 2, y + h * ratio / 2]

    return iou_of(inner(p), inner(t))


def each(formula, pred, target):
    return [formula(p, t) for p, t in zip(pred.tolist(), target.tolist(), strict=True)]


def golden_pairs():
    return torch.from_numpy(GOLDEN["pred"]), torch.from_numpy(GOLDEN["target"])


@pytest.mark.parametrize(
    ("key", "loss"),
    [
        ("spec_eiou", losses.eiou_loss),
        ("spec_focal_eiou_detached", losses.focal_eiou_loss),
        ("spec_siou", losses.siou_loss),
        *((f"spec_alpha3_{kind}", partial(losses.alpha_iou_loss, kind=kind)) for kind in KINDS),
        *((f"spec_alpha2_{kind}", partial(losses.alpha_iou_loss, alpha=2.0, kind=kind)) for kind in KINDS),
    ],
)
def test_equals_the_papers(key, loss):
    assert_golden(loss, key)


def test_attached_focal_eiou_equals_the_paper_and_is_finite_where_that_is_not():
    loss = partial(losses.focal_eiou_loss, detach=False)
    value, grad = value_and_gradient(loss, GOLDEN["pred"], GOLDEN["target"])
    np.testing.assert_allclose(value.numpy(), GOLDEN["L_spec_focal_eiou"], rtol=1e-9, atol=1e-9)
    wanted = GOLDEN["G_spec_focal_eiou"]
    defined = np.isfinite(wanted).all(1)
    smooth = GOLDEN["smooth"] & defined
    np.testing.assert_allclose(grad.numpy()[smooth], wanted[smooth], rtol=1e-6, atol=1e-9)
    assert not defined.all()
    assert not grad.numpy()[~defined].any()
    detached = GOLDEN["G_spec_focal_eiou_detached"]
    assert np.abs(wanted - detached)[smooth].max() > 1e-3


def test_siou_equals_the_reference_with_the_papers_sign():
    value, _ = value_and_gradient(losses.siou_loss, GOLDEN["pred"], GOLDEN["target"])
    names = GOLDEN["kind_names"].tolist()
    pixels = ~np.isin(GOLDEN["kind"], [names.index("tiny_unit"), names.index("thin")])
    reference = GOLDEN["L_mm_siou_neggamma"]
    np.testing.assert_allclose(value.numpy()[pixels], reference[pixels], atol=1e-6)


def test_efficient_iou_is_not_extended_iou():
    identical = GOLDEN["kind"] == GOLDEN["kind_names"].tolist().index("identical")
    value, _ = value_and_gradient(losses.eiou_loss, GOLDEN["pred"], GOLDEN["target"])
    assert np.abs(value.numpy()[identical]).max() < 1e-12
    assert np.abs(value.numpy() - GOLDEN["L_mm_eiou_EXTENDED"]).max() > 0.1


def test_focal_weight_favors_good_boxes_and_normalizes_the_mean():
    target = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).expand(3, 4)
    pred = torch.tensor([[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 4.0], [20.0, 0.0, 30.0, 10.0]])
    plain, focal = losses.eiou_loss(pred, target), losses.focal_eiou_loss(pred, target)
    weight = torch.tensor([0.9, 0.4, 0.0]).sqrt()
    torch.testing.assert_close(focal, weight * plain)
    mean = losses.focal_eiou_loss(pred, target, reduction="mean")
    torch.testing.assert_close(mean, (weight * plain).sum() / weight.sum())
    torch.testing.assert_close(losses.focal_eiou_loss(pred, target, gamma=0.0), plain)
    twice = losses.focal_eiou_loss(pred, target, gamma=2.0)
    torch.testing.assert_close(twice, torch.tensor([0.81, 0.16, 0.0]) * plain)


@pytest.mark.parametrize("detach", [True, False])
def test_mean_of_focal_eiou_holds_its_divisor_constant(detach):
    pred, target = overlapping_pairs()
    loss = partial(losses.focal_eiou_loss, detach=detach)
    _, grad = value_and_gradient(partial(loss, reduction="mean"), pred, target)
    _, summed = value_and_gradient(loss, pred, target)
    torch.testing.assert_close(grad, summed / (1 - losses.iou_loss(pred, target)).sqrt().sum())
    value, grad = value_and_gradient(partial(loss, reduction="mean"), pred, target + 100)
    assert value == 0
    assert not grad.any()


def test_attached_weight_of_a_vanishing_overlap_is_zero_with_a_finite_slope():
    target = torch.tensor([[0.0, 0.0, 10.0, 10.0]], dtype=torch.float64)
    loss = partial(losses.focal_eiou_loss, gamma=0.01, detach=False)
    for overlap in (0.0, 1e-14):
        value, grad = value_and_gradient(loss, target + torch.tensor([10.0, 0.0, 10.0, 0.0]) - overlap, target)
        assert value == 0
        assert not grad.any()


def test_attached_weight_rewards_less_overlap_where_there_is_little():
    target = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).expand(2, 4)
    pred = torch.tensor([[0.0, 0.0, 10.0, 2.0], [0.0, 0.0, 10.0, 9.0]])
    _, attached = value_and_gradient(partial(losses.focal_eiou_loss, detach=False), pred, target)
    _, detached = value_and_gradient(losses.focal_eiou_loss, pred, target)
    assert attached[0, 3] > 0 > attached[1, 3]
    assert (detached[:, 3] < 0).all()


def test_siou_angle():
    """Straight and diagonal ways of one length: the angle shortens the exponent from 2 to 1."""
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    straight = losses.siou_loss(unit, unit + torch.tensor([3.0, 0.0, 3.0, 0.0]))
    diagonal = losses.siou_loss(unit, unit + 3)
    assert straight.item() == pytest.approx(1 + (1 - math.exp(-2 * 9 / 16)) / 2)
    assert diagonal.item() == pytest.approx(1 + (1 - math.exp(-9 / 16)))


@pytest.mark.parametrize("theta", [1.0, 2.0, 6.0])
def test_siou_shape(theta):
    pred = torch.tensor([[-1.0, -2.0, 1.0, 2.0]], dtype=torch.float64)
    target = torch.tensor([[-2.0, -2.0, 2.0, 2.0]], dtype=torch.float64)
    value = losses.siou_loss(pred, target, theta=theta).item()
    assert value == pytest.approx(0.5 + (1 - math.exp(-0.5)) ** theta / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_one_is_the_plain_loss(kind):
    plain = value_and_gradient(getattr(losses, f"{kind}_loss"), *golden_pairs())
    power = value_and_gradient(partial(losses.alpha_iou_loss, alpha=1.0, kind=kind), *golden_pairs())
    for ours, theirs in zip(power, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_alpha_raises_the_distance_as_a_whole():
    pred = torch.tensor([[0.0, 0.0, 2.0, 2.0]], dtype=torch.float64)
    target = torch.tensor([[1.0, 3.0, 3.0, 5.0]], dtype=torch.float64)
    value = losses.alpha_iou_loss(pred, target, alpha=2.0, kind="diou").item()
    assert value == pytest.approx(1 + (10 / 34) ** 2)


def test_wiou_equals_the_paper():
    pred, target = golden_pairs()
    value = losses.wiou_loss(pred, target).tolist()
    wanted = each(lambda p, t: wiou_of(p, t, squared_diagonal(p, t)), pred, target)
    assert value == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_the_diagonal_of_wiou_is_constant_in_the_gradient():
    pred, target = overlapping_pairs()
    _, grad = value_and_gradient(losses.wiou_loss, pred, target)

    def slope(p, t, side, held):
        up, down = list(p), list(p)
        up[side] += 1e-6
        down[side] -= 1e-6
        high, low = (wiou_of(b, t, squared_diagonal(p if held else b, t)) for b in (up, down))
        return (high - low) / 2e-6

    for side in range(4):
        held = each(partial(slope, side=side, held=True), pred, target)
        assert grad[:, side].tolist() == pytest.approx(held, abs=1e-8)
    followed = each(partial(slope, side=0, held=False), pred, target)
    assert grad[:, 0].tolist() != pytest.approx(followed, abs=1e-4)


def test_mpdiou_equals_the_paper():
    pred, target = golden_pairs()
    value = losses.mpdiou_loss(pred, target, IMAGE).tolist()
    assert value == pytest.approx(each(mpdiou_of, pred, target), rel=1e-9, abs=1e-9)


def test_mpdiou_depends_on_the_image_and_is_invariant_with_it():
    pred, target = overlapping_pairs()
    value = losses.mpdiou_loss(pred, target, IMAGE)
    torch.testing.assert_close(losses.mpdiou_loss(pred, target, IMAGE[::-1]), value)
    torch.testing.assert_close(losses.mpdiou_loss(pred * 3, target * 3, (900, 1200)), value)
    assert (losses.mpdiou_loss(pred * 3, target * 3, IMAGE) > value).all()
    torch.testing.assert_close(losses.mpdiou_loss(pred, target, 320), losses.mpdiou_loss(pred, target, [320, 320]))
    for size in (None, 0, (300,), (300, 0), (300, 300, 3)):
        with pytest.raises(ValueError, match=r"Expected image_size as \(H, W\) or a side, in pixels, but got"):
            losses.mpdiou_loss(pred, target, size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.5, 0.75, 1.0, 1.5])
def test_inner_iou_equals_the_paper(ratio, kind):
    pred, target = golden_pairs()
    value = losses.inner_iou_loss(pred, target, ratio=ratio, kind=kind)
    inner = torch.tensor(each(partial(inner_iou_of, ratio=ratio), pred, target), dtype=torch.float64)
    plain = getattr(losses, f"{kind}_loss")(pred, target)
    torch.testing.assert_close(value, plain + (1 - losses.iou_loss(pred, target)) - inner, rtol=1e-9, atol=1e-9)


def test_inner_iou_is_steeper_on_good_boxes_and_reaches_farther_when_enlarged():
    target = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    near, apart = target + torch.tensor([0.5, 0.0, 0.5, 0.0]), target + torch.tensor([11.0, 0.0, 11.0, 0.0])

    def pull(ratio, pred):
        _, grad = value_and_gradient(partial(losses.inner_iou_loss, ratio=ratio), pred, target)
        return grad[0, [0, 2]].sum().item()

    assert pull(0.75, near) > pull(1.0, near) > pull(1.5, near) > 0
    assert pull(1.0, apart) == 0
    assert pull(1.5, apart) > 0


def test_options_are_checked():
    pair = torch.zeros(1, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    with pytest.raises(ValueError, match="Expected gamma >= 0 but got -1"):
        losses.focal_eiou_loss(*pair, gamma=-1)
    with pytest.raises(ValueError, match="Expected theta >= 1 but got 0"):
        losses.siou_loss(*pair, theta=0)
    with pytest.raises(ValueError, match="Expected alpha > 0 but got 0"):
        losses.alpha_iou_loss(*pair, alpha=0)
    with pytest.raises(ValueError, match="Expected ratio > 0 but got 0"):
        losses.inner_iou_loss(*pair, ratio=0)
    for loss in (losses.alpha_iou_loss, losses.inner_iou_loss):
        with pytest.raises(ValueError, match=r"Expected an overlap kind out of .* but got 'eiou'"):
            loss(*pair, kind="eiou")


def test_a_recipe_can_name_every_box_loss_and_bind_its_options():
    for name in built_in("box_loss"):
        assert resolve_choice("box_loss", name).func.__name__ == f"{name}_loss"
    comparing = {"boxes", "deltas"}
    assert {f"{name}_loss" for name in built_in("box_loss")} >= {
        name for name, kind in losses.available().items() if kind in comparing
    }
    pred, target = overlapping_pairs()
    chosen = resolve_choice("box_loss", "mpdiou:image_size=320")
    assert part_info(chosen).default_weight == 2
    torch.testing.assert_close(chosen(pred, target), losses.mpdiou_loss(pred, target, 320))
    chosen = resolve_choice("box_loss", "ciou:gradient=authors,variant=tpami")
    torch.testing.assert_close(chosen(pred, target), losses.ciou_loss(pred, target, variant="tpami"))
    chosen = resolve_choice("box_loss", "focal_eiou:detach=false,gamma=1")
    torch.testing.assert_close(chosen(pred, target), losses.focal_eiou_loss(pred, target, gamma=1, detach=False))
    with pytest.raises(RecipeError, match="has no option 'rate'; did you mean 'ratio'"):
        resolve_choice("box_loss", "inner_iou:rate=1")

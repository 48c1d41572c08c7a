"""Losses of sigmoid classifiers against golden numbers, closed forms and slow references."""

import math
from functools import partial

import pytest
import torch
from classification_golden import GOLDEN, any_logit, assert_golden, value_and_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from boxwright import losses
from boxwright.choices import resolve_choice
from boxwright.losses import _focal
from boxwright.parts import part_info

LABELS = GOLDEN["labels_bg_last"]  # 8 is background
ONE_HOT = functional.one_hot(LABELS, 9)[:, :8].double()
DENSE = GOLDEN["onehot"]  # of other labels
INDICES = torch.where(DENSE.any(1), DENSE.argmax(1), 8)
ALL = [
    losses.binary_cross_entropy,
    partial(losses.binary_cross_entropy, label_smoothing=0.1),
    losses.sigmoid_focal_loss,
    partial(losses.sigmoid_focal_loss, alpha="batch", gamma=1.5),
    partial(losses.sigmoid_focal_loss, alpha=None, gamma=0.0),
    partial(losses.sigmoid_focal_loss, gamma=0.3),
    losses.quality_focal_loss,
    losses.varifocal_loss,
    losses.ghm_loss,
]
FOCAL = [loss for loss in ALL if getattr(loss, "func", loss) is losses.sigmoid_focal_loss]


def name(loss):
    return f"{getattr(loss, 'func', loss).__name__} {getattr(loss, 'keywords', '')}"


def qualities():
    """Dense targets: the quality of each positive at its class."""
    return ONE_HOT * GOLDEN["quality"][:, None]


def reference_focal(logits, targets, alpha, gamma):
    """Element by element, as the paper writes it; for small logits."""
    found = torch.zeros_like(logits)
    for n, row in enumerate(logits.tolist()):
        for k, z in enumerate(row):
            p = 1 / (1 + math.exp(-z))
            if targets[n] == k:
                found[n, k] = -alpha[k] * (1 - p) ** gamma * math.log(p)
            elif targets[n] >= 0:
                found[n, k] = -(1 - alpha[k]) * p**gamma * math.log(1 - p)
    return found


def reference_ghm(logits, targets, bins):
    """Cross entropy over the number of elements with a similar error, bin by bin."""
    p = logits.sigmoid()
    place = ((p - targets).abs() * bins).floor().clamp(max=bins - 1)
    entropy = -(targets * p.log() + (1 - targets) * (1 - p).log())
    occupied = [place == b for b in range(bins) if (place == b).any()]
    return sum((entropy * here / here.sum()).sum() for here in occupied) / len(occupied)


def test_closed_forms():
    logits, positive, negative = torch.zeros(1, 1), torch.tensor([0]), torch.tensor([1])
    ln2 = math.log(2)
    assert losses.binary_cross_entropy(logits, positive).item() == pytest.approx(ln2)
    assert losses.sigmoid_focal_loss(logits, positive).item() == pytest.approx(0.25 * 0.25 * ln2)
    assert losses.sigmoid_focal_loss(logits, negative).item() == pytest.approx(0.75 * 0.25 * ln2)
    assert losses.varifocal_loss(logits, negative).item() == pytest.approx(0.75 * 0.25 * ln2)
    assert losses.varifocal_loss(logits, torch.tensor([[0.6]])).item() == pytest.approx(0.6 * ln2)
    assert losses.quality_focal_loss(logits, torch.tensor([[0.9]])).item() == pytest.approx(0.16 * ln2)
    assert losses.ghm_loss(logits.expand(5, 1), positive.expand(5)).sum().item() == pytest.approx(ln2)


@pytest.mark.parametrize("alpha", [0.25, None, 0.5])
@pytest.mark.parametrize("gamma", [2, 0, 1.5])
@pytest.mark.parametrize("targets", [INDICES, DENSE], ids=["indices", "dense"])
def test_focal_equals_torchvision(alpha, gamma, targets):
    key = f"tv_sigmoid_focal_a{-1 if alpha is None else alpha}_g{gamma}"
    loss = partial(losses.sigmoid_focal_loss, alpha=alpha, gamma=gamma)
    assert_golden(key, loss, targets, tolerance=1e-8)  # theirs takes softplus for linear from 20 on


@pytest.mark.parametrize(
    ("key", "labels", "tolerance"),
    [
        ("fv_sigmoid_focal_a0.25_g2", INDICES, 1e-6),  # computed in float32
        ("mm_FocalLoss_labels_bglast", LABELS, 1e-8),
        ("kornia_binary_focal_a0.25_g2", INDICES, 1e-8),
    ],
)
def test_focal_equals_fvcore_mmdet_and_kornia(key, labels, tolerance):
    assert_golden(key, losses.sigmoid_focal_loss, labels, tolerance=tolerance)


def test_focal_reductions_equal_torchvision():
    for reduction in ("sum", "mean"):
        value = losses.sigmoid_focal_loss(GOLDEN["logits"], INDICES, reduction=reduction)
        torch.testing.assert_close(value, GOLDEN[f"R_tv_sigmoid_focal_{reduction}"])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.7])
def test_focal_with_a_weight_for_each_class_equals_the_slow_form(gamma):
    logits, targets = torch.randn(12, 3, dtype=torch.float64) * 3, torch.randint(-1, 4, (12,))
    alpha = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    value = losses.sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    torch.testing.assert_close(value, reference_focal(logits, targets, alpha.tolist(), gamma))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_focal_without_weights_is_binary_cross_entropy(dtype):
    logits = torch.linspace(-60, 60, 240, dtype=dtype).reshape(80, 3)
    targets = torch.arange(80) % 5 - 1
    focal = value_and_gradient(partial(losses.sigmoid_focal_loss, alpha=None, gamma=0.0), logits, targets)
    entropy = value_and_gradient(losses.binary_cross_entropy, logits, targets)
    # torch forms small losses as differences of logits up to 60
    torch.testing.assert_close(focal, entropy, rtol=4 * torch.finfo(dtype).eps, atol=60 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("reduction", ["none", "rows", "sum", "mean"])
@pytest.mark.parametrize("loss", ALL, ids=name)
def test_indices_equal_dense_targets(loss, reduction):
    one = value_and_gradient(partial(loss, reduction=reduction), GOLDEN["logits"], LABELS)
    other = value_and_gradient(partial(loss, reduction=reduction), GOLDEN["logits"], ONE_HOT)
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rows", [1, 5, 7, 36])
@pytest.mark.parametrize("reduction", ["none", "rows", "sum"])
@pytest.mark.parametrize("soft", [False, True])
def test_blocks_do_not_change_focal_losses(monkeypatch, rows, reduction, soft):
    targets = LABELS.clone()
    targets[[4, 30]] = -1
    loss = partial(losses.sigmoid_focal_loss, alpha=GOLDEN["class_alpha"].clamp(max=1), reduction=reduction)
    if soft:
        targets, loss = GOLDEN["soft_target"], partial(losses.quality_focal_loss, beta=1.5, reduction=reduction)
    whole = value_and_gradient(loss, GOLDEN["logits"], targets)
    monkeypatch.setattr(_focal, "_FEW", 0)
    monkeypatch.setattr(_focal, "_BLOCK", rows * 8 + 3)
    torch.testing.assert_close(value_and_gradient(loss, GOLDEN["logits"], targets), whole, rtol=1e-12, atol=0)


def test_focal_without_counting_rows_is_the_same(monkeypatch):
    """On a device nothing is counted, and no block is cut."""
    targets = LABELS.clone()
    targets[[4, 30]] = -1
    for reduction in ("none", "rows"):
        loss = partial(losses.sigmoid_focal_loss, alpha=GOLDEN["class_alpha"].clamp(max=1), reduction=reduction)
        near = value_and_gradient(loss, GOLDEN["logits"], targets)
        with monkeypatch.context() as patched:
            patched.setattr(_focal, "is_near", lambda _: False)
            torch.testing.assert_close(value_and_gradient(loss, GOLDEN["logits"], targets), near, rtol=1e-12, atol=0)


def test_focal_sum_of_many_is_accurate():
    logits, targets = torch.randn(20_000, 20) - 3, torch.full((20_000,), 20)
    value = losses.sigmoid_focal_loss(logits, targets, reduction="sum")
    assert value.item() == pytest.approx(
        losses.sigmoid_focal_loss(logits.double(), targets, reduction="sum").item(), rel=1e-6
    )


SOFT = torch.rand(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
FEW = torch.tensor([0, 1, 2, 3, -1, 0])
with_slopes = pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (losses.sigmoid_focal_loss, FEW),
        (losses.quality_focal_loss, FEW),
        (losses.quality_focal_loss, SOFT),
        (partial(losses.quality_focal_loss, beta=1.5), SOFT),
    ],
    ids=["focal", "quality", "quality, soft", "quality, beta 1.5"],
)


@with_slopes
def test_a_graph_can_be_walked_twice(loss, targets):
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    value = loss(logits, targets, reduction="rows")
    weight = torch.randn(6, dtype=torch.float64)
    (first,) = torch.autograd.grad(value, logits, weight, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(value, logits, 2 * weight)
    torch.testing.assert_close(first, kept, rtol=0, atol=0)
    torch.testing.assert_close(second, 2 * kept)


@with_slopes
@pytest.mark.parametrize("reduction", ["none", "rows", "sum", "mean"])
def test_a_gradient_can_be_differentiated(loss, targets, reduction):
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, targets, reduction=reduction), logits)
    (slope,) = torch.autograd.grad(loss(logits, targets).sum(), logits)
    (again,) = torch.autograd.grad(loss(logits, targets).sum(), logits, create_graph=True)
    torch.testing.assert_close(again, slope, rtol=1e-9, atol=1e-12)


def test_soft_targets_of_quality_focal_loss_get_their_gradient():
    """As they are in the criterion, constant, they get none; asked for, it is the derivative."""
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    soft = SOFT.clone().requires_grad_()
    assert torch.autograd.gradcheck(losses.quality_focal_loss, (logits, soft))
    one = value_and_gradient(losses.quality_focal_loss, logits.detach(), soft)
    torch.testing.assert_close(one, value_and_gradient(losses.quality_focal_loss, logits.detach(), SOFT))


def test_balanced_alpha_counts_the_elements_of_the_call():
    logits, targets = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 3, 4, 4, -1])
    alpha = 14 / 16  # 2 positives among the 16 elements of the rows that count
    value = losses.sigmoid_focal_loss(logits, targets, alpha="batch")
    torch.testing.assert_close(value, losses.sigmoid_focal_loss(logits, targets, alpha=alpha))
    nothing = value_and_gradient(partial(losses.sigmoid_focal_loss, alpha="batch"), logits, torch.full((5,), 4))
    assert not nothing[0].any()
    assert not nothing[1].any()
    for targets in (torch.full((5,), -1), torch.full((5, 4), 0.0)):
        assert losses.sigmoid_focal_loss(logits, targets, alpha="batch", reduction="sum").item() == 0


def test_label_zero_of_a_single_class_is_a_positive():
    logits = torch.tensor([[3.0], [3.0]])
    for loss in ALL:
        positive, background = loss(logits, torch.tensor([0, 1]), reduction="rows")
        dense = loss(logits, torch.tensor([[1.0], [0.0]]), reduction="rows")
        torch.testing.assert_close(torch.stack([positive, background]), dense)
        assert positive < background


def test_binary_cross_entropy_smoothing_and_weight():
    logits = GOLDEN["logits"].clamp(-20, 20)
    p = logits.sigmoid()
    smooth = losses.binary_cross_entropy(logits, LABELS, label_smoothing=0.2)
    t = 0.8 * ONE_HOT + 0.1
    torch.testing.assert_close(smooth, -t * functional.logsigmoid(logits) - (1 - t) * functional.logsigmoid(-logits))
    weight = torch.arange(8).double()
    weighted = losses.binary_cross_entropy(logits, LABELS, weight=weight)
    plain = losses.binary_cross_entropy(logits, LABELS)
    torch.testing.assert_close(weighted, plain * torch.where(ONE_HOT > 0, weight, 1.0))
    torch.testing.assert_close(plain, -(p * ONE_HOT + (1 - p) * (1 - ONE_HOT)).log())


@pytest.mark.parametrize("beta", [2.0, 1.5])
def test_quality_focal_loss_equals_mmdet(beta):
    loss = partial(losses.quality_focal_loss, beta=beta, reduction="rows")
    assert_golden(f"mm_qfl_beta{beta:g}", loss, qualities())


def test_quality_focal_loss_on_dense_targets_equals_mmdet():
    assert_golden("mm_qfl_tensor_beta2", partial(losses.quality_focal_loss, reduction="rows"), GOLDEN["soft_target"])


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_quality_focal_gradient_where_the_prediction_is_right(beta):
    half = torch.full((1, 1), 0.5, dtype=torch.float64)
    value, grad = value_and_gradient(partial(losses.quality_focal_loss, beta=beta), half - 0.5, half)
    assert value.item() == 0
    assert grad.item() == 0


def test_varifocal_loss_equals_mmdet():
    assert_golden("mm_vfl_a0.75_g2_iouw1", losses.varifocal_loss, qualities())


def test_varifocal_teaches_a_positive_without_quality_as_a_negative():
    logits = torch.randn(3, 2)
    none = losses.varifocal_loss(logits, torch.zeros(3, 2))
    assert torch.equal(none, losses.varifocal_loss(logits, torch.full((3,), 2)))
    torch.testing.assert_close(none, losses.sigmoid_focal_loss(logits, torch.full((3,), 2), alpha=0.25))


@pytest.mark.parametrize("bins", [10, 30])
def test_ghm_equals_mmdet(bins):
    """mmdet ignores elements; as rows of one class these are ours too."""
    labels = torch.where(GOLDEN["ghm_label_weight"] > 0, 1 - DENSE.long(), -1).reshape(-1)
    value, grad = value_and_gradient(
        partial(losses.ghm_loss, bins=bins), GOLDEN["logits"].float().reshape(-1, 1), labels
    )
    torch.testing.assert_close(value.sum(), GOLDEN[f"ghmc_bins{bins}_m0_step0"])
    torch.testing.assert_close(grad.reshape(36, 8), GOLDEN[f"ghmc_bins{bins}_m0_step0_grad"])
    if bins == 10:  # no bin is empty: the paper's formula
        torch.testing.assert_close(value.sum(), GOLDEN["spec_ghmc_paper_bins10"])


@pytest.mark.parametrize("bins", [1, 7, 30])
def test_ghm_equals_the_slow_form(bins):
    logits, targets = torch.randn(30, 4, dtype=torch.float64), torch.rand(30, 4, dtype=torch.float64).round(decimals=1)
    value = losses.ghm_loss(logits, targets, bins=bins, reduction="sum")
    torch.testing.assert_close(value, reference_ghm(logits, targets, bins))


def test_ghm_momentum_starts_from_the_first_counts():
    logits = [torch.randn(20, 3) for _ in range(2)]
    targets = torch.randint(4, (20,))
    loss = partial(losses.ghm_loss, bins=5, momentum=0.75)
    state = losses.initial_state(loss, 3)
    first = loss(logits[0], targets, state=state)
    torch.testing.assert_close(first, losses.ghm_loss(logits[0], targets, bins=5))
    counts = [torch.histc((x.sigmoid() - functional.one_hot(targets, 4)[:, :3]).abs(), 5, min=0, max=1) for x in logits]
    torch.testing.assert_close(state, counts[0])
    second = loss(logits[1], targets, state=state)
    torch.testing.assert_close(state, 0.75 * counts[0] + 0.25 * counts[1])
    place = ((logits[1].sigmoid() - functional.one_hot(targets, 4)[:, :3]).abs() * 5).long()
    entropy = losses.binary_cross_entropy(logits[1], targets)
    torch.testing.assert_close(second, entropy / state[place] / (counts[1] > 0).sum())


def test_what_a_criterion_reads_of_these_losses():
    soft = {losses.quality_focal_loss, losses.varifocal_loss}
    for loss in (getattr(loss, "func", loss) for loss in ALL):
        found = part_info(loss)
        assert found.kind == "sigmoid"
        assert found.soft_targets == (loss in soft)
        assert found.normalized == (loss is losses.ghm_loss)
        assert losses.initial_state(loss, 3) is None
    started = losses.initial_state(partial(losses.ghm_loss, momentum=0.9), 3)
    assert torch.equal(started, torch.zeros(30))


def test_names_of_a_recipe():
    assert resolve_choice("class_loss", "binary_cross_entropy").func is losses.binary_cross_entropy
    focal = resolve_choice("class_loss", "sigmoid_focal:alpha=batch,gamma=1.5")
    torch.testing.assert_close(focal(GOLDEN["logits"], LABELS), ALL[3](GOLDEN["logits"], LABELS))
    assert resolve_choice("class_loss", "varifocal").func is losses.varifocal_loss
    assert losses.initial_state(resolve_choice("class_loss", "ghm:bins=7,momentum=0.5"), 3).shape == (7,)


def test_ghm_of_ignored_rows_alone_is_zero_and_counts_nothing():
    state = torch.tensor([3.0, 4.0])
    loss = partial(losses.ghm_loss, bins=2, momentum=0.5, state=state)
    value, grad = value_and_gradient(loss, torch.randn(3, 2), torch.full((3,), -1))
    assert not value.any()
    assert not grad.any()
    assert state.tolist() == [3, 4]


@pytest.mark.parametrize("loss", ALL, ids=name)
def test_ignored_rows_cost_nothing(loss):
    logits, targets = torch.randn(6, 3), torch.tensor([-1, 2, -1, 0, 3, -1])
    counted = targets >= 0
    value, grad = value_and_gradient(loss, logits, targets)
    assert not value[~counted].any()
    assert not grad[~counted].any()
    assert (value[counted] > 0).all()
    torch.testing.assert_close(
        (value[counted], grad[counted]), value_and_gradient(loss, logits[counted], targets[counted])
    )


@pytest.mark.parametrize("reduction", ["none", "rows", "sum", "mean"])
@pytest.mark.parametrize("loss", ALL[:-1], ids=name)
def test_gradcheck(loss, reduction):
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    soft = torch.rand(5, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.tensor([0, 1, 3, 2, -1]), reduction=reduction), logits)
    assert torch.autograd.gradcheck(lambda x: loss(x, soft, reduction=reduction), logits)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("loss", ALL, ids=name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_finite_logits_give_finite_value_and_gradient(loss, dense, data):
    rows = data.draw(st.lists(st.tuples(any_logit, any_logit), max_size=4))
    logits = torch.tensor(rows).reshape(-1, 2)
    if dense:
        quality = st.sampled_from([0.0, 1.0, 1e-30]) | st.floats(0, 1, width=32)
        pairs = st.lists(st.tuples(quality, quality), min_size=len(rows), max_size=len(rows))
        targets = torch.tensor(data.draw(pairs)).reshape(-1, 2)
    else:
        targets = torch.tensor(data.draw(st.lists(st.integers(-1, 2), min_size=len(rows), max_size=len(rows)))).long()
    value, grad = value_and_gradient(loss, logits, targets)
    assert value.isfinite().all()
    assert (value >= 0).all()
    assert grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", ALL, ids=name)
def test_half_types_are_computed_in_float32(loss, dtype):
    logits, targets = (torch.randn(2, 5, 3) * 4).to(dtype), torch.randint(-1, 4, (2, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, grad = value_and_gradient(loss, logits, targets)
    wanted, slope = value_and_gradient(loss, logits.float(), targets)
    assert (value.dtype, value.shape, grad.dtype) == (torch.float32, (2, 5, 3), dtype)
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(grad, slope.to(dtype))


@pytest.mark.parametrize("loss", ALL, ids=name)
def test_gradient_in_half_stays_within_its_range(loss):
    logits = torch.tensor([[-9.0, 9.0]], dtype=torch.float16, requires_grad=True)
    (loss(logits, torch.tensor([0])) * 1e6).sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()


@pytest.mark.parametrize("loss", ALL, ids=name)
def test_reductions_layouts_and_empty_input(loss):
    logits, targets = torch.randn(3, 4, 5).permute(2, 0, 1), torch.randint(-1, 5, (5, 3))
    value, grad = value_and_gradient(loss, logits, targets)
    copied = value_and_gradient(loss, logits.contiguous(), targets)
    torch.testing.assert_close((value, grad.contiguous()), copied)
    torch.testing.assert_close(loss(logits, targets, reduction="rows"), value.sum(-1))
    torch.testing.assert_close(loss(logits, targets, reduction="sum"), value.sum())
    torch.testing.assert_close(loss(logits, targets, reduction="mean"), value.mean())
    empty = torch.zeros(0, 3, requires_grad=True)
    for reduction, shape in (("none", (0, 3)), ("rows", (0,)), ("mean", ())):
        found = loss(empty, torch.zeros(0, dtype=torch.int64), reduction=reduction)
        assert found.shape == shape
        found.sum().backward()
        assert found.sum().item() == 0
        assert empty.grad.shape == (0, 3)


def test_errors():
    logits, targets = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    for loss in ALL:
        with pytest.raises(ValueError, match=r"targets int64 \(N,\) or float \(N, K\) but got \(2, 3\)"):
            loss(logits, torch.zeros(2))
        with pytest.raises(ValueError, match=r"Expected labels in -1\.\.3 \(K is background\) but got 0\.\.4"):
            loss(logits, torch.tensor([0, 4]))
        with pytest.raises(ValueError, match="Expected a reduction out of"):
            loss(logits, targets, reduction="total")


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (losses.binary_cross_entropy, {"label_smoothing": 1.5}, "Expected label_smoothing in 0..1 but got 1.5"),
        (losses.sigmoid_focal_loss, {"gamma": -1.0}, "Expected gamma >= 0 but got -1.0"),
        (losses.sigmoid_focal_loss, {"alpha": -1.0}, "Expected alpha in 0..1, a number or"),
        (losses.sigmoid_focal_loss, {"alpha": math.nan}, "Expected alpha in 0..1, a number or"),
        (losses.sigmoid_focal_loss, {"alpha": torch.ones(2)}, "Expected alpha in 0..1, a number or"),
        (losses.sigmoid_focal_loss, {"alpha": "auto"}, "'batch' or None but got 'auto'"),
        (losses.quality_focal_loss, {"beta": 0.5}, "Expected beta >= 1 but got 0.5"),
        (losses.varifocal_loss, {"alpha": -1.0}, "Expected alpha and gamma of at least 0"),
        (losses.varifocal_loss, {"gamma": -1.0}, "Expected alpha and gamma of at least 0"),
        (losses.ghm_loss, {"bins": 0}, "Expected bins >= 1 and momentum in 0..1"),
        (losses.ghm_loss, {"momentum": 1.0}, "Expected bins >= 1 and momentum in 0..1"),
        (losses.ghm_loss, {"momentum": 0.5}, r"Expected a state float \(30,\) with momentum 0.5 but got None"),
        (losses.ghm_loss, {"momentum": 0.5, "state": torch.zeros(3)}, r"but got torch.float32 \(3,\)"),
    ],
)
def test_options_out_of_range(loss, options, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), **options)

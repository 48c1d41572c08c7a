"""Losses of softmax classifiers against golden numbers, closed forms and slow references."""

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
from boxwright.losses import softmax
from boxwright.parts import part_info

LABELS = GOLDEN["labels"]
ALL = [
    losses.cross_entropy,
    partial(losses.cross_entropy, label_smoothing=0.1),
    losses.softmax_focal_loss,
    partial(losses.softmax_focal_loss, gamma=0.3),
    losses.poly_loss,
    losses.seesaw_loss,
]


def name(loss):
    return f"{getattr(loss, 'func', loss).__name__} {getattr(loss, 'keywords', '')}"


def reference_seesaw(logits, targets, counts, p, q):
    """Row by row, with the exponentials written out; for small logits."""
    found = []
    for row, i in zip(logits.tolist(), targets.tolist(), strict=True):
        exponentials = [math.exp(z) for z in row]
        score = [e / sum(exponentials) for e in exponentials]
        denominator = 0.0
        for j, e in enumerate(exponentials):
            factor = 1.0
            if i < len(counts) and j < len(counts) and i != j:
                mitigation = min(1, max(counts[j], 1) / max(counts[i], 1)) ** p
                factor = mitigation * max(1, score[j] / max(score[i], 0.01)) ** q
            denominator += factor * e
        found.append(math.log(denominator) - row[i])
    return torch.tensor(found, dtype=logits.dtype)


def test_closed_forms():
    logits, target = torch.zeros(1, 4), torch.tensor([2])
    assert losses.cross_entropy(logits, target).item() == pytest.approx(math.log(4))
    assert losses.softmax_focal_loss(logits, target).item() == pytest.approx(0.75**2 * math.log(4))
    assert losses.poly_loss(logits, target, epsilon=2.0).item() == pytest.approx(math.log(4) + 2 * 0.75)
    # equal scores, counts 1, 1, 8, 1: S = (1/8)^0.8 from class 2 to each other
    state = torch.tensor([1, 1, 7, 1])
    expected = math.log(1 + 3 * 8**-0.8)
    assert losses.seesaw_loss(logits, target, state=state).item() == pytest.approx(expected)
    assert state.tolist() == [1, 1, 8, 1]


def test_cross_entropy_equals_the_references():
    assert_golden("spec_softmax_focal_g0", losses.cross_entropy, LABELS)
    logits, labels, weight = GOLDEN["cw_logits"], GOLDEN["cw_labels"], GOLDEN["cw_inv_log_1.10"].double()
    value, grad = value_and_gradient(partial(losses.cross_entropy, weight=weight), logits, labels)
    torch.testing.assert_close(value, GOLDEN["L_cw_weighted_ce_none"])
    torch.testing.assert_close(grad, GOLDEN["G_cw_weighted_ce_none"])
    mean = losses.cross_entropy(logits, labels, weight=weight, reduction="mean")
    torch.testing.assert_close(mean, GOLDEN["R_cw_weighted_ce_sum_over_n"])


def test_label_smoothing_mixes_in_the_uniform_distribution():
    log_p = GOLDEN["logits"].log_softmax(1)
    expected = -0.9 * log_p.gather(1, LABELS[:, None])[:, 0] - 0.1 * log_p.mean(1)
    torch.testing.assert_close(losses.cross_entropy(GOLDEN["logits"], LABELS, label_smoothing=0.1), expected)


def test_cross_entropy_gradient_of_mined_rows():
    logits = torch.randn(50, 5, dtype=torch.float64)
    targets = torch.randint(-1, 5, (50,))
    weight = torch.randn(50, dtype=torch.float64) * (torch.arange(50) % 7 == 0)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    (losses.cross_entropy(ours, targets) * weight).sum().backward()
    (functional.cross_entropy(theirs, targets, ignore_index=-1, reduction="none") * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert not ours.grad[weight == 0].any()


@pytest.mark.parametrize("gamma", [0, 1, 2])
def test_softmax_focal_equals_the_paper(gamma):
    assert_golden(f"spec_softmax_focal_g{gamma}", partial(losses.softmax_focal_loss, gamma=gamma), LABELS)


def test_softmax_focal_with_weights_and_as_kornia():
    alpha = GOLDEN["class_alpha"]
    assert_golden("spec_softmax_focal_g2_classalpha", partial(losses.softmax_focal_loss, alpha=alpha), LABELS)
    assert_golden("kornia_softmax_focal_alphaNone_g2", losses.softmax_focal_loss, LABELS)


def test_poly_is_cross_entropy_and_a_term():
    logits = GOLDEN["logits"]
    p = logits.softmax(1).gather(1, LABELS[:, None])[:, 0]
    torch.testing.assert_close(losses.poly_loss(logits, LABELS, epsilon=-0.5), -p.log() - 0.5 * (1 - p))
    zero = losses.poly_loss(logits, LABELS, epsilon=0.0)
    torch.testing.assert_close(zero, losses.cross_entropy(logits, LABELS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("p", [0.8, 0.0])
@pytest.mark.parametrize("q", [2.0, 0.0])
def test_seesaw_equals_mmdet(p, q):
    def loss(logits, labels):  # mmdet's function takes the counts with those of the batch
        state = GOLDEN["seesaw_cum"].long() - torch.bincount(labels, minlength=8)
        return losses.seesaw_loss(logits, labels, p=p, q=q, state=state)

    assert_golden(f"mm_seesaw_p{p:g}_q{q:g}", loss, LABELS, tolerance=1e-6)  # theirs are float32 counts


def test_seesaw_counts_over_two_steps_as_mmdet():
    state = losses.initial_state(losses.seesaw_loss, 8)
    steps = (("seesaw_logits_c2", "seesaw_labels"), ("seesaw_step1_logits", "seesaw_step1_labels"))
    for step, (logits, labels) in enumerate(steps):
        labels = GOLDEN[labels]
        objects = labels < 8
        loss = losses.seesaw_loss(GOLDEN[logits][objects, :8], labels[objects], state=state)
        assert loss.mean().item() == pytest.approx(GOLDEN[f"seesaw_step{step}_classes"].item(), rel=1e-6)
        assert state.tolist() == GOLDEN[f"seesaw_step{step}_cum"][:8].tolist()


@pytest.mark.parametrize("columns", [4, 5])
def test_seesaw_equals_the_slow_form(columns):
    """With five columns the last is background, from and to which nothing is changed."""
    logits, targets = torch.randn(40, columns, dtype=torch.float64) * 2, torch.randint(columns, (40,))
    state = torch.tensor([5, 0, 100, 1])
    counts = state + torch.bincount(targets[targets < 4], minlength=4)
    value = losses.seesaw_loss(logits, targets, state=state)
    torch.testing.assert_close(value, reference_seesaw(logits, targets, counts.tolist(), 0.8, 2.0))
    assert torch.equal(state, counts)


def test_what_a_criterion_reads_of_these_losses():
    for name in ("cross_entropy", "softmax_focal", "poly", "seesaw"):
        loss = resolve_choice("class_loss", name)
        assert part_info(loss).kind == "softmax"
        assert not part_info(loss).normalized
        state = losses.initial_state(loss, 3)
        assert (state is None) == (name != "seesaw")
    assert torch.equal(state, torch.zeros(3, dtype=torch.int64))


def test_seesaw_without_a_state_counts_the_call():
    logits, targets = torch.randn(20, 4), torch.randint(4, (20,))
    state = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(losses.seesaw_loss(logits, targets), losses.seesaw_loss(logits, targets, state=state))


@pytest.mark.parametrize("loss", ALL, ids=name)
def test_ignored_rows_cost_nothing(loss):
    logits, targets = torch.randn(6, 4), torch.tensor([-1, 2, -1, 0, 3, -1])
    value, grad = value_and_gradient(loss, logits, targets)
    assert not value[targets < 0].any()
    assert not grad[targets < 0].any()
    assert (value[targets >= 0] > 0).all()
    kept = value_and_gradient(loss, logits[targets >= 0], targets[targets >= 0])
    torch.testing.assert_close((value[targets >= 0], grad[targets >= 0]), kept)


@pytest.mark.parametrize(
    "loss",
    [*ALL[:-1], partial(losses.softmax_focal_loss, alpha=torch.tensor([0.2, 0.9, 0.4, 0.7], dtype=torch.float64))],
    ids=name,
)
def test_gradcheck(loss):
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.tensor([0, 1, 3, 0, -1])), logits)


@pytest.fixture(params=["few", "many"])
def size(request, monkeypatch):
    """Logits count as many from this many elements on; those that do go through it in blocks of two rows."""
    if request.param == "many":
        monkeypatch.setattr(softmax, "_MANY", 0)
        monkeypatch.setattr(softmax, "_BLOCK", 8)
    return request.param


@pytest.mark.parametrize("counted", [[0], [0, 1, 2, 3, 4]], ids=["one row", "all rows"])
def test_cross_entropy_of_few_and_many_logits_is_that_of_torch(size, counted):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    targets, weight = torch.tensor([0, 1, 3, 0, -1]), torch.tensor([1.0, 0.5, 2.0, 3.0], dtype=torch.float64)
    for options in ({}, {"weight": weight}):
        wanted = functional.cross_entropy(logits, targets, reduction="none", ignore_index=-1, **options)
        found = losses.cross_entropy(logits, targets, **options)
        torch.testing.assert_close(found, wanted)
        (slope,) = torch.autograd.grad(wanted[counted].sum(), logits)
        torch.testing.assert_close(torch.autograd.grad(found[counted].sum(), logits)[0], slope)
    assert torch.autograd.gradcheck(lambda x: losses.cross_entropy(x, targets)[counted], logits)
    assert torch.autograd.gradgradcheck(lambda x: losses.cross_entropy(x, targets)[counted], logits)


def test_seesaw_factors_are_constant_in_the_gradient():
    logits, targets = torch.randn(6, 4, dtype=torch.float64), torch.randint(4, (6,))
    state = torch.tensor([50, 1, 3, 9])
    _, grad = value_and_gradient(partial(losses.seesaw_loss, state=state.clone()), logits, targets)
    counts = state + torch.bincount(targets, minlength=4)
    score = logits.softmax(1)
    ratio = (counts / counts[targets][:, None]).clamp(max=1) ** 0.8
    factor = ratio * (score / score.gather(1, targets[:, None]).clamp(min=0.01)).clamp(min=1) ** 2
    factor.scatter_(1, targets[:, None], 1.0)
    share = factor * logits.exp()
    torch.testing.assert_close(grad, share / share.sum(1, keepdim=True) - functional.one_hot(targets, 4))


@pytest.mark.parametrize("loss", ALL, ids=name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_finite_logits_give_finite_value_and_gradient(loss, data):
    rows = data.draw(st.lists(st.tuples(any_logit, any_logit, any_logit), max_size=4))
    targets = torch.tensor(data.draw(st.lists(st.integers(-1, 2), min_size=len(rows), max_size=len(rows))))
    value, grad = value_and_gradient(loss, torch.tensor(rows).reshape(-1, 3), targets.long())
    assert value.isfinite().all()
    assert (value >= 0).all()
    assert grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", ALL, ids=name)
def test_half_types_are_computed_in_float32(loss, dtype):
    logits, targets = (torch.randn(2, 5, 3) * 4).to(dtype), torch.randint(-1, 3, (2, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, grad = value_and_gradient(loss, logits, targets)
    wanted, slope = value_and_gradient(loss, logits.float(), targets)
    assert (value.dtype, value.shape, grad.dtype) == (torch.float32, (2, 5), dtype)
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(grad, slope.to(dtype))


@pytest.mark.parametrize("loss", ALL, ids=name)
def test_reductions_and_empty_input(loss):
    logits, targets = torch.randn(7, 3), torch.randint(3, (7,))
    value = loss(logits, targets)
    torch.testing.assert_close(loss(logits, targets, reduction="sum"), value.sum())
    torch.testing.assert_close(loss(logits, targets, reduction="mean"), value.mean())
    empty = torch.zeros(0, 3, requires_grad=True)
    mean = loss(empty, targets[:0], reduction="mean")
    mean.backward()
    assert mean.item() == 0
    assert empty.grad.shape == (0, 3)


def test_errors():
    logits, targets = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    for loss in ALL:
        with pytest.raises(ValueError, match=r"Expected logits \(N, K\) and targets int64 \(N,\) but got \(2, 3\)"):
            loss(logits, torch.zeros(3, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"Expected a reduction out of"):
            loss(logits, targets, reduction="rows")
    for options in ({"gamma": -1.0}, {"alpha": torch.ones(2)}):
        with pytest.raises(ValueError, match=r"Expected gamma >= 0 and alpha \(K,\)"):
            losses.softmax_focal_loss(logits, targets, **options)
    for options in ({"p": -1.0}, {"q": -1.0}, {"state": torch.zeros(1).long()}, {"state": torch.zeros(3)}):
        with pytest.raises(ValueError, match=r"Expected p, q >= 0 and a state int64"):
            losses.seesaw_loss(logits, targets, **options)

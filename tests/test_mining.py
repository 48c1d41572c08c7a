"""Golden scenes: SSD's classification loss in float64, over the union of positives and hardest negatives (spec)."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.boxes import box_iou
from boxwright.losses import cross_entropy
from boxwright.mining import hard_examples, hard_negatives, hard_positives, ohem, random_balanced
from boxwright.parts import miner_info
from elsewhere import Elsewhere

GOLDEN = np.load(Path(__file__).parent / "golden" / "mining.npz")
SCENES = ["normal", "one_empty", "crowded", "ties_flat", "ties_quant", "big_logits", "all_empty"]


def golden_scene(name):
    logits = torch.from_numpy(GOLDEN[f"{name}_logits"]).double()
    labels = torch.from_numpy(GOLDEN[f"{name}_cls_targets"]).long()
    return cross_entropy(logits, labels), (labels > 0).to(torch.int8)


@pytest.mark.parametrize("scene", SCENES)
def test_golden_loss(scene):
    losses, state = golden_scene(scene)
    mask = hard_negatives(losses, state)
    total = (losses * mask).sum() / max(int(state.sum()), 1)
    assert total.item() == pytest.approx(GOLDEN[f"{scene}_spec_cls"].item(), rel=1e-9)


@pytest.mark.parametrize("scene", ["normal", "one_empty", "crowded", "big_logits"])
def test_golden_mask(scene):
    assert hard_negatives(*golden_scene(scene)).tolist() == GOLDEN[f"{scene}_lufficc_mask"].tolist()


def reference(losses, state, ratio, min_negatives):
    """One image."""
    positives = [a for a, s in enumerate(state) if s == 1]
    negatives = sorted((a for a, s in enumerate(state) if s == 0), key=lambda a: -losses[a])  # stable
    return {*positives, *negatives[: max(int(ratio * len(positives)), min_negatives)]}


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 20).flatmap(
        lambda n: st.lists(
            st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-1, 0, 0, 0, 1])), min_size=n, max_size=n),
            min_size=1,
            max_size=3,
        )
    ),
    ratio=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    min_negatives=st.integers(0, 5),
)
def test_equals_the_rule_read_image_by_image(rows, ratio, min_negatives):
    losses = torch.tensor([[float(loss) for loss, _ in row] for row in rows])
    state = torch.tensor([[s for _, s in row] for row in rows], dtype=torch.int8)
    mask = hard_negatives(losses, state, ratio=ratio, min_negatives=min_negatives)
    for image in range(len(rows)):
        expected = reference(losses[image].tolist(), state[image].tolist(), ratio, min_negatives)
        assert set(mask[image].nonzero().flatten().tolist()) == expected
    batch = hard_negatives(losses, state, ratio=ratio, min_negatives=min_negatives, scope="batch")
    expected = reference(losses.flatten().tolist(), state.flatten().tolist(), ratio, min_negatives)
    assert set(batch.flatten().nonzero().flatten().tolist()) == expected


def test_a_crowded_image_counts_no_positive_twice():
    losses = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    state = torch.tensor([[1, 1, 1, 0]], dtype=torch.int8)
    assert hard_negatives(losses, state).tolist() == [[True] * 4]


def test_an_image_without_positives():
    losses, state = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]]), torch.tensor([[0, 0, 0], [1, 0, 0]])
    assert hard_negatives(losses, state, ratio=1.0).tolist() == [[False] * 3, [True, True, False]]
    some = hard_negatives(losses, state, ratio=1.0, min_negatives=2)
    assert some.tolist() == [[False, True, True], [True, True, True]]
    batch = hard_negatives(losses, state, ratio=2.0, scope="batch")
    assert batch.tolist() == [[False, True, False], [True, True, False]]


def test_ranks_carry_no_gradient():
    losses = torch.rand(2, 5, requires_grad=True)
    mask = hard_negatives(losses, torch.tensor([[1, 0, 0, 0, 0]] * 2))
    assert mask.dtype == torch.bool
    assert not mask.requires_grad


def test_errors():
    losses, state = torch.rand(2, 5), torch.zeros(2, 5)
    with pytest.raises(ValueError, match=r"Expected a scope out of .* but got 'level'"):
        hard_negatives(losses, state, scope="level")
    with pytest.raises(ValueError, match=r"Expected losses and state \(B, A\)"):
        hard_negatives(losses, state[:, :4])
    with pytest.raises(ValueError, match="Expected ratio and min_negatives of at least 0"):
        hard_negatives(losses, state, ratio=-1)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 20).flatmap(
        lambda n: st.lists(
            st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-1, 0, 0, 1])), min_size=n, max_size=n),
            min_size=1,
            max_size=3,
        )
    ),
    count=st.sampled_from([None, 1, 5, 100]),
)
def test_hard_examples_are_the_highest_of_positives_and_negatives(rows, count):
    losses = torch.tensor([[float(loss) for loss, _ in row] for row in rows])
    state = torch.tensor([[s for _, s in row] for row in rows], dtype=torch.int8)
    mask = hard_examples(losses, state, count=count)
    for image, row in enumerate(rows):
        wanted = 4 * sum(s == 1 for _, s in row) if count is None else count
        order = sorted((a for a, (_, s) in enumerate(row) if s >= 0), key=lambda a: -row[a][0])
        assert set(mask[image].nonzero().flatten().tolist()) == set(order[:wanted])


def test_hard_examples_keeps_four_times_the_positives():
    """As many as hard_negatives does, whose three negatives stand beside each positive."""
    state = torch.zeros(2, 60, dtype=torch.int8)
    state[0, :3], state[1, 50:55] = 1, 1
    losses = torch.arange(60.0).expand(2, -1)
    assert hard_examples(losses, state).sum(1).tolist() == [12, 20]
    assert hard_negatives(losses, state).sum(1).tolist() == [12, 20]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 20).flatmap(
        lambda n: st.lists(
            st.lists(
                st.tuples(st.integers(0, 4), st.sampled_from([-1, 0, 0, 1, 1]), st.integers(0, 3)),
                min_size=n,
                max_size=n,
            ),
            min_size=1,
            max_size=3,
        )
    ),
    count=st.sampled_from([1, 2, 5, 100]),
    keep=st.sampled_from(["hardest", "easiest"]),
    ratio=st.sampled_from([None, 0.0, 1.0, 3.0]),
)
def test_hard_positives_are_chosen_target_by_target(rows, count, keep, ratio):
    losses = torch.tensor([[float(loss) for loss, _, _ in row] for row in rows])
    state = torch.tensor([[s for _, s, _ in row] for row in rows], dtype=torch.int8)
    gt_index = torch.tensor([[g for _, _, g in row] for row in rows])
    mask = hard_positives(losses, state, gt_index, count=count, keep=keep, ratio=ratio)
    for image, row in enumerate(rows):
        sign = -1 if keep == "hardest" else 1
        kept = set()
        for target in range(4):
            own = sorted(
                (a for a, (_, s, g) in enumerate(row) if s == 1 and g == target), key=lambda a: sign * row[a][0]
            )
            kept |= set(own[:count])
        negatives = sorted((a for a, (_, s, _) in enumerate(row) if s == 0), key=lambda a: -row[a][0])
        kept |= set(negatives if ratio is None else negatives[: int(ratio * len(kept))])
        assert set(mask[image].nonzero().flatten().tolist()) == kept


def test_hard_positives_lets_no_large_target_outweigh_a_small_one():
    state = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0, 0, 0, -1]], dtype=torch.int8)
    gt_index = torch.tensor([[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]])
    losses = torch.tensor([[1.0, 5, 3, 4, 2, 0.1, 9, 8, 7, 6, 99]])
    assert hard_positives(losses, state, gt_index, count=2, ratio=1).int().tolist() == [
        [0, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0]
    ]
    easiest = hard_positives(losses, state, gt_index, count=2, keep="easiest", ratio=None)
    assert easiest.int().tolist() == [[1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0]]


def test_hard_positives_with_wrong_values():
    losses, state, gt_index = torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.int64)
    for options in ({"count": 0}, {"keep": "best"}, {"ratio": -1.0}):
        with pytest.raises(ValueError, match="Expected"):
            hard_positives(losses, state, gt_index, **options)
    for other in (gt_index[0], gt_index.int()):
        with pytest.raises(ValueError, match=r"Expected gt_index int64 \(B, A\)"):
            hard_positives(losses, state, other)


BY_LOSS = [
    hard_negatives,
    partial(hard_negatives, min_negatives=2),
    partial(hard_negatives, scope="batch"),
    partial(hard_negatives, scope="batch", cutoff="tf"),
    hard_examples,
    partial(hard_examples, count=3),
    ohem,
]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
@pytest.mark.parametrize(
    "miner",
    [
        *BY_LOSS,
        lambda losses, state: ohem(losses, state, boxes=torch.zeros(*state.shape, 4)),
        lambda losses, state: ohem(losses, state, boxes=torch.zeros(state.shape[1], 4)),
        lambda _, state: random_balanced(state),
        lambda losses, state: hard_positives(losses, state, state.long()),
    ],
)
def test_nothing_to_mine(miner, shape):
    mask = miner(torch.zeros(shape), torch.zeros(shape, dtype=torch.int8))
    assert mask.shape == shape
    assert mask.dtype == torch.bool


@pytest.mark.parametrize("miner", BY_LOSS)
def test_mining_waits_for_no_device_and_finds_the_same(miner):
    losses = torch.randint(9, (3, 40)) / 8
    state = torch.randint(-1, 2, (3, 40)).to(torch.int8)
    with Elsewhere() as device:
        mask = miner(*device.send(losses, state))
        assert device.waits == []
        assert torch.equal(mask.cpu(), miner(losses, state))


def test_random_balanced_waits_for_no_device():
    assert random_balanced(torch.zeros(2, 40, dtype=torch.int8, device="meta")).shape == (2, 40)


def test_hard_examples_asks_for_the_box_loss_too():
    assert miner_info(partial(hard_examples, count=3)).ranks_by == "both"
    assert miner_info(partial(hard_negatives, ratio=1.0)).ranks_by == "classification"
    assert miner_info(random_balanced).ranks_by == "nothing"
    with pytest.raises(ValueError, match="at least 1"):
        hard_examples(torch.zeros(1, 2), torch.zeros(1, 2), count=0)


@pytest.mark.parametrize("scene", SCENES)
def test_golden_rule_of_ssd_tensorflow(scene):
    """A count of ratio x positives + images over the batch, and a strict cut-off: one less, or none where all tie."""
    logits = torch.from_numpy(GOLDEN[f"{scene}_logits"]).double()
    background = cross_entropy(logits, torch.zeros(logits.shape[:2], dtype=torch.int64))
    positive = torch.from_numpy(GOLDEN[f"{scene}_balancap_pos"])
    mask = hard_negatives(background, positive.to(torch.int8), scope="batch", cutoff="tf")
    assert torch.equal(mask & ~positive, torch.from_numpy(GOLDEN[f"{scene}_balancap_neg"]))
    assert mask[positive].all()


def test_the_strict_cutoff_needs_the_batch():
    with pytest.raises(ValueError, match="Expected cutoff 'count', or 'tf' with scope 'batch'"):
        hard_negatives(torch.zeros(1, 2), torch.zeros(1, 2), cutoff="tf")


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 4, 50]), nms=st.booleans(), coarse=st.booleans())
def test_ohem_takes_the_highest_losses_that_overlap_no_higher(seed, count, nms, coarse):
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(2, 25, generator=generator)
    if coarse:
        losses = (losses * 4).round()
    state = torch.randint(-1, 2, (2, 25), generator=generator).to(torch.int8)
    corners = torch.rand(2, 25, 2, generator=generator) * 10
    boxes = torch.cat([corners, corners + 6], -1)
    mask = ohem(losses, state, count=count, boxes=boxes if nms else None, nms_iou=0.5)
    for image in range(2):
        order = sorted((a for a in range(25) if state[image, a] >= 0), key=lambda a: -losses[image, a].item())
        kept = []
        overlap = box_iou(boxes[image], boxes[image])
        for a in order:
            if not nms or all(overlap[a, other] <= 0.5 for other in kept):
                kept.append(a)
        assert set(mask[image].nonzero().flatten().tolist()) == set(kept[:count])


def test_ohem_errors():
    losses, state = torch.rand(2, 5), torch.zeros(2, 5)
    with pytest.raises(ValueError, match=r"Expected boxes \(2, 5, 4\)"):
        ohem(losses, state, boxes=torch.zeros(4, 4))
    with pytest.raises(ValueError, match="at least 1"):
        ohem(losses, state, count=0)
    assert ohem(losses, state, boxes=torch.rand(5, 4)).shape == (2, 5)  # the same boxes in every image


@pytest.mark.parametrize(("positives", "taken"), [(0, 0), (3, 3), (100, 8)])
def test_random_balanced_counts(positives, taken):
    state = torch.zeros(3, 200, dtype=torch.int8)
    state[:, :positives] = 1
    state[:, 190:] = -1
    mask = random_balanced(state, count=16)
    assert (mask & (state == 1)).sum(1).tolist() == [taken] * 3
    assert mask.sum(1).tolist() == [16] * 3
    assert not mask[:, 190:].any()


def test_random_balanced_runs_out():
    state = torch.tensor([[1, 1, 1, 0, -1]])
    assert random_balanced(state, count=4).sum() == 3  # two positives, and the only negative
    assert not random_balanced(torch.full((1, 4), -1)).any()


def test_random_balanced_is_uniform_and_follows_its_generator():
    state = torch.zeros(2000, 10, dtype=torch.int8)
    state[:, :4] = 1
    draw = [random_balanced(state, count=4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    share = draw[0].float().mean(0)
    torch.testing.assert_close(share[:4], torch.full((4,), 0.5), atol=0.05, rtol=0)
    torch.testing.assert_close(share[4:], torch.full((6,), 1 / 3), atol=0.05, rtol=0)
    with pytest.raises(ValueError, match="Expected count >= 1 and a fraction"):
        random_balanced(state, positive_fraction=2.0)

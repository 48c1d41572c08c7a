"""Class weights from the counts of a batch: of its positives, or of all its anchors with background as a class."""

from __future__ import annotations

import math
from functools import partial
from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from boxwright import losses, matching, mining
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.coding import DeltaCoder
from boxwright.criterion import ClassWeights, DenseCriterion
from boxwright.losses import ClassWeighting
from boxwright.recipes import get_recipe
from boxwright.recipes.class_weights import SCHEMES
from boxwright.recipes.criterion import build_criterion
from boxwright.types import DenseOutputs, Targets

RAW = partial(losses.class_weights, scheme="inverse_log", normalize=False)
ANCHORS = make_anchors(AnchorSpec.squares((8,), scale=1.0), (16, 40))  # 2 x 5 cells
# Two objects of class 0, one of class 2, each on an anchor of its own, an ignored box on a fourth; six are background.
TARGETS = Targets(
    ANCHORS.boxes[[0, 3, 7, 9]].unsqueeze(0),
    torch.tensor([[0, 0, 2, 1]]),
    torch.tensor([[False, False, False, True]]),
)
LABELS = torch.tensor([0, 3, 3, 0, 3, 3, 3, 2, 3, -1])
COUNTS = [2, 0, 1, 6]


def criterion(weights: ClassWeights | None, miner: object = None) -> DenseCriterion:
    return DenseCriterion(
        matcher=matching.match_iou,
        coder=DeltaCoder(),
        miner=miner,  # type: ignore[arg-type]
        class_loss=losses.cross_entropy,
        box_loss=losses.smooth_l1_loss,
        class_weights=weights,
    )


def some_outputs() -> DenseOutputs:
    generator = torch.Generator().manual_seed(0)
    return DenseOutputs(torch.randn(1, 10, 4, generator=generator), torch.zeros(1, 10, 4))


def per_anchor(weights: ClassWeights | None) -> Tensor:
    return criterion(weights).per_anchor(ANCHORS, some_outputs(), TARGETS).classification[0]


def test_samples_count_background_as_a_class() -> None:
    """1 / ln(1.1 + f), f of 9 anchors that aren't ignored."""
    by_class = [1 / math.log(1.1 + n / 9) for n in COUNTS]
    found, plain = per_anchor(ClassWeights(RAW, over="samples")), per_anchor(None)
    counted = LABELS >= 0
    expected = torch.tensor(by_class)[LABELS.clamp(min=0)] * plain
    torch.testing.assert_close(found[counted], expected[counted])
    cross_entropy = -some_outputs().logits[0].log_softmax(-1)[counted, LABELS[counted]]
    torch.testing.assert_close(found[counted], torch.tensor(by_class)[LABELS[counted]] * cross_entropy)


def test_the_absent_class_of_a_batch_has_its_weight_in_the_mean_of_none() -> None:
    """Normalized weights have mean 1 over classes 0, 2 and background, whatever the absent one is given."""
    weights = losses.class_weights(torch.tensor(COUNTS), "inverse_log")
    assert weights[[0, 2, 3]].mean().item() == pytest.approx(1)
    for absent in (None, 0.0, 7.0):
        rule = partial(losses.class_weights, scheme="inverse_log", absent=absent)
        found, plain = per_anchor(ClassWeights(rule, over="samples")), per_anchor(None)
        counted = LABELS >= 0
        torch.testing.assert_close(found[counted], (weights[LABELS.clamp(min=0)] * plain)[counted])


def test_positives_are_counted_alone_otherwise() -> None:
    by_class = torch.tensor([1 / math.log(1.1 + n / 3) for n in COUNTS[:3]] + [0.5])
    found, plain = per_anchor(ClassWeights(RAW, background=0.5)), per_anchor(None)
    counted = LABELS >= 0
    torch.testing.assert_close(found[counted], (by_class[LABELS.clamp(min=0)] * plain)[counted])


def test_samples_are_counted_before_mining() -> None:
    mined = criterion(ClassWeights(RAW, over="samples"), partial(mining.hard_negatives, ratio=1.0))
    parts = mined.per_anchor(ANCHORS, some_outputs(), TARGETS)
    assert parts.counted.sum() == 6
    assert torch.equal(parts.classification[0], per_anchor(ClassWeights(RAW, over="samples")))


def test_a_batch_without_targets_has_the_weight_of_background_alone() -> None:
    none = Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0).long(), torch.zeros(2, 0).bool())
    outputs = DenseOutputs(torch.randn(2, 10, 4, requires_grad=True), torch.zeros(2, 10, 4, requires_grad=True))
    total = criterion(ClassWeights(RAW, over="samples"))(ANCHORS, outputs, none).total
    plain = criterion(None)(ANCHORS, outputs, none).total
    assert total.item() == pytest.approx(plain.item() / math.log(2.1), rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "background", "over"),
    [(None, 1.0, "samples"), (torch.ones(3), 1.0, "samples"), ("inverse", 0.5, "samples"), ("inverse", 1.0, "images")],
)
def test_wrong_values(weights: object, background: float, over: object) -> None:
    with pytest.raises(ValueError, match="Expected"):
        ClassWeights(weights, background, over)  # type: ignore[arg-type]


def test_a_recipes_options_are_those_of_the_function() -> None:
    assert tuple(SCHEMES) == get_args(ClassWeighting)
    hints = get_type_hints(losses.class_weights)
    for options in SCHEMES.values():
        assert options == {name: hints[name] for name in options}
    assert {name for options in SCHEMES.values() for name in options} == {"beta", "normalize", "absent"}


def test_a_recipe_names_the_scheme_with_its_options() -> None:
    def built(counts: Tensor | None = None, **options: str) -> ClassWeights | None:
        return build_criterion(get_recipe("ssd300", classes=["a", "b", "c"], **options), counts).class_weights

    text = "inverse_log:normalize=false"
    fixed = built(torch.tensor([800, 0, 200]), class_weights=f"{text},absent=0")
    assert fixed is not None
    torch.testing.assert_close(fixed.fixed, torch.tensor([1 / math.log(1.9), 0, 1 / math.log(1.3)]))
    for over, expected in (("batch", "positives"), ("samples", "samples")):
        found = built(class_weights=text, class_weights_over=over)
        assert found is not None
        assert found.over == expected
        assert found.rule is not None
        assert found.rule(torch.tensor([8, 0, 2])).tolist() == pytest.approx([1 / math.log(x) for x in (1.9, 1.1, 1.3)])
    assert built(class_weights=text) is None  # of data that isn't known yet

"""What parts declare of themselves: read through partials and wrappers, and refused where it makes no sense."""

from functools import partial, wraps
from typing import Any

import pytest
import torch

import boxwright as bw
from boxwright import losses, matching, mining, parts
from boxwright.catalog import PART_KEYS
from boxwright.coding import DeltaCoder
from boxwright.parts import BoxLossInfo, ClassLossInfo, MatcherInfo, MinerInfo, PartInfo, part_info


@parts.box_loss(space="boxes", default_weight=3.0)
def corner_loss(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (pred - target).abs().amax(-1)


def test_a_declared_function_stays_a_function() -> None:
    assert part_info(corner_loss) == BoxLossInfo("box_loss", "boxes", 3.0)
    assert corner_loss(torch.zeros(1, 4), torch.ones(1, 4)).item() == 1


def test_declarations_are_seen_through_partials_and_wrappers() -> None:
    @wraps(matching.match_task_aligned)
    def counted(*args: Any, **options: Any) -> Any:
        return matching.match_task_aligned(*args, **options)

    assert part_info(partial(partial(losses.ciou_loss, variant="tpami"), gradient="authors")) == BoxLossInfo(
        "box_loss", "boxes", 2.0
    )
    assert part_info(counted) == MatcherInfo("matcher", ("scores", "predictions"))


def test_an_object_that_is_called_declares_by_its_class() -> None:
    @parts.miner(ranks_by="both")
    class Hardest:
        def __call__(self, ranks: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            return ranks > 1

    assert part_info(Hardest()) == MinerInfo("miner", "both")


@pytest.mark.parametrize(
    ("part", "info"),
    [
        (losses.cross_entropy, ClassLossInfo("class_loss", "softmax")),
        (losses.quality_focal_loss, ClassLossInfo("class_loss", "sigmoid", soft_targets=True)),
        (losses.smooth_l1_loss, BoxLossInfo("box_loss", "deltas")),
        (losses.mpdiou_loss, BoxLossInfo("box_loss", "boxes", 2.0, ("image_size",))),
        (matching.match_iou, MatcherInfo("matcher")),
        (matching.match_atss, MatcherInfo("matcher", ("grid",))),
        (mining.hard_negatives, MinerInfo("miner", "classification")),
        (mining.random_balanced, MinerInfo("miner", "nothing")),
        (DeltaCoder, PartInfo("coder")),
    ],
)
def test_built_in_parts_declare_in_the_same_way(part: Any, info: PartInfo) -> None:
    assert part_info(part) == info


def test_what_declares_nothing() -> None:
    assert part_info(torch.nn.functional.l1_loss) is None
    assert parts.matcher_info(lambda *_: None) == MatcherInfo("matcher")
    assert parts.miner_info(lambda *_: None) == MinerInfo("miner")
    with pytest.raises(ValueError, match=r"declared by @bw.box_loss\(space=\"boxes\"\) but got an undeclared part"):
        parts.box_loss_info(torch.nn.functional.l1_loss)
    with pytest.raises(ValueError, match=r"declared by @bw.class_loss.* but got a part declared as box_loss"):
        parts.class_loss_info(corner_loss)
    with pytest.raises(ValueError, match=r"declared by @bw.miner\(\) but got a part declared as matcher"):
        parts.miner_info(matching.match_iou)


def test_messages_name_decorators_that_there_are() -> None:
    assert all(hasattr(bw, text.removeprefix("@bw.").partition("(")[0]) for text in parts.DECORATORS.values())
    assert {*parts.DECORATORS} == {*PART_KEYS}


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: parts.box_loss(space="pixels"), r"space of a box loss to be one of 'boxes', .* but got 'pixels'"),
        (lambda: parts.class_loss(kind="tanh"), r"kind of a class loss to be one of 'softmax', 'sigmoid'"),
        (lambda: parts.matcher(needs=("image_size",)), r"need to be one of 'scores', 'predictions', 'grid'"),
        (lambda: parts.miner(ranks_by="box"), r"ranking of a miner to be one of"),
    ],
)
def test_declarations_that_mean_nothing(declare: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declare()


@pytest.mark.parametrize(
    "decorator",
    [parts.class_loss, parts.box_loss, parts.matcher, parts.miner, parts.reader],
)
def test_a_decorator_without_its_brackets_says_so(decorator: Any) -> None:
    with pytest.raises(ValueError, match="write the decorator with brackets"):
        decorator(corner_loss)

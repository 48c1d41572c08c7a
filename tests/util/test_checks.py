"""Labels and targets that can't be: one answer of all losses, matchers, coders, miners and criteria, with the place."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

import boxwright as bw
from boxwright import losses, matching, mining
from boxwright._util import checks
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.coding import DeltaCoder, DistanceCoder, DistributionCoder, centerness
from boxwright.criterion import TwoStageCriterion, roi_losses, select_rois
from boxwright.parts import part_info
from boxwright.types import DenseOutputs, Matches, RoIOutputs, Targets, TwoStageOutputs

K = 3
OF_CLASSES = [name for name, kind in losses.available().items() if kind in ("sigmoid", "softmax")]
OF_BOXES = [name for name, kind in losses.available().items() if kind == "boxes"]
OF_DELTAS = [name for name, kind in losses.available().items() if kind == "deltas"]
BOX = [1.0, 2.0, 5.0, 9.0]
UNSOUND = {
    "no width": ([4.0, 2.0, 4.0, 9.0], "with a width and a height"),
    "no height": ([1.0, 2.0, 5.0, 2.0], "with a width and a height"),
    "inverted": ([5.0, 9.0, 1.0, 2.0], "with a width and a height"),
    "nan": ([1.0, math.nan, 5.0, 9.0], "of finite numbers"),
    "infinity": ([1.0, 2.0, 5.0, math.inf], "of finite numbers"),
    "minus infinity": ([-math.inf, 2.0, 5.0, 9.0], "of finite numbers"),
}
unsound = pytest.mark.parametrize(("box", "wanted"), UNSOUND.values(), ids=UNSOUND)


def loss_of(name: str) -> Any:
    loss = getattr(losses, name)
    return partial(loss, image_size=10) if name == "mpdiou_loss" else loss


def highest(name: str) -> int:
    """Of the labels: sigmoid losses take K for background."""
    return K if losses.available()[name] == "sigmoid" else K - 1


@pytest.mark.parametrize("name", OF_CLASSES)
def test_labels_out_of_range_in_every_loss(name: str) -> None:
    loss, top = loss_of(name), highest(name)
    assert loss(torch.randn(3, K), torch.tensor([-1, 0, top])).isfinite().all()
    for bad in (-2, top + 1, 255, -100):
        labels = torch.tensor([0, 1, bad, bad])
        low, high = min(bad, 0), max(bad, 1)
        message = rf"Expected labels in -1\.\.{top}.* but got {low}\.\.{high}, the first {bad} at index 2$"
        with pytest.raises(ValueError, match=message):
            loss(torch.randn(4, K), labels)
        with pytest.raises(ValueError, match=r"at index \(1, 0\)$"):
            loss(torch.randn(2, 2, K), labels.reshape(2, 2))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool])
@pytest.mark.parametrize("name", OF_CLASSES)
def test_labels_of_another_type_in_every_loss(name: str, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"targets int64 \(N,\).* but got \(2, 3\) and {dtype} \(2,\)"):
        loss_of(name)(torch.randn(2, K), torch.zeros(2, dtype=dtype))


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5, 85.0])
@pytest.mark.parametrize("name", [name for name in OF_CLASSES if losses.available()[name] == "sigmoid"])
def test_soft_targets_out_of_range(name: str, value: float) -> None:
    targets = torch.zeros(2, K)
    targets[1, 2] = value
    with pytest.raises(
        ValueError, match=rf"Expected soft targets in 0\.\.1 but got .*, the first {value:g} at index \(1, 2\)"
    ):
        loss_of(name)(torch.randn(2, K), targets)


@unsound
@pytest.mark.parametrize("name", OF_BOXES)
def test_unsound_target_boxes_in_every_loss(name: str, box: list[float], wanted: str) -> None:
    finite = all(map(math.isfinite, box))
    loss, pred = loss_of(name), torch.tensor([box if finite else BOX, BOX])
    assert loss(pred, torch.tensor([BOX, BOX])).isfinite().all()  # a prediction may be any
    with pytest.raises(ValueError, match=rf"Expected target boxes {wanted} but got \[.*\] at index 1$"):
        loss(pred, torch.tensor([BOX, box]))
    with pytest.raises(ValueError, match=r"at index \(1, 0\)$"):
        loss(pred[:, None], torch.tensor([[BOX], [box]]))
    with pytest.raises(ValueError, match=rf"Expected target boxes {wanted}"):
        loss(pred[0], torch.tensor(box))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", OF_DELTAS)
def test_target_deltas_that_are_not_finite(name: str, value: float) -> None:
    target = torch.zeros(3, 4)
    target[2, 1] = value
    with pytest.raises(ValueError, match=r"Expected finite target deltas but got \[0\.0, .*\] at index 2"):
        loss_of(name)(torch.zeros(3, 4), target)
    assert loss_of(name)(torch.zeros(3, 4), torch.full((3, 4), 3e38)).isfinite().all()  # though not its sum


def test_target_distances_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="Expected finite target distances but got"):
        losses.distribution_focal_loss(torch.randn(1, 4, 5), torch.tensor([[1.0, 2.0, math.nan, 0.0]]))


@unsound
@pytest.mark.parametrize("coder", [DeltaCoder(), DistanceCoder(), DistributionCoder()])
def test_unsound_boxes_are_not_encoded(coder: Any, box: list[float], wanted: str) -> None:
    anchors = torch.tensor([BOX, BOX])
    with pytest.raises(ValueError, match=rf"Expected target boxes {wanted} but got .* at index 1"):
        coder.encode(anchors, torch.tensor([BOX, box]))
    with pytest.raises(ValueError, match=r"Expected boxes \(\.\.\., 4\) but got \(2, 3\)"):
        coder.encode(anchors, torch.zeros(2, 3))


def test_centerness_of_a_box_without_area_is_zero() -> None:
    assert centerness(torch.tensor([BOX]), torch.tensor([[3.0, 5.0, 3.0, 5.0]])).item() == 0


STATES = torch.tensor([[1, 0, -1, 0]])
MINERS: dict[str, Any] = {
    "hard_negatives": partial(mining.hard_negatives, torch.rand(1, 4)),
    "hard_negatives of the batch": partial(mining.hard_negatives, torch.rand(1, 4), scope="batch"),
    "hard_examples": partial(mining.hard_examples, torch.rand(1, 4)),
    "ohem": partial(mining.ohem, torch.rand(1, 4)),
    "random_balanced": mining.random_balanced,
}


@pytest.mark.parametrize("miner", MINERS)
def test_states_out_of_range_in_every_miner(miner: str) -> None:
    assert MINERS[miner](STATES).shape == (1, 4)
    for bad in (2, -2):
        state = STATES.clone()
        state[0, 2] = bad
        message = rf"Expected state in -1\.\.1 but got .*, the first {bad} at image 0, anchor 2"
        with pytest.raises(ValueError, match=message):
            MINERS[miner](state)
    with pytest.raises(ValueError, match=r"Expected state \(B, A\) in -1\.\.1 but got torch.bool"):
        MINERS[miner](STATES > 0)


ANCHORS = make_anchors(AnchorSpec.squares((16, 32), 2.0), 64)
BOXES = torch.tensor([[[4.0, 6, 30, 40], [30, 20, 62, 60]], [[10, 10, 50, 50], [0, 0, 0, 0]]])
LABELS = torch.tensor([[0, 2], [1, -1]])


def dense(class_loss: Any, **options: Any) -> Any:
    """A call of a criterion with targets, and with other numbers of outputs' columns by the class loss."""
    soft = part_info(class_loss).kind == "softmax"
    parts: dict[str, Any] = {"matcher": matching.match_iou, "coder": DeltaCoder(), "box_loss": losses.l1_loss}
    criterion = bw.DenseCriterion(**{**parts, **options}, class_loss=class_loss)
    outputs = DenseOutputs(torch.randn(2, len(ANCHORS), K + soft), torch.randn(2, len(ANCHORS), 4))

    def call(targets: Targets) -> Tensor:
        return criterion(ANCHORS, outputs, targets).total

    return call


def predicting(anchors: Any, boxes: Tensor, labels: Tensor, *, ignore: Tensor) -> Any:
    """A user's own matcher, which checks nothing."""
    state = torch.zeros(len(labels), len(ANCHORS), dtype=torch.int8)
    state[:, 0] = 1
    return Matches(torch.zeros(state.shape, dtype=torch.int64), state, state.float())


def stages() -> tuple[TwoStageCriterion, list[Tensor], TwoStageOutputs]:
    matcher = partial(matching.match_iou, force=None)
    rpn = bw.DenseCriterion(
        matcher=matcher, coder=DeltaCoder(), class_loss=losses.binary_cross_entropy, box_loss=losses.l1_loss
    )
    roi = bw.DenseCriterion(
        matcher=matcher, coder=DeltaCoder(), class_loss=losses.cross_entropy, box_loss=losses.l1_loss
    )
    proposals = [ANCHORS.boxes[:5], ANCHORS.boxes[:4]]
    outputs = TwoStageOutputs(
        rpn=DenseOutputs(torch.randn(2, len(ANCHORS), 1), torch.randn(2, len(ANCHORS), 4)),
        features=[],
        proposals=proposals,
        rois=proposals,
        refined=RoIOutputs(torch.randn(9, K + 1), torch.randn(9, 4)),
    )
    return TwoStageCriterion(rpn, roi), proposals, outputs


def both_stages(targets: Targets) -> Tensor:
    criterion, _, outputs = stages()
    return criterion(ANCHORS, outputs, targets).total


CRITERIA: dict[str, Any] = {
    "cross entropy": dense(losses.cross_entropy, miner=mining.hard_negatives),
    "sigmoid": dense(losses.sigmoid_focal_loss),
    "quality": dense(losses.quality_focal_loss, box_loss=losses.giou_loss),
    "atss": dense(losses.ghm_loss, matcher=matching.match_atss),
    "one's own matcher": dense(losses.cross_entropy, matcher=predicting),
    "two stages": both_stages,
}


def targets_with(box: list[float] | None = None, label: int | None = None, dtype: torch.dtype = torch.int64) -> Targets:
    boxes, labels = BOXES.clone(), LABELS.clone()
    if box is not None:
        boxes[0, 1] = torch.tensor(box)
    if label is not None:
        labels[0, 1] = label
    return Targets(boxes, labels.to(dtype), torch.zeros(2, 2, dtype=torch.bool))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_names_the_image_and_the_box(criterion: str) -> None:
    call = CRITERIA[criterion]
    assert call(targets_with()).isfinite()
    for label in (K, K + 1, -2, 100):
        message = rf"Expected labels in -1\.\.{K - 1} \(-1 is padding\) but got .*, the first {label} at image 0, box 1"
        with pytest.raises(ValueError, match=message):
            call(targets_with(label=label))
    for box, wanted in UNSOUND.values():
        with pytest.raises(ValueError, match=rf"Expected target boxes {wanted} but got .* at image 0, box 1"):
            call(targets_with(box))
    for dtype in (torch.int32, torch.uint8, torch.float32):
        with pytest.raises(ValueError, match="Expected labels int64 but got"):
            call(targets_with(dtype=dtype))


def test_the_choice_of_regions_names_them_too() -> None:
    criterion, proposals, outputs = stages()
    with pytest.raises(ValueError, match="at image 0, box 1"):
        select_rois(criterion.roi, proposals, targets_with(UNSOUND["nan"][0]))
    with pytest.raises(ValueError, match=r"the first -2 at image 0, box 1"):
        criterion.select(proposals, targets_with(label=-2))
    assert outputs.refined is not None
    with pytest.raises(ValueError, match=rf"Expected labels in -1\.\.{K - 1}"):
        roi_losses(criterion.roi, proposals, outputs.refined, targets_with(label=K))


def test_unsound_boxes_are_no_regions_where_they_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "is_visible", lambda _: False)
    criterion, proposals, _ = stages()
    for box, _ in UNSOUND.values():
        chosen = select_rois(criterion.roi, proposals, targets_with(box))
        assert [len(boxes) for boxes in chosen] == [6, 5]


def test_values_are_looked_at_in_eager_calls_on_the_cpu_alone() -> None:
    labels, boxes = torch.tensor([K + 5]), torch.tensor([[4.0, 4, 4, 4]])

    def look(labels: Tensor, boxes: Tensor) -> Tensor:
        checks.check_labels(labels, 0, K)
        checks.check_boxes(boxes)
        checks.check_finite(boxes * math.nan, "boxes")
        checks.check_within(boxes, 0, 1, "boxes")
        checks.check_targets(boxes[None], labels[None], None, K)
        return boxes + labels

    with pytest.raises(ValueError, match="Expected labels in"):
        look(labels, boxes)
    assert torch.vmap(look)(labels[None], boxes[None]).shape == (1, 1, 4)
    assert torch.func.grad(lambda x: look(labels, x).sum())(boxes).shape == (1, 4)
    assert torch.compile(look, backend="eager", fullgraph=True)(labels, boxes).shape == (1, 4)
    assert look(labels.to("meta"), boxes.to("meta")).shape == (1, 4)  # as on any other device
    with FakeTensorMode() as mode:
        assert look(mode.from_tensor(labels), mode.from_tensor(boxes)).shape == (1, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_boxes_of_any_type_are_looked_at(dtype: torch.dtype) -> None:
    checks.check_boxes(torch.tensor([BOX, BOX]).to(dtype))
    with pytest.raises(ValueError, match="at index 1"):
        checks.check_boxes(torch.tensor([BOX, [3.0, 3.0, 3.0, 3.0]]).to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which rounds the product by which most boxes are settled
        checks.check_boxes(torch.tensor([[1000.0, 1000.0, 1000.5, 1000.5]]))


def test_boxes_whose_sides_leave_float32_are_sound() -> None:
    checks.check_boxes(torch.tensor([[-3e38, -3e38, 3e38, 3e38], [0.0, 0.0, 1e-38, 1e-45]]))
    checks.check_boxes(torch.zeros(0, 4))
    checks.check_targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), None)


def test_a_criterion_looks_once_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    for name in ("check_labels", "check_boxes", "check_within", "check_finite", "check_targets"):
        check = getattr(checks, name)

        def count(values: Tensor, *rest: Any, name: str = name, check: Any = check, **more: Any) -> None:
            looked.extend([name] * checks.is_visible(values))
            check(values, *rest, **more)

        for module in ("criterion.dense", "coding", "matching._common", "mining", "losses.softmax", "losses._pairs"):
            monkeypatch.setattr(f"boxwright.{module}.{name}", count, raising=False)
    CRITERIA["cross entropy"](targets_with())
    assert looked == ["check_targets"]
    with pytest.raises(RuntimeError, match="user's"):
        dense(losses.cross_entropy, matcher=failing)(targets_with())
    with pytest.raises(ValueError, match="Expected labels in"):  # though the criterion was left by an error
        losses.cross_entropy(torch.randn(1, K), torch.tensor([K]))


def failing(*_: Any, **__: Any) -> Any:
    raise RuntimeError("user's")

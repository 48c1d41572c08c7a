"""The criterion against a slow loop over images and anchors, and the invariants that every supervision must keep."""

import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from boxwright import losses, matching, mining
from boxwright.anchors import Anchors, AnchorSpec, make_anchors
from boxwright.boxes import paired_iou
from boxwright.coding import DeltaCoder, DistributionCoder
from boxwright.criterion import NORMALIZERS, ClassWeights, DenseCriterion, roi_losses
from boxwright.types import DenseOutputs, RoIOutputs, Targets

CLASSES = 3
TF = partial(mining.hard_negatives, scope="batch", cutoff="tf")


@pytest.fixture
def anchors() -> Anchors:
    return make_anchors(AnchorSpec.squares((16, 32), 2.0), 64)


def some_targets(images: int = 3) -> Targets:
    boxes = torch.tensor([[[4.0, 6, 30, 40], [30, 20, 62, 60]], [[10, 10, 50, 50], [0, 0, 0, 0]], [[0.0] * 4] * 2])
    labels = torch.tensor([[0, 2], [1, -1], [-1, -1]])
    return Targets(boxes[:images], labels[:images], torch.zeros(images, 2, dtype=torch.bool))


def some_outputs(anchors: Anchors, columns: int, size: int, images: int = 3) -> DenseOutputs:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(images, len(anchors), columns, generator=generator, dtype=torch.float64)
    deltas = torch.randn(images, len(anchors), size, generator=generator, dtype=torch.float64)
    return DenseOutputs(logits.requires_grad_(), deltas.requires_grad_())


def ssd_criterion(**options: object) -> DenseCriterion:
    chosen = {
        "matcher": matching.match_iou,
        "coder": DeltaCoder(),
        "miner": mining.hard_negatives,
        "class_loss": losses.cross_entropy,
        "box_loss": losses.smooth_l1_loss,
        "box_weight": 1.0,
    }
    return DenseCriterion(**{**chosen, **options})


def gfl_criterion() -> DenseCriterion:
    return DenseCriterion(
        matcher=matching.match_atss,
        coder=DistributionCoder(8, 0.5),
        class_loss=losses.quality_focal_loss,
        box_loss=losses.giou_loss,
        box_weight=2.0,
        normalizer="quality",
    )


def test_ssd_supervision_equals_a_loop_over_anchors(anchors: Anchors) -> None:
    targets, outputs = some_targets(), some_outputs(anchors, CLASSES + 1, 4)
    matches = matching.match_iou(anchors, targets.boxes, targets.labels)
    classification, box, positives = 0.0, 0.0, 0
    for image in range(3):
        negatives = []
        wanted = 0
        for a in range(len(anchors)):
            log_p = outputs.logits[image, a].log_softmax(0)
            if matches.state[image, a] == 1:
                wanted += 1
                g = matches.gt_index[image, a]
                classification += -log_p[targets.labels[image, g]].item()
                goal = DeltaCoder().encode(anchors.boxes[a], targets.boxes[image, g])
                box += F.smooth_l1_loss(outputs.deltas[image, a], goal.double(), reduction="sum").item()
            else:
                negatives.append(-log_p[CLASSES].item())
        classification += sum(sorted(negatives, reverse=True)[: 3 * wanted])
        positives += wanted
    got = ssd_criterion()(anchors, outputs, targets)
    assert got.positives.item() == positives > 0
    assert got.classification.item() == pytest.approx(classification / positives, rel=1e-6)
    assert got.box.item() == pytest.approx(box / positives, rel=1e-6)
    assert got.total.item() == pytest.approx(got.classification.item() + got.box.item(), rel=1e-9)
    assert got.terms.keys() == {"classification", "box"}
    assert ssd_criterion()(anchors.boxes, outputs, targets).total == got.total  # no grid needed


def test_quality_supervision_equals_a_loop_over_positives(anchors: Anchors) -> None:
    targets, criterion = some_targets(), gfl_criterion()
    outputs = some_outputs(anchors, CLASSES, 32)
    coder = DistributionCoder(8, 0.5)
    matches = matching.match_atss(anchors, targets.boxes, targets.labels)
    soft = torch.zeros_like(outputs.logits)
    box, distribution, quality_sum = 0.0, 0.0, 0.0
    for image, a in torch.nonzero(matches.state == 1).tolist():
        g = matches.gt_index[image, a]
        goal = targets.boxes[image, g].double()
        decoded = coder.decode(anchors.boxes[a].double(), outputs.deltas[image, a])
        quality = paired_iou(decoded[None], goal[None])[0].item()
        soft[image, a, targets.labels[image, g]] = quality
        quality_sum += quality
        box += quality * 2.0 * losses.giou_loss(decoded[None], goal[None])[0].item()
        bins = outputs.deltas[image, a].view(1, 4, 8)
        distances = coder.distances(anchors.boxes[a].double(), goal)[None]
        distribution += quality * losses.distribution_focal_loss(bins, distances)[0].item()
    classification = losses.quality_focal_loss(outputs.logits.flatten(0, 1), soft.flatten(0, 1)).sum().item()
    got = criterion(anchors, outputs, targets)
    scale = max(1.0, quality_sum)
    assert got.classification.item() == pytest.approx(classification / scale, rel=1e-5)
    assert got.box.item() == pytest.approx(box / scale, rel=1e-5)
    assert got.terms["distribution"].item() == pytest.approx(distribution / scale, rel=1e-5)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("class_loss", [losses.quality_focal_loss, losses.varifocal_loss])
def test_the_quality_that_is_taught_is_a_constant(anchors: Anchors, class_loss: Any, normalizer: str) -> None:
    """Else boxes would be drawn to where the classification loss is low."""
    criterion = DenseCriterion(
        matcher=matching.match_atss,
        coder=DistributionCoder(8, 0.5),
        class_loss=class_loss,
        box_loss=losses.giou_loss,
        box_weight=0.0,
        distribution_weight=0.0,
        normalizer=normalizer,
    )
    outputs = some_outputs(anchors, CLASSES, 32)
    parts = criterion.per_anchor(anchors, outputs, some_targets())
    assert parts.quality.max() > 0
    assert not parts.quality.requires_grad
    criterion(anchors, outputs, some_targets()).total.backward()
    assert outputs.logits.grad.any()
    assert not outputs.deltas.grad.any()


@pytest.mark.parametrize("images", [0, 2])
@pytest.mark.parametrize("regions", [0, 3])
@pytest.mark.parametrize("miner", [None, mining.hard_negatives, mining.hard_examples, mining.random_balanced, TF])
@pytest.mark.parametrize("class_loss", [losses.cross_entropy, losses.quality_focal_loss])
def test_nothing_to_supervise(class_loss: Any, miner: Any, regions: int, images: int) -> None:
    """Without images, without anchors, without boxes: 0, on the graph."""
    anchors = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).expand(regions, 4)
    criterion = ssd_criterion(class_loss=class_loss, miner=miner, box_loss=losses.giou_loss)
    columns = CLASSES + (class_loss is losses.cross_entropy)
    for width in (0, 2):
        targets = Targets(
            torch.tensor([[1.0, 1.0, 9.0, 9.0]]).expand(images, width, 4),
            torch.zeros(images, width, dtype=torch.int64),
            torch.zeros(images, width, dtype=torch.bool),
        )
        outputs = DenseOutputs(
            torch.randn(images, regions, columns, requires_grad=True),
            torch.randn(images, regions, 4, requires_grad=True),
        )
        got = criterion(anchors, outputs, targets)
        got.total.backward()
        assert got.total.isfinite()
        if regions * images == 0:
            assert got.total.item() == got.positives.item() == 0
        assert outputs.logits.grad.shape == outputs.logits.shape


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_batch_without_targets_has_finite_loss_and_gradient(anchors: Anchors, normalizer: str) -> None:
    soft = normalizer == "quality"
    criterion = gfl_criterion() if soft else ssd_criterion(normalizer=normalizer)
    outputs = some_outputs(anchors, CLASSES + (not soft), 32 if soft else 4)
    for width in (0, 2):
        empty = Targets(torch.zeros(3, width, 4), torch.full((3, width), -1), torch.zeros(3, width, dtype=torch.bool))
        got = criterion(anchors, outputs, empty)
        gradients = torch.autograd.grad(got.total, outputs[:2], retain_graph=True)
        assert got.box.item() == 0
        assert got.positives.item() == 0
        assert all(g.isfinite().all() for g in gradients)


def some_criterion(normalizer: str) -> DenseCriterion:
    return gfl_criterion() if normalizer == "quality" else ssd_criterion(normalizer=normalizer)


def outputs_for(criterion: DenseCriterion, anchors: Anchors) -> DenseOutputs:
    return some_outputs(anchors, CLASSES + (criterion.class_info.kind == "softmax"), criterion.coder.dim)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_split_batch_equals_whole_batch(anchors: Anchors, normalizer: str) -> None:
    """Sums and counts add up: what accumulation relies on. The last image has no object."""
    targets, criterion = some_targets(), some_criterion(normalizer)
    outputs = outputs_for(criterion, anchors)
    whole = criterion(anchors, outputs, targets)
    parts = [
        criterion(
            anchors, DenseOutputs(*(o[i : i + 1] for o in outputs[:2])), Targets(*(t[i : i + 1] for t in targets))
        )
        for i in range(3)
    ]
    count = sum(part.divisor for part in parts).clamp(min=1)
    total = sum(part.total * part.divisor.clamp(min=1) for part in parts) / count
    assert total.item() == pytest.approx(whole.total.item(), rel=1e-6)


def of_one_rank(rank: int, normalizer: str, store: str, results: Any) -> None:
    """Image 0 on the first rank, images 1 and 2 on the second."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    anchors = make_anchors(AnchorSpec.squares((16, 32), 2.0), 64)
    criterion = some_criterion(normalizer)
    outputs, rows = outputs_for(criterion, anchors), slice(0, 1) if rank == 0 else slice(1, 3)
    losses = criterion(
        anchors, DenseOutputs(*(o[rows] for o in outputs[:2])), Targets(*(t[rows] for t in some_targets()))
    )
    gradients = torch.autograd.grad(losses.total, outputs[:2])
    for gradient in gradients:  # what DDP does
        torch.distributed.all_reduce(gradient)
    if rank == 0:
        results.put([(gradient / 2).numpy() for gradient in gradients])
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_two_ranks_give_the_gradient_of_one_process(anchors: Anchors, normalizer: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = [(rank, normalizer, str(tmp_path / "store"), results) for rank in range(2)]
    processes = [context.Process(target=of_one_rank, args=each) for each in arguments]
    for process in processes:
        process.start()
    got = results.get(timeout=120)  # a rank that fails says so on stderr, and nothing here
    for process in processes:
        process.join()
    criterion = some_criterion(normalizer)
    outputs = outputs_for(criterion, anchors)
    wanted = torch.autograd.grad(criterion(anchors, outputs, some_targets()).total, outputs[:2])
    for ours, theirs in zip(got, wanted, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=1e-6, atol=1e-9)


def test_a_dropped_positive_loses_its_box_loss_and_its_place_in_the_normalizer(anchors: Anchors) -> None:
    targets, outputs = some_targets(), some_outputs(anchors, CLASSES + 1, 4)
    plain = ssd_criterion(miner=None)
    matches = plain.matcher(anchors, targets.boxes, targets.labels, ignore=targets.ignore)
    got = ssd_criterion(miner=partial(mining.hard_examples, count=2))(anchors, outputs, targets)
    classification, box, positives = 0.0, 0.0, 0
    for image in range(3):
        rows = []
        for a in range(len(anchors)):
            g, positive = matches.gt_index[image, a], matches.state[image, a] == 1
            label = targets.labels[image, g] if positive else torch.tensor(CLASSES)
            goal = DeltaCoder().encode(anchors.boxes[a], targets.boxes[image, g]).double() if positive else None
            loc = F.smooth_l1_loss(outputs.deltas[image, a], goal, reduction="sum").item() if positive else 0.0
            rows.append((F.cross_entropy(outputs.logits[image, a], label).item(), loc, bool(positive)))
        kept = sorted(rows, key=lambda row: -(row[0] + row[1]))[:2]
        classification += sum(row[0] for row in kept)
        box += sum(row[1] for row in kept)
        positives += sum(row[2] for row in kept)
    assert 0 < positives < int((matches.state == 1).sum())
    assert got.divisor.item() == positives
    assert got.classification.item() == pytest.approx(classification / positives, rel=1e-6)
    assert got.box.item() == pytest.approx(box / positives, rel=1e-6)


def test_a_miner_that_asks_for_it_gets_which_target_each_anchor_answers_for(anchors: Anchors) -> None:
    outputs, targets = some_outputs(anchors, CLASSES + 1, 4), some_targets()
    plain = ssd_criterion(miner=None).per_anchor(anchors, outputs, targets)
    miner = partial(mining.hard_positives, count=1, keep="easiest", ratio=None)
    counted = ssd_criterion(miner=miner).per_anchor(anchors, outputs, targets).counted
    image, anchor, both = plain.positives.image, plain.positives.anchor, plain.classification.clone()
    both[image, anchor] += plain.box
    target = plain.matches.gt_index[image, anchor]
    assert len(target) > len(set(zip(image.tolist(), target.tolist(), strict=True)))  # some have several
    for one in set(zip(image.tolist(), target.tolist(), strict=True)):
        own = (image == one[0]) & (target == one[1])
        easiest = anchor[own][both[image[own], anchor[own]].argmin()]
        assert anchor[own & counted[image, anchor]].tolist() == [easiest.item()]
    assert torch.equal(counted | (plain.matches.state == 1), plain.counted)


@pytest.mark.parametrize("soft", [False, True])
def test_class_weights_scale_the_positives_of_their_class(anchors: Anchors, soft: bool) -> None:
    plain = gfl_criterion() if soft else ssd_criterion(miner=None)
    outputs, targets = outputs_for(plain, anchors), some_targets()
    weighted = gfl_criterion() if soft else ssd_criterion(miner=None)
    weighted.class_weights = ClassWeights(torch.tensor([1.0, 1.0, 3.0]))
    matches = plain.matcher(anchors, targets.boxes, targets.labels, ignore=targets.ignore)
    gradients = [
        torch.autograd.grad(c(anchors, outputs, targets).classification, outputs.logits)[0] for c in (plain, weighted)
    ]
    of_class_two = (matches.state == 1) & (targets.labels.gather(1, matches.gt_index) == 2)
    assert of_class_two.any()
    torch.testing.assert_close(gradients[1][of_class_two], 3 * gradients[0][of_class_two])
    torch.testing.assert_close(gradients[1][~of_class_two], gradients[0][~of_class_two])


def class_losses_of(criterion: DenseCriterion, anchors: Anchors, outputs: DenseOutputs) -> Tensor:
    """(B, A) gradient of each anchor's classification loss by its logits, summed: how much it counts."""
    criterion.normalizer = "batch"
    loss = criterion(anchors, outputs, some_targets()).classification
    return torch.autograd.grad(loss, outputs.logits)[0]


def test_background_has_a_weight_of_its_own(anchors: Anchors) -> None:
    outputs = some_outputs(anchors, CLASSES + 1, 4)
    positive = matching.match_iou(anchors, *some_targets()[:2]).state == 1
    plain = class_losses_of(ssd_criterion(miner=None), anchors, outputs)
    half = class_losses_of(
        ssd_criterion(miner=None, class_weights=ClassWeights(None, background=0.5)), anchors, outputs
    )
    torch.testing.assert_close(half[positive], plain[positive])
    torch.testing.assert_close(half[~positive], 0.5 * plain[~positive])
    weights = torch.tensor([1.0, 2.0, 6.0])
    by_sum = ClassWeights(weights, background=None)
    third = class_losses_of(ssd_criterion(miner=None, class_weights=by_sum), anchors, outputs)
    torch.testing.assert_close(third[~positive], 3.0 * plain[~positive])


def test_class_weights_of_each_batch(anchors: Anchors) -> None:
    outputs, targets = some_outputs(anchors, CLASSES + 1, 4), some_targets()
    matches = matching.match_iou(anchors, targets.boxes, targets.labels)
    labels = targets.labels.gather(1, matches.gt_index)[matches.state == 1]
    weights = losses.class_weights(torch.bincount(labels, minlength=CLASSES), "inverse")
    assert weights.unique().numel() > 1
    dynamic = class_losses_of(ssd_criterion(miner=None, class_weights="inverse"), anchors, outputs)
    fixed = class_losses_of(ssd_criterion(miner=None, class_weights=weights), anchors, outputs)
    assert torch.equal(dynamic, fixed)


def test_a_state_is_kept_by_the_criterion_and_left_alone_in_evaluation(anchors: Anchors) -> None:
    criterion = ssd_criterion(class_loss=losses.seesaw_loss, num_classes=CLASSES)
    outputs, targets = some_outputs(anchors, CLASSES + 1, 4), some_targets()
    matched = criterion(anchors, outputs, targets).stats.matched
    assert criterion.state_dict()["class_state"].tolist() == matched.tolist() != [0] * CLASSES
    criterion.eval()(anchors, outputs, targets)
    assert criterion.class_state.tolist() == matched.tolist()
    criterion.train()(anchors, outputs, targets)
    assert criterion.class_state.tolist() == (2 * matched).tolist()
    with pytest.raises(ValueError, match="Expected num_classes"):
        ssd_criterion(class_loss=losses.seesaw_loss)
    assert ssd_criterion(class_loss=losses.ghm_loss).class_state is None
    with_momentum = partial(losses.ghm_loss, momentum=0.5, bins=7)
    assert ssd_criterion(class_loss=with_momentum, num_classes=CLASSES).class_state.shape == (7,)


def test_a_loss_that_adds_up_to_its_batch_is_not_divided(anchors: Anchors) -> None:
    """GHM's densities are of all elements; the ignored ones are no part of them."""
    outputs, targets = some_outputs(anchors, CLASSES, 4), some_targets()
    ignoring = partial(matching.match_iou, positive=0.6, negative=0.3)
    matches = ignoring(anchors, targets.boxes, targets.labels)
    assert (matches.state == -1).any()
    label = torch.full_like(matches.gt_index, CLASSES)
    label[matches.state == 1] = targets.labels.gather(1, matches.gt_index)[matches.state == 1]
    label[matches.state == -1] = -1
    criterion = ssd_criterion(class_loss=losses.ghm_loss, miner=None, matcher=ignoring)
    expected = losses.ghm_loss(outputs.logits, label, reduction="sum")
    assert criterion(anchors, outputs, targets).classification.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_a_matcher_by_predictions_gets_them_decoded(anchors: Anchors, kind: str) -> None:
    class_loss = losses.sigmoid_focal_loss if kind == "sigmoid" else losses.cross_entropy
    criterion = ssd_criterion(matcher=matching.match_task_aligned, class_loss=class_loss, miner=None)
    outputs, targets = some_outputs(anchors, CLASSES + (kind == "softmax"), 4), some_targets()
    scores = outputs.logits.float().sigmoid() if kind == "sigmoid" else outputs.logits.float().softmax(-1)
    boxes = DeltaCoder().decode(anchors.boxes, outputs.deltas.float())
    expected = matching.match_task_aligned(
        anchors, targets.boxes, targets.labels, scores=scores.detach(), predictions=boxes.detach()
    )
    got = criterion(anchors, outputs, targets)
    assert got.positives == (expected.state == 1).sum() > 0
    got.total.backward()
    assert outputs.deltas.grad.isfinite().all()


def test_random_sampling_goes_by_the_state_alone(anchors: Anchors) -> None:
    torch.manual_seed(0)
    sampled = partial(mining.random_balanced, count=6)
    outputs = some_outputs(anchors, CLASSES + 1, 4)
    got = ssd_criterion(miner=sampled, normalizer="samples")(anchors, outputs, some_targets())
    assert got.divisor == 3 * 6


def test_what_was_matched_and_predicted_is_counted_by_class(anchors: Anchors) -> None:
    targets, outputs = some_targets(), some_outputs(anchors, CLASSES + 1, 4)
    got = ssd_criterion()(anchors, outputs, targets)
    matches = matching.match_iou(anchors, targets.boxes, targets.labels)
    positive = matches.state == 1
    labels = targets.labels.gather(1, matches.gt_index)[positive]
    assert got.stats.matched.tolist() == torch.bincount(labels, minlength=CLASSES).tolist()
    assert (
        got.stats.predicted.tolist()
        == torch.bincount(outputs.logits[positive].argmax(1), minlength=CLASSES + 1).tolist()
    )


def test_normalizers_divide_by_what_they_name(anchors: Anchors) -> None:
    targets, outputs = some_targets(), some_outputs(anchors, CLASSES + 1, 4)
    by_count = ssd_criterion()(anchors, outputs, targets)
    count = by_count.positives.item()
    by_batch = ssd_criterion(normalizer="batch")(anchors, outputs, targets)
    assert by_batch.total.item() == pytest.approx(by_count.total.item() * count / 3, rel=1e-9)
    by_samples = ssd_criterion(normalizer="samples")(anchors, outputs, targets)
    state = matching.match_iou(anchors, targets.boxes, targets.labels).state
    samples = int(((state == 1).sum(1) * 4).clamp(max=len(anchors)).sum())
    assert by_samples.total.item() == pytest.approx(by_count.total.item() * count / samples, rel=1e-9)
    alone = [
        ssd_criterion()(
            anchors, DenseOutputs(*(o[i : i + 1] for o in outputs[:2])), Targets(*(t[i : i + 1] for t in targets))
        )
        for i in range(3)
    ]
    by_image = ssd_criterion(normalizer="image")(anchors, outputs, targets)
    assert by_image.total.item() == pytest.approx(sum(part.total.item() for part in alone) / 3, rel=1e-9)


def test_ignored_targets_are_neither_objects_nor_background(anchors: Anchors) -> None:
    targets = some_targets()
    ignoring = targets._replace(ignore=torch.tensor([[False, True], [False, False], [False, False]]))
    outputs = some_outputs(anchors, CLASSES + 1, 4)
    criterion = ssd_criterion(matcher=partial(matching.match_iou, ignore_ioa=0.3), miner=None)
    plain, with_ignore = (criterion(anchors, outputs, t) for t in (targets, ignoring))
    assert with_ignore.positives.item() < plain.positives.item()
    gradient = torch.autograd.grad(with_ignore.total, outputs.logits)[0]
    state = criterion.matcher(anchors, ignoring.boxes, ignoring.labels, ignore=ignoring.ignore).state
    assert (state == -1).any()
    assert gradient[state == -1].abs().max().item() == 0
    assert (gradient[state >= 0].abs().sum(-1) > 0).all()


def test_boxes_are_only_decoded_where_a_loss_needs_them(anchors: Anchors) -> None:
    """IoU losses see pixels, delta losses see deltas: never the one for the other."""

    @losses.box_loss(space="boxes")
    def seen(pred: Tensor, target: Tensor) -> Tensor:
        assert target.max() > 30  # pixels
        return (pred - target).abs().sum(1)

    targets, outputs = some_targets(), some_outputs(anchors, CLASSES + 1, 4)
    got = ssd_criterion(box_loss=seen)(anchors, outputs, targets)
    assert got.box.item() > ssd_criterion()(anchors, outputs, targets).box.item()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalizer": "anchors"}, "one of"),
        ({"normalizer": "quality"}, "soft targets"),
        ({"class_loss": lambda logits, targets: logits}, "declared by @bw.class_loss"),
        ({"coder": DistributionCoder(8)}, "on deltas"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ssd_criterion(**options)


@pytest.mark.parametrize("make", [ssd_criterion, gfl_criterion])
def test_the_losses_of_the_anchors_add_up_to_the_batch_s(anchors: Anchors, make: Any) -> None:
    criterion = make()
    columns = CLASSES + (criterion.class_info.kind == "softmax")
    targets, outputs = some_targets(), some_outputs(anchors, columns, criterion.coder.dim)
    losses, parts = criterion(anchors, outputs, targets), criterion.per_anchor(anchors, outputs, targets)
    divisor = losses.divisor.clamp(min=1)
    kept = parts.counted[parts.positives.image, parts.positives.anchor]
    assert torch.allclose((parts.classification * parts.counted).sum() / divisor, losses.classification)
    assert torch.allclose((parts.box * kept).sum() / divisor, losses.box)
    distribution = losses.terms.get("distribution", torch.tensor(0.0))
    assert torch.allclose((parts.distribution * kept).sum() / divisor, distribution.to(parts.box.dtype))


def test_the_losses_with_other_matches(anchors: Anchors) -> None:
    """All negative: each anchor's loss as background, and no positives."""
    targets, outputs = some_targets(), some_outputs(anchors, CLASSES + 1, 4)
    matches = matching.match_iou(anchors, targets.boxes, targets.labels)
    nothing = matches._replace(state=torch.zeros_like(matches.state))
    parts = ssd_criterion().per_anchor(anchors, outputs, targets, nothing)
    assert torch.allclose(parts.classification, -outputs.logits.log_softmax(-1)[..., CLASSES])
    assert len(parts.box) == 0


def test_how_the_loss_is_shared_out(anchors: Anchors) -> None:
    targets, outputs = some_targets(), some_outputs(anchors, CLASSES + 1, 4)
    criterion = ssd_criterion()
    losses, parts = criterion(anchors, outputs, targets), criterion.per_anchor(anchors, outputs, targets)
    hard, of_positives = 0, 0.0
    positives = list(zip(*(x.tolist() for x in parts.positives[:3]), strict=True))
    for image, anchor, label in positives:
        hard += bool(outputs.logits[image, anchor].softmax(0)[label] < 0.5)
        of_positives += parts.classification[image, anchor].item()
    assert 0 < hard < len(positives) or hard == len(positives)
    assert losses.stats.hard_positives.item() == pytest.approx(hard / len(positives))
    total = (parts.classification * parts.counted).sum().item()
    assert losses.stats.positive_share.item() == pytest.approx(of_positives / total)
    empty = criterion(anchors, outputs, Targets(targets.boxes[:, :0], targets.labels[:, :0], targets.ignore[:, :0]))
    assert (empty.stats.hard_positives.item(), empty.stats.positive_share.item()) == (0, 0)


def test_boxes_of_each_image_are_supervised_as_those_of_the_batch(anchors: Anchors) -> None:
    targets, outputs = some_targets(), some_outputs(anchors, CLASSES + 1, 4)
    criterion = ssd_criterion()
    whole = criterion(anchors.boxes, outputs, targets)
    flat = RoIOutputs(outputs.logits.flatten(0, 1), outputs.deltas.flatten(0, 1))
    apart = roi_losses(criterion, [anchors.boxes] * 3, flat, targets)
    assert torch.equal(apart.total, whole.total)
    assert all(map(torch.equal, apart.stats, whole.stats))

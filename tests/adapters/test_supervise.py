"""torchvision's detectors under our criterion: their rules give their losses, ours train, and prediction is theirs."""

from __future__ import annotations

import copy
import pickle
import runpy
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign
from torchvision_models import (
    BLOCKS,
    CLASSES,
    MAKERS,
    ROOT,
    SIZES,
    WIDTH,
    Pyramid,
    images_and_targets,
    losses_and_gradients,
    make,
    others,
    rules,
)

import boxwright as bw
from boxwright import losses, matching, mining
from boxwright.adapters.torchvision import supervise
from boxwright.adapters.torchvision.supervise import _tell_grids
from boxwright.coding import DeltaCoder, DistributionCoder
from boxwright.criterion import ClassWeights
from boxwright.matching import iou as iou_rules
from boxwright.matching._grid import GridOverlaps
from boxwright.matching.iou import ForceRule

EXAMPLE = ROOT / "examples" / "torchvision_ciou.py"


@pytest.mark.parametrize("name", MAKERS)
def test_torchvisions_rules_give_its_losses_and_gradients(name: str) -> None:
    theirs = make(name)
    ours = copy.deepcopy(theirs)
    supervise(ours, **rules(name))
    wanted, wanted_gradients = losses_and_gradients(theirs)
    got, gradients = losses_and_gradients(ours)
    assert got.keys() == wanted.keys()
    assert min(wanted.values()) > 1e-4
    for term, value in wanted.items():
        torch.testing.assert_close(got[term], value, rtol=1e-5, atol=0, msg=term)
    assert gradients.keys() == wanted_gradients.keys()
    for parameter, value in wanted_gradients.items():
        torch.testing.assert_close(gradients[parameter], value, rtol=1e-4, atol=1e-5, msg=parameter)


@pytest.mark.parametrize("part", ["criterion", "roi"])
def test_either_stage_of_faster_rcnn_alone(part: str) -> None:
    model = make("faster_rcnn")
    wanted, _ = losses_and_gradients(copy.deepcopy(model))
    supervise(model, **{"criterion": None, part: others("faster_rcnn")[part]})
    got, _ = losses_and_gradients(model)
    changed = {term for term in wanted if not torch.equal(got[term], wanted[term])}
    assert (
        changed
        == {
            "criterion": {"loss_objectness", "loss_rpn_box_reg"},
            "roi": {"loss_classifier", "loss_box_reg"},
        }[part]
    )


@pytest.mark.parametrize("name", MAKERS)
def test_other_rules_train(name: str) -> None:
    model = make(name)
    supervise(model, **others(name))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    totals = []
    for _ in range(12):
        found = model.train()(*images_and_targets())
        total = sum(found.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        assert all(torch.isfinite(value) for value in found.values()), found
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0], totals


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_matching_and_targets_by_predictions(name: str) -> None:
    model = make(name)
    criterion = bw.DenseCriterion(
        matcher=matching.match_task_aligned,
        coder=rules(name)["criterion"].coder,
        class_loss=losses.quality_focal_loss,
        box_loss=losses.giou_loss,
        normalizer="quality",
    )
    supervise(model, criterion)
    found, gradients = losses_and_gradients(model)
    assert all(0 < value < torch.inf for value in found.values()), found
    assert gradients.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("name", MAKERS)
def test_prediction_and_state_dict_stay_as_they_are(name: str) -> None:
    theirs = make(name).eval()
    ours = copy.deepcopy(theirs)
    supervise(ours, **rules(name))
    images, _ = images_and_targets()
    for wanted, got in zip(theirs(images), ours(images), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("name", MAKERS)
def test_the_classes_of_torchvision_are_left_alone(name: str) -> None:
    theirs = make(name)
    before, _ = losses_and_gradients(theirs)
    supervise(make(name), **others(name))
    after, _ = losses_and_gradients(theirs)
    assert after == before


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_learn_by_a_criterion_of_their_own(name: str, copied: Callable[[nn.Module], nn.Module]) -> None:
    model = make(name)
    supervise(model, **others(name))
    twin = copied(model)
    wanted, _ = losses_and_gradients(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    got, gradients = losses_and_gradients(twin)
    assert got == wanted
    assert any(gradient.any() for gradient in gradients.values())
    criteria = [module for module in twin.modules() if isinstance(module, bw.DenseCriterion)]
    assert len(criteria) == len(others(name))
    assert not set(criteria) & set(model.modules())


def test_a_second_criterion_replaces_the_first() -> None:
    model = make("ssd")
    supervise(model, **others("ssd"))
    supervise(model, **rules("ssd"))
    once = make("ssd")
    supervise(once, **rules("ssd"))
    assert losses_and_gradients(model)[0] == losses_and_gradients(once)[0]
    assert len(model.anchor_generator._forward_hooks) == 1


@pytest.mark.parametrize("name", MAKERS)
def test_grids_are_those_of_the_anchors(name: str) -> None:
    """Anchors are the same for every image of a batch, and each level's grid, pitch and shapes make its boxes."""
    model = make(name)
    supervise(model, **rules(name))
    heads = model.rpn if name == "faster_rcnn" else model
    kept = []
    heads.anchor_generator.register_forward_hook(lambda _, __, anchors: kept.append(anchors))
    losses_and_gradients(model)
    (anchors,) = kept
    last = (48, 48) if name == "ssd" else (48, 64)
    assert [level.pitch for level in anchors.grids.levels] == [(8, 8), (16, 16), (32, 32), last]
    assert len(anchors) == 3
    assert all(torch.equal(boxes, anchors.grids.boxes) for boxes in anchors)
    assert anchors.grids.regular
    start = 0
    for level in anchors.grids.levels:
        rows, columns = (
            (torch.arange(cells) + level.offset) * pitch for cells, pitch in zip(level.grid, level.pitch, strict=True)
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centers = torch.stack([x, y], -1).unsqueeze(-2)
        boxes = torch.cat([centers - level.shapes / 2, centers + level.shapes / 2], -1).reshape(-1, 4)
        torch.testing.assert_close(boxes, anchors[0][start : start + len(boxes)], rtol=0, atol=1e-4)
        start += len(boxes)
    assert start == len(anchors[0])


@pytest.mark.parametrize("size", [(300, 300), (200, 300)])
@pytest.mark.parametrize("force", ["bipartite", "ties", "last", None])
def test_default_boxes_are_matched_by_their_cells_as_by_all_of_them(
    force: ForceRule, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    scales = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
    generator = DefaultBoxGenerator(ratios, scales=scales, steps=[8, 16, 32, 64, 100, 300])
    generator.register_forward_hook(_tell_grids)
    maps = [torch.zeros(2, 1, cells, cells) for cells in (38, 19, 10, 5, 3, 1)]
    grids = generator(ImageList(torch.zeros(2, 3, *size), [size] * 2), maps).grids
    assert grids.regular
    corners, sides = torch.rand(2, 20, 2) * 250, torch.exp(torch.rand(2, 20, 2) * 5)
    sides[:, :8] = sides[:, :8].round()  # ties
    boxes, labels = torch.cat([corners, corners + sides], -1), torch.zeros(2, 20, dtype=torch.int64)
    used = []
    monkeypatch.setattr(iou_rules, "GridOverlaps", lambda *a, **k: used.append(1) or GridOverlaps(*a, **k))
    sparse = matching.match_iou(grids, boxes, labels, force=force)
    assert used
    dense = matching.match_iou(grids.boxes, boxes, labels, force=force)
    assert all(torch.equal(a, b) for a, b in zip(sparse, dense, strict=True))


@pytest.mark.parametrize("name", MAKERS)
def test_no_objects_at_all(name: str) -> None:
    model = make(name).train()
    supervise(model, **others(name))
    images, targets = images_and_targets()
    found = model(images, [targets[2]] * 3)
    sum(found.values()).backward()
    assert all(torch.isfinite(value) for value in found.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", MAKERS)
def test_crowds_are_ignored(name: str) -> None:
    """A crowd is no object; under it nothing is background."""
    model = make(name).train()
    supervise(model, **rules(name))
    images, targets = images_and_targets()
    counts = []
    for criterion in (module for module in model.modules() if isinstance(module, bw.DenseCriterion)):
        criterion.register_forward_hook(lambda _, inputs, found: counts.append((inputs[2], int(found.positives))))
    model(images[:1], [targets[0] | {"iscrowd": torch.tensor([0, 1, 0])}])
    plain = model(images[:1], [targets[0]])
    crowded = counts[: len(counts) // 2]
    for (seen, positives), (_, all_positives) in zip(crowded, counts[len(counts) // 2 :], strict=True):
        assert seen.ignore.tolist() == [[False, True, False]]
        assert 0 < positives < all_positives
    zeros = model(images[:1], [targets[0] | {"iscrowd": torch.zeros(3, dtype=torch.int64)}])
    assert all(torch.equal(zeros[term], plain[term]) for term in plain)


def test_random_rois_are_chosen_before_features_are_pooled() -> None:
    model = make("faster_rcnn").train()
    criteria = rules("faster_rcnn")
    criteria["roi"].miner = partial(mining.random_balanced, count=12, positive_fraction=0.25)
    supervise(model, **criteria)
    pooled, counted = [], []
    model.roi_heads.box_roi_pool.register_forward_hook(lambda _, inputs, __: pooled.extend(inputs[1]))
    heads = model.roi_heads
    heads.criterion.register_forward_hook(lambda _, inputs, found: counted.append((found, inputs[3].state)))
    model(*images_and_targets())
    assert [len(boxes) for boxes in pooled] == [12, 12, 12]
    ((found, state),) = counted
    assert found.divisor == 36
    first, second, third = (state == 1).sum(1).tolist()
    assert (first, third) == (3, 0)
    assert 1 <= second <= 3
    assert found.positives == first + second


def test_strides_of_fcos_are_the_sides_of_its_anchors() -> None:
    """Its ranges of sizes go by them, also where its cells lie closer together."""
    model = make("fcos").train()
    criterion = rules("fcos")["criterion"]
    seen = []
    supervise(model, criterion)
    model.criterion.register_forward_hook(lambda _, inputs, __: seen.extend(inputs[0].levels))
    images, targets = images_and_targets()
    model(images[1:], targets[1:])  # padded to 96 x 96
    assert [level.pitch for level in seen] == [(8, 8), (16, 16), (32, 32), (48, 48)]
    assert [level.stride for level in seen] == [8, 16, 32, 64]


def test_centerness_outside_a_target_is_finite() -> None:
    """Other matchers than by points may take an anchor whose center is outside: its centerness is 0."""
    model = make("fcos").train()
    criterion = rules("fcos")["criterion"]
    criterion.matcher = partial(matching.match_iou, force="bipartite")
    supervise(model, criterion)
    images, _ = images_and_targets()
    narrow = {"boxes": torch.tensor([[9.0, 9.0, 9.5, 9.5]]), "labels": torch.tensor([1])}
    found = model(images[:1], [narrow])
    sum(found.values()).backward()
    assert found["bbox_ctrness"] > 0
    assert all(torch.isfinite(value) for value in found.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", MAKERS)
def test_autocast(name: str) -> None:
    model = make(name).train()
    supervise(model, **rules(name))
    wanted, _ = losses_and_gradients(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(*images_and_targets())
    for term, value in found.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.detach(), wanted[term], rtol=0.1, atol=0.02)


def test_a_criterion_is_a_part_of_its_model() -> None:
    model = make("ssd").eval()
    criterion = bw.DenseCriterion(
        matcher=matching.match_iou,
        coder=DeltaCoder(),
        class_loss=losses.seesaw_loss,
        box_loss=losses.smooth_l1_loss,
        num_classes=CLASSES,
        class_weights=torch.ones(CLASSES),
    )
    supervise(model, criterion)
    assert criterion.training  # the model has a copy
    assert not model.criterion.training
    losses_and_gradients(model)
    assert model.state_dict()["criterion.class_state"].sum() > 0  # what seesaw counted is kept with the weights
    assert model.to("meta").criterion.class_weights.fixed.device.type == "meta"


def test_ssdlite() -> None:
    torch.manual_seed(0)
    theirs = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES + 1)
    ours = copy.deepcopy(theirs)
    supervise(ours, **rules("ssd"))
    (wanted, _), (got, _) = losses_and_gradients(theirs), losses_and_gradients(ours)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("ssd", [0, 1, 2], r"Expected labels in 1\.\.3, .*but got 0\.\.3"),
        ("ssd", [4, 1, 2], r"but got 1\.\.4"),
        ("retinanet", [4, 1, 2], r"Expected labels in 0\.\.3, .*but got 1\.\.4"),
        ("fcos", [-1, 1, 2], r"but got -1\.\.3"),
        ("faster_rcnn", [0, 1, 2], r"Expected labels in 1\.\.3"),
    ],
)
def test_labels_out_of_range(name: str, labels: list[int], message: str) -> None:
    """A label 0 would be padding, and one beyond the last background, without a word."""
    model = make(name).train()
    supervise(model, **rules(name))
    images, targets = images_and_targets()
    targets[0]["labels"] = torch.tensor(labels)
    with pytest.raises(ValueError, match=message):
        model(images, targets)


def test_class_weights_of_another_number() -> None:
    model = make("retinanet").train()
    criterion = rules("retinanet")["criterion"]
    criterion.class_weights = ClassWeights(torch.ones(CLASSES))
    supervise(model, criterion)
    with pytest.raises(ValueError, match=r"Expected class_weights \(4,\) .* but got \(3,\)"):
        model(*images_and_targets())


def test_the_documented_loop() -> None:
    """The first example of the documentation, on a small model in place of its large one."""
    (text,) = (block for block in BLOCKS if "loader" in block)
    text = text.replace('ssd300_vgg16(weights="DEFAULT")', "small()").replace("    ...\n", "")
    names: dict[str, Any] = {"small": lambda: make("ssd").train(), "loader": [images_and_targets()]}
    exec(text, names)
    assert names["loss_dict"].keys() == {"classification", "bbox_regression"}
    assert all(p.grad is not None for p in names["model"].head.parameters())


def test_what_a_model_cannot_be_taught_by() -> None:
    ssd, retinanet = rules("ssd")["criterion"], rules("retinanet")["criterion"]
    rcnn = rules("faster_rcnn")
    refusals: list[tuple[str, dict[str, Any], str]] = [
        ("ssd", {"criterion": retinanet}, "Expected a class loss of softmax classifiers for SSD"),
        ("retinanet", {"criterion": ssd}, "Expected a class loss of sigmoid classifiers for RetinaNet"),
        ("fcos", {"criterion": retinanet}, r"Expected the coder DistanceCoder\(.*\), which FCOS .* but got DeltaCoder"),
        ("faster_rcnn", {"criterion": ssd}, "sigmoid classifiers for the RPN"),
        ("faster_rcnn", {"criterion": None, "roi": retinanet}, "softmax classifiers for the RoI head"),
        ("faster_rcnn", {"criterion": None}, "None twice"),
        ("ssd", {"criterion": None}, "Expected a criterion"),
        ("ssd", {"criterion": ssd, "roi": rcnn["roi"]}, "roi for Faster R-CNN alone"),
    ]
    for name, criteria, message in refusals:
        with pytest.raises(ValueError, match=message):
            supervise(make(name), **criteria)
    for coder in (DeltaCoder((1, 1, 1, 1)), DistributionCoder()):
        ssd.coder = coder
        with pytest.raises(ValueError, match=r"Expected the coder DeltaCoder\(weights=\(10.*\), which SSD"):
            supervise(make("ssd"), ssd)
    rules_of = {name: getattr(rcnn["roi"], name) for name in ("coder", "class_loss", "box_loss")}
    rcnn["roi"] = bw.DenseCriterion(matcher=partial(matching.match_atss, top=3), **rules_of)
    model = make("faster_rcnn")
    with pytest.raises(ValueError, match="Expected a matcher by IoU for the RoI head but got one that needs grid"):
        supervise(model, rcnn["criterion"], roi=rcnn["roi"])
    assert not any(isinstance(module, bw.DenseCriterion) for module in model.modules())  # not by half


def test_masks_keep_torchvisions_choice_of_rois() -> None:
    torch.manual_seed(0)
    model = MaskRCNN(
        Pyramid(),
        CLASSES + 1,
        rpn_anchor_generator=AnchorGenerator(((16,), (32,), (64,), (96,)), ((1.0,),) * 4),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 3, 2),
        box_head=TwoMLPHead(WIDTH * 9, 1024),
        mask_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 4, 2),
        **SIZES,
    ).train()
    criteria = rules("faster_rcnn")
    with pytest.raises(ValueError, match="Expected roi=None with masks or keypoints"):
        supervise(model, None, roi=criteria["roi"])
    supervise(model, criteria["criterion"])
    images, targets = images_and_targets()
    for image, target in zip(images, targets, strict=True):
        target["masks"] = torch.ones(len(target["labels"]), *image.shape[1:], dtype=torch.uint8)
    found = model(images, targets)
    assert {"loss_mask", "loss_objectness"} <= found.keys()
    assert all(torch.isfinite(value) for value in found.values())


def test_other_models_are_refused() -> None:
    criterion = rules("ssd")["criterion"]
    with pytest.raises(ValueError, match=r"torchvision's SSD, SSDLite, RetinaNet, FCOS or Faster R-CNN but got Linear"):
        supervise(nn.Linear(1, 1), criterion)
    model = make("ssd")
    model.anchor_generator = nn.Identity()
    with pytest.raises(ValueError, match="Expected torchvision's AnchorGenerator or DefaultBoxGenerator but got Ident"):
        supervise(model, criterion)


@pytest.mark.slow
def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--steps", "8", "--size", "64", "--images", "6", "--batch", "2"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *options])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "bbox_regression" in capsys.readouterr().out

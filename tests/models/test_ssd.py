"""SSD300, SSD512, SSD-Tensorflow's SSD300, Tiny-Detector: published sizes and numbers, any backbone, and learning."""

import warnings
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

import boxwright as bw
from boxwright.boxes import convert_boxes
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.models import DenseDetector
from boxwright.models.ssd import L2Norm, Predictors
from boxwright.recipes import get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.training.checkpoints import LastCheckpoint
from boxwright.types import DenseOutputs, Targets

LITE = {"backbone": "tf_efficientnet_lite0"}
NAMES = ["ssd300", "ssd300-pool", "ssd300-tf", "ssd512", "tiny-detector"]
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ssd_tf.npz")
SCENES = ["normal", "one_empty", "crowded", "ties_flat", "ties_quant", "big_logits", "all_empty"]


@pytest.fixture(scope="module")
def lite() -> Callable[[str], DenseDetector]:
    """Each detector of three classes on the light backbone, built once; nothing may change it."""
    built: dict[str, DenseDetector] = {}

    def get(name: str) -> DenseDetector:
        if name not in built:
            torch.manual_seed(0)
            built[name] = bw.create_detector(name, 3, **LITE).eval()
        return built[name]

    return get


def no_targets(images: int) -> Targets:
    return Targets(torch.zeros(images, 0, 4), torch.zeros(images, 0).long(), torch.zeros(images, 0).bool())


def some_images(side: int, images: int = 1) -> Tensor:
    return torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(1))


def stem_and_own(detector: DenseDetector) -> dict[str, nn.Parameter]:
    """The backbone's first parameter and all that aren't the backbone's."""
    own = {path: p for path, p in detector.net.named_parameters() if not path.startswith("backbone")}
    return {"stem": next(detector.net.backbone.parameters()), **own}


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "anchors"),
    [
        ("ssd300", 20, 26_285_486, 8732),  # 26.3 M in the literature
        ("ssd300", 90, 35_641_826, 8732),  # torchvision's ssd300_vgg16
        ("ssd300-tf", 20, 26_285_486, 8732),
        ("ssd300-pool", 20, 26_072_697, 7308),
        ("ssd512", 20, 27_188_676, 24564),
    ],
)
def test_published_sizes(name: str, classes: int, parameters: int, anchors: int) -> None:
    detector = bw.create_detector(name, classes, pretrained=False)
    side = detector.recipe.image_size
    assert sum(p.numel() for p in detector.parameters()) == parameters
    assert len(detector.anchors) == anchors
    outputs = detector.to("meta")(torch.zeros(2, 3, side, side, device="meta"))
    assert outputs.logits.shape == (2, anchors, classes + 1)
    assert outputs.deltas.shape == (2, anchors, 4)


def test_ssd512_by_hand() -> None:
    """Kernel area, channels in and out of every layer as the paper and its authors' network have them."""
    vgg = [(9, 3, 64), (9, 64, 64), (9, 64, 128), (9, 128, 128), (9, 128, 256), *[(9, 256, 256)] * 2]
    vgg += [(9, 256, 512), *[(9, 512, 512)] * 5]
    layers = [*vgg, (9, 512, 1024), (1, 1024, 1024), (1, 1024, 256), (9, 256, 512), (1, 512, 128), (9, 128, 256)]
    layers += [*[(1, 256, 128), (9, 128, 256)] * 2, (1, 256, 128), (16, 128, 256)]
    maps = zip([512, 1024, 512, 256, 256, 256, 256], [4, 6, 6, 6, 6, 4, 4], strict=True)
    layers += [(9, channels, shapes * (21 + 4)) for channels, shapes in maps]
    assert sum(area * before * after + after for area, before, after in layers) + 512 == 27_188_676


def test_ssd300_pool_by_hand() -> None:
    """It lacks the last stage of ssd300, has a shape less on the cells of the first, two more on those of two."""
    stage = (256 + 1) * 128 + (9 * 128 + 1) * 256
    shapes = 25 * (-(9 * 512 + 1) + 2 * 2 * (9 * 256 + 1))
    assert 26_285_486 - stage + shapes == 26_072_697


@torch.no_grad()
def test_the_last_map_of_ssd300_pool_is_the_mean_of_the_one_before(lite: Callable[[str], DenseDetector]) -> None:
    net = lite("ssd300-pool").net
    seen: list[Tensor] = []
    handle = net.predictors.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    net(some_images(300, 2))
    handle.remove()
    assert [x.shape[-1] for x in seen] == [38, 19, 10, 5, 3, 1]
    torch.testing.assert_close(seen[-1], seen[-2].mean((2, 3), keepdim=True))


def test_anchors_from_bounds_in_a_recipe() -> None:
    options = {**LITE, "anchors": "ssd_bounds:s_min=0.15,rule=authors"}
    detector = bw.create_detector("ssd300-pool", 3, **options)
    assert torch.equal(detector.anchors.boxes, bw.anchors.make_anchors(bw.anchors.SSD300_COCO, 300).boxes)


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_cells_of_their_anchors(lite: Callable[[str], DenseDetector], name: str) -> None:
    detector = lite(name)
    seen: list[Tensor] = []
    handle = detector.net.predictors.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    with torch.no_grad():
        outputs = detector(some_images(detector.recipe.image_size))
    handle.remove()
    assert [tuple(x.shape[-2:]) for x in seen] == [level.grid for level in detector.anchors.levels]
    assert outputs.logits.shape == (1, len(detector.anchors), 4)
    assert outputs.deltas.shape == (1, len(detector.anchors), 4)


def test_norm_scales_each_cell_to_twenty() -> None:
    x = torch.rand(2, 5, 3, 3)
    torch.testing.assert_close(L2Norm(5)(x), 20 * x / (x**2).sum(1, keepdim=True).sqrt())
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert L2Norm(5)(torch.zeros(1, 5, 1, 1, dtype=dtype)).isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("branch", "columns"), [("logits", 5), ("deltas", 4)])
def test_a_cell_predicts_for_its_own_anchors(
    lite: Callable[[str], DenseDetector], name: str, branch: str, columns: int
) -> None:
    """What a predictor says of one cell of a map arrives at the anchors on that cell."""
    anchors = lite(name).anchors
    counts = [len(level.shapes) for level in anchors.levels]
    predictors = Predictors([1] * len(counts), counts, torch.zeros(5), 4)
    for number, level in enumerate(anchors.levels):
        for parameter in predictors.parameters():
            nn.init.zeros_(parameter)
        shape, place = len(level.shapes) - 1, columns - 2
        getattr(predictors, branch)[number].weight[columns * shape + place, 0, 1, 1] = 1.0
        maps = [torch.zeros(1, 1, *each.grid) for each in anchors.levels]
        row, column = level.grid[0] - 1, level.grid[1] // 2
        maps[number][0, 0, row, column] = 5.0
        output = dict(zip(("logits", "deltas"), predictors(maps), strict=True))[branch][0]
        assert output.abs().sum() == 5
        anchor, found = divmod(int(output.argmax()), columns)
        assert found == place
        box = anchors.boxes[anchor]
        torch.testing.assert_close((box[:2] + box[2:]) / 2 / level.stride, torch.tensor([column + 0.5, row + 0.5]))
        torch.testing.assert_close(box[2:] - box[:2], level.shapes[shape])


def test_starts_as_the_authors_do(lite: Callable[[str], DenseDetector]) -> None:
    """Xavier weights, no bias: in the stages and in the predictors."""
    net = lite("ssd512").net
    convolutions = [m for part in (net.wide, net.stages, net.predictors) for m in part.modules() if hasattr(m, "bias")]
    assert len(convolutions) == 2 + 2 * 5 + 2 * 7
    for layer in convolutions:
        area = layer.kernel_size[0] * layer.kernel_size[1]
        limit = (6 / area / (layer.in_channels + layer.out_channels)) ** 0.5
        assert 0.9 * limit < layer.weight.abs().max() <= limit
        assert not layer.bias.any()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_layer(name: str) -> None:
    torch.manual_seed(0)
    detector = bw.create_detector(name, 3, miner="none", **LITE).train()
    ends = torch.tensor([level.count for level in detector.anchors.levels]).cumsum(0)
    boxes = detector.anchors.boxes[ends - 1] + 1  # one object for every map
    targets = Targets(boxes[None], torch.zeros(1, len(boxes)).long(), torch.zeros(1, len(boxes)).bool())
    outputs = detector(some_images(detector.recipe.image_size))
    build_criterion(detector.recipe)(detector.anchors, outputs, targets).total.backward()
    for path, parameter in stem_and_own(detector).items():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
        assert parameter.grad.abs().max() > 0, path


@pytest.mark.parametrize("name", NAMES)
def test_images_without_objects(lite: Callable[[str], DenseDetector], name: str) -> None:
    detector = lite(name)
    outputs = detector(some_images(detector.recipe.image_size, 2))
    losses = build_criterion(detector.recipe)(detector.anchors, outputs, no_targets(2))
    gradients = torch.autograd.grad(losses.total, list(stem_and_own(detector).values()))
    assert all(grad.isfinite().all() for grad in gradients)
    assert losses.box == 0
    assert (losses.total > 0) == (name == "ssd300-tf")  # which takes negatives even so: one for two images


@pytest.mark.parametrize("name", ["ssd300", "tiny-detector"])
@pytest.mark.parametrize("miner", ["hard_negatives:ratio=3", "hard_examples"])
def test_steps_on_another_backbone_lower_the_loss(name: str, miner: str) -> None:
    torch.manual_seed(0)
    detector = bw.create_detector(name, 2, miner=miner, **LITE)
    criterion = build_criterion(detector.recipe)
    side = detector.recipe.image_size
    targets = Targets(
        torch.tensor([[[20.0, 30, 120, 150]], [[60.0, 60, 180, 200]]]),
        torch.tensor([[0], [1]]),
        torch.zeros(2, 1).bool(),
    )
    images = detector.normalize(torch.rand(2, 3, side, side) * 255)
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-5)
    totals = []
    for _ in range(4):
        losses = criterion(detector.anchors, detector(images), targets)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(losses.total.item())
    assert totals[-1] < totals[0]


def test_the_tutorial_takes_the_mean_of_l1() -> None:
    recipe = get_recipe("tiny-detector", classes=["a"], box_loss="l1", box_weight=0.25)
    criterion = build_criterion(recipe)
    anchors = bw.anchors.make_anchors(bw.anchors.TINY_441, 224)
    outputs = DenseOutputs(torch.zeros(1, 441, 2), torch.randn(1, 441, 4))
    targets = Targets(torch.tensor([[[20.0, 30, 120, 150]]]), torch.zeros(1, 1).long(), torch.zeros(1, 1).bool())
    positive = criterion.matcher(anchors, targets.boxes, targets.labels, ignore=targets.ignore).state[0] == 1
    goal = criterion.coder.encode(anchors.boxes[positive], targets.boxes[0])
    torch.testing.assert_close(criterion(anchors, outputs, targets).box, F.l1_loss(outputs.deltas[0, positive], goal))


def scene(name: str, dtype: torch.dtype) -> tuple[Tensor, DenseOutputs, Targets]:
    """Anchors, outputs (which ask for a gradient) and targets of a golden scene; its class 0 is the background."""
    logits, deltas, boxes, centered = (
        torch.from_numpy(GOLDEN[f"{name}_{key}"]).to(dtype) for key in ("logits", "deltas", "boxes", "anchors_cxcywh")
    )
    labels = torch.from_numpy(GOLDEN[f"{name}_labels"]).long() - 1
    outputs = DenseOutputs(logits.roll(-1, dims=-1).requires_grad_(), deltas.requires_grad_())
    return convert_boxes(centered, "cxcywh", "xyxy"), outputs, Targets(boxes, labels, torch.zeros_like(labels).bool())


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("options", [{}, {"matcher": "ssd_tf"}, {"matcher": "ssd_tf:no_annotation=ignore"}])
def test_supervision_of_ssd_tensorflow(
    name: str, dtype: torch.dtype, tolerance: float, options: dict[str, str]
) -> None:
    """From boxes to the sum, as its own functions give them on stand-ins for TensorFlow's operations."""
    anchors, outputs, targets = scene(name, dtype)
    criterion = build_criterion(get_recipe("ssd300-tf", classes=list("abcd"), **options))
    losses = criterion(anchors, outputs, targets)
    losses.total.backward()
    assert losses.classification.item() == pytest.approx(GOLDEN[f"{name}_tf_cls"].item(), rel=tolerance)
    assert losses.box.item() == pytest.approx(GOLDEN[f"{name}_tf_loc"].item(), rel=tolerance)
    assert losses.total == losses.classification + losses.box
    assert losses.positives == GOLDEN[f"{name}_tf_pos"].sum()
    logits, deltas = outputs.logits.grad.roll(1, dims=-1), outputs.deltas.grad
    np.testing.assert_allclose(logits.numpy(), GOLDEN[f"{name}_tf_Gcls"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(deltas.numpy(), GOLDEN[f"{name}_tf_Gloc"], rtol=0, atol=1e-6)
    counted = (logits != 0).any(-1).numpy()
    assert (counted == (GOLDEN[f"{name}_tf_pos"] | GOLDEN[f"{name}_tf_neg"])).all()


def test_ssd_tensorflow_forces_nothing_and_sets_aside_what_is_not_annotated() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4], [20, 0, 30, 10], [23, 0, 33, 10], [50, 0, 60, 10]])
    boxes = torch.tensor([[[1.0, 0, 10, 10], [20, 0, 30, 30], [24, 0, 40, 20]]])  # the last isn't annotated
    criterion = build_criterion(get_recipe("ssd300-tf", classes=["a"]))
    ignore = torch.tensor([[False, False, True]])
    matches = criterion.matcher(anchors, boxes, torch.zeros(1, 3).long(), ignore=ignore)
    # covered by it: 6/10 of anchor 2, 9/10 of anchor 3; anchor 2 has an IoU of 1/3 with the second box
    assert matches.state.tolist() == [[1, 0, -1, -1, 0]]


@torch.no_grad()
def test_dropout_is_after_conv6_and_before_the_stages() -> None:
    """Conv7's own predictors see all of it."""
    torch.manual_seed(0)
    net = bw.create_detector("ssd300-tf", 3, pretrained=False, **LITE).net.train()
    inputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        return lambda _, given: inputs.update({name: given[0]})

    net.wide[1].register_forward_hook(lambda _, given, output: inputs.update(conv6=output.clone()))
    net.wide[3].register_forward_pre_hook(keep("conv7"))
    net.stages[0].register_forward_pre_hook(keep("stage"))
    net.predictors.register_forward_pre_hook(keep("maps"))
    net(some_images(300, 2))
    for before, after in ((inputs["conv6"].relu(), inputs["conv7"]), (inputs["maps"][1], inputs["stage"])):
        dropped = (after == 0) & (before > 0)
        torch.testing.assert_close(after, torch.where(dropped, 0, 2 * before))
        assert dropped.sum() / (before > 0).sum() == pytest.approx(0.5, abs=0.01)


@torch.no_grad()
def test_dropout_draws_by_the_seed_and_only_in_training(lite: Callable[[str], DenseDetector]) -> None:
    dropping, plain = lite("ssd300-tf"), lite("ssd300")
    images = some_images(300)
    torch.testing.assert_close(dropping(images), dropping(images), rtol=0, atol=0)
    net = dropping.net
    try:
        net.dropout.train()
        torch.manual_seed(5)
        first, second = dropping(images), dropping(images)
        torch.manual_seed(5)
        torch.testing.assert_close(dropping(images), first, rtol=0, atol=0)
        assert not torch.equal(first.logits, second.logits)
    finally:
        net.dropout.eval()
    assert net.state_dict().keys() == plain.net.state_dict().keys()
    torch.testing.assert_close(plain(images), dropping(images))  # the same seed made both


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ssd300", {"width": 32}, "width has no meaning for ssd300"),
        ("ssd300", {"strides": [8]}, "strides has no meaning"),
        ("ssd300", {"image_size": 600}, "image_size 300"),
        ("ssd300", {"anchors": "tiny_441"}, "6 maps"),
        ("ssd300", {"anchors": "ssd300:clips=sizes"}, "did you mean 'clip'"),
        ("ssd300", {"mean": [1.0]}, "three channels"),
        ("ssd300", {"antialias": False, "resize": "pad"}, "antialias"),
        ("ssd300", {"backbone": "vgg16", "freeze": 6}, "freeze in 0..5"),
        ("ssd300", {"backbone": "convnext_atto"}, "multiple of 16 with backbone 'convnext_atto', .* but got 300"),
        ("ssd300", {"backbone": "vit_tiny_patch16_224"}, "no feature maps"),
        ("ssd300-tf", {"width": 32}, "width has no meaning for ssd300-tf"),
        ("ssd512", {"image_size": 1024}, "ssd512 has image_size 512"),
        ("ssd512", {"anchors": "ssd300"}, "7 maps"),
        ("ssd512", {"distribution_weight": 2.0}, "no meaning for ssd512"),
        ("tiny-detector", {"anchors": "ssd300"}, "one map"),
        ("tiny-detector", {"image_size": 225}, "multiple of 32 with backbone 'vgg16'"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: dict[str, object], message: str) -> None:
    pretrained = {} if "freeze" in options else {"pretrained": False}
    with pytest.raises(RecipeError, match=message):
        bw.create_detector(name, 3, **{**pretrained, **options})


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", ["ssd300-tf", "ssd512"])
def test_compiled_gives_the_same(lite: Callable[[str], DenseDetector], name: str) -> None:
    detector = lite(name)
    images = some_images(detector.recipe.image_size)
    compiled = torch.compile(detector.net, backend="aot_eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(images), detector.net(images), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssd300-tf", "ssd512"])
def test_trains_on_digits_without_a_warning(tmp_path: Path, name: str) -> None:
    digits = make_digits(tmp_path / "digits", images={"train": 4, "val": 2}, size=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = bw.train(
            digits, name, out=tmp_path / "run", console=Console(quiet=True), batch_size=2, epochs=1, freeze=5, **LITE
        )
    found = run.load().predict(np.zeros((50, 70, 3), np.uint8), score=0.0)[0]
    assert len(found.boxes) == 200
    assert found.boxes.isfinite().all()


@pytest.mark.slow
def test_a_resumed_run_drops_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies between two epochs, and ends with the weights of the run that did not."""
    digits = make_digits(tmp_path / "digits", images={"train": 4, "val": 2}, size=64)
    quiet = Console(quiet=True)
    options = {**LITE, "batch_size": 2, "epochs": 2, "freeze": 5, "val_split": None, "console": quiet}
    whole = bw.train(digits, "ssd300-tf", out=tmp_path / "whole", **options)
    write = LastCheckpoint._write

    def and_die(self: LastCheckpoint, trainer: L.Trainer) -> None:
        write(self, trainer)
        if trainer.global_step == 2:
            raise ConnectionError("pulled the plug")

    monkeypatch.setattr(LastCheckpoint, "_write", and_die)
    with pytest.raises(ConnectionError):
        bw.train(digits, "ssd300-tf", out=tmp_path / "part", **options)
    monkeypatch.undo()
    part = bw.train(digits, resume=tmp_path / "part", console=quiet)
    states = [torch.load(run.last_checkpoint, weights_only=True)["current_model_state"] for run in (whole, part)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", ["ssd300", "tiny-detector"])
def test_a_sigmoid_head_starts_from_nothing_here(name: str) -> None:
    """A loss over all anchors would begin enormous at p = .5; the softmax that is mined begins as its authors' does."""
    options = {"pretrained": False, "freeze": 0, "backbone": "tf_efficientnet_lite0"}
    softmax = bw.create_detector(name, 3, **options).net.predictors.logits[0].bias
    assert softmax.eq(0).all()
    sigmoid = bw.create_detector(name, 3, class_loss="sigmoid_focal", miner="none", **options)
    torch.testing.assert_close(
        sigmoid.net.predictors.logits[0].bias.sigmoid(), torch.full((3 * (4 if name == "ssd300" else 9),), 0.01)
    )

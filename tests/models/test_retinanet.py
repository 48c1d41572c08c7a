"""RetinaNet: published size, where it starts, anchors' order, and that it learns."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from two_images import no_targets, some_targets

import boxwright as bw
from boxwright.choices import parse_choice, resolve_choice
from boxwright.coding import DeltaCoder, DistributionCoder
from boxwright.demo_data import make_digits
from boxwright.errors import RecipeError
from boxwright.models import DenseDetector
from boxwright.models.fpn import FPN, PYRAMID_STRIDES
from boxwright.models.heads import flatten_head, init_bias, init_deltas, tower
from boxwright.recipes import get_recipe, parse_settings
from boxwright.recipes.criterion import build_criterion

SMALL = {"backbone": "tf_efficientnet_lite0", "image_size": 128, "width": 32}
SCRATCH = {**SMALL, "pretrained": False, "freeze": 0, "norm_mode": "train"}
ANCHORS = 9 * (16**2 + 8**2 + 4**2 + 2**2 + 1)
TORCHVISION_ANCHORS = "torchvision:sizes=[[32],[64],[128],[256],[512]],strides=[8,16,32,64,128]"
SOFTMAX_FOCAL = ["class_loss=softmax_focal", "class_weights=inverse_sqrt"]
MINED = ["class_loss=cross_entropy", "miner=hard_negatives:ratio=3", "normalizer=positives"]


def small(classes: int = 3, **options: object) -> DenseDetector:
    torch.manual_seed(0)
    return bw.create_detector("retinanet", classes, **{**SCRATCH, **options})


def some_images(size: int = 128) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def published() -> DenseDetector:
    """As torchvision has it: 91 columns, of which it uses 90."""
    return bw.create_detector("retinanet", 91, image_size=256, pretrained=False, freeze=0, norm_mode="train")


def test_published_size(published: DenseDetector) -> None:
    norms = sum(p.numel() for m in published.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    # 34.0 M in torchvision's table, where the backbone's norms are constants
    assert sum(p.numel() for p in published.parameters()) - norms == 34_014_999
    assert len(bw.anchors.make_anchors(bw.anchors.RETINANET, 640)) == 9 * 8525


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18", "vgg16"])
def test_one_row_for_every_anchor_whatever_the_backbone(backbone: str) -> None:
    detector = small(backbone=backbone).eval()
    outputs = detector(torch.zeros(2, 3, 128, 128))
    assert len(detector.anchors) == ANCHORS
    assert outputs.logits.shape == (2, ANCHORS, 3)
    assert outputs.deltas.shape == (2, ANCHORS, 4)


@torch.no_grad()
def test_pyramid_maps() -> None:
    fpn = FPN([5, 6, 7], 4)
    sides = [128 // stride for stride in PYRAMID_STRIDES]
    maps = [torch.randn(1, c, side, side) for c, side in zip([5, 6, 7], sides, strict=False)]
    assert [tuple(x.shape) for x in fpn(maps)] == [(1, 4, side, side) for side in sides]
    moved = [*maps[:2], maps[2] + 1]
    assert all((a != b).any() for a, b in zip(fpn(maps), fpn(moved), strict=True))  # from coarse to fine
    moved = [maps[0] + 1, *maps[1:]]
    assert [bool((a != b).any()) for a, b in zip(fpn(maps), fpn(moved), strict=True)] == [True] + [False] * 4


@torch.no_grad()
@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize(("branch", "columns"), [("logits", 3), ("deltas", 4)])
def test_a_cell_predicts_for_its_own_anchors(level: int, branch: str, columns: int) -> None:
    """With layers that hand on what they get, a mark on a map arrives at the anchor that lies there."""
    detector = small(width=64)
    for conv in detector.net.head.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.dirac_(conv.weight)
            nn.init.zeros_(conv.bias)
    maps = [torch.zeros(1, 64, *each.grid) for each in detector.anchors.levels]
    here = detector.anchors.levels[level]
    row, column, shape, place = here.grid[0] - 1, here.grid[1] // 2, 7, columns - 1
    maps[level][0, columns * shape + place, row, column] = 5.0
    output = dict(zip(("logits", "deltas"), detector.net.head(maps), strict=True))[branch][0]
    assert output.abs().sum() == 5
    anchor, found = divmod(int(output.argmax()), columns)
    assert found == place
    box = detector.anchors.boxes[anchor]
    torch.testing.assert_close((box[:2] + box[2:]) / 2, torch.tensor([column, row]) * float(here.stride))
    torch.testing.assert_close(box[2:] - box[:2], here.shapes[shape])


def test_rows_are_in_order_of_row_column_shape() -> None:
    cells = torch.arange(2 * 6 * 4 * 5).view(2, 6, 4, 5)
    wanted = [
        [[int(cells[b, 3 * s + k, y, x]) for k in range(3)] for y in range(4) for x in range(5) for s in range(2)]
        for b in range(2)
    ]
    assert flatten_head(cells, 3).tolist() == wanted


def test_where_heads_start() -> None:
    torch.testing.assert_close(init_bias(3, 3).sigmoid(), torch.full((3,), 0.01))
    torch.testing.assert_close(init_bias(4, 3).softmax(0), torch.tensor([0.01 / 3] * 3 + [0.99]))
    assert init_deltas(DeltaCoder()).tolist() == [0, 0, 0, 0]
    coder, anchor = DistributionCoder(), torch.tensor([[0.0, 0, 40, 40]])
    box = coder.decode(anchor, init_deltas(coder)[None])
    torch.testing.assert_close(box[:, :2] + box[:, 2:], anchor[:, 2:])  # the same center
    torch.testing.assert_close(box, anchor, rtol=0, atol=8.0)


@torch.no_grad()
@pytest.mark.parametrize("width", [32, 64, 128])
def test_a_narrow_tower_hands_on_as_much_as_the_published_one(width: int) -> None:
    torch.manual_seed(0)
    published, narrow = tower(256), tower(width)
    assert narrow[0].weight.std().item() == pytest.approx(0.01 * (256 / width) ** 0.5, rel=0.05)
    assert published[0].weight.std().item() == pytest.approx(0.01, rel=0.01)
    said, wanted = narrow(torch.randn(1, width, 32, 32)), published(torch.randn(1, 256, 32, 32))
    assert said.abs().mean().item() == pytest.approx(wanted.abs().mean().item(), rel=0.4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["retinanet", "lite320"])
@pytest.mark.parametrize("softmax", [False, True])
def test_an_untrained_detector_says_nothing_and_its_anchors(name: str, softmax: bool) -> None:
    options = {"class_loss": "softmax_focal", "normalizer": "positives"} if softmax else {}
    torch.manual_seed(0)
    detector = bw.create_detector(name, 5, **{**SCRATCH, **options}).eval()
    outputs = detector(some_images())
    objects = outputs.logits.softmax(-1)[..., :5].sum(-1) if softmax else outputs.logits.sigmoid()
    assert objects.mean().item() == pytest.approx(0.01, rel=0.2)
    if name == "retinanet":
        assert 0 < outputs.deltas.abs().mean() < 0.05


@pytest.mark.parametrize("settings", [[], SOFTMAX_FOCAL, ["box_loss=ciou"]])
def test_gradient_reaches_all_that_learns(settings: list[str]) -> None:
    detector = small(**parse_settings(settings)).train()
    criterion = build_criterion(detector.recipe, torch.tensor([5, 1, 30]))
    losses = criterion(detector.anchors, detector(some_images()), some_targets())
    losses.total.backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("settings", [[], SOFTMAX_FOCAL, MINED])
def test_images_without_objects(settings: list[str]) -> None:
    detector = small(**parse_settings(settings)).train()
    losses = build_criterion(detector.recipe)(detector.anchors, detector(some_images()), no_targets())
    losses.total.backward()
    assert losses.box == 0
    assert losses.positives == 0
    assert (losses.classification > 0) == (settings != MINED)  # three negatives for each of no positives
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())


def test_class_weights_go_by_the_data() -> None:
    recipe = get_recipe("retinanet", classes=["a", "b"], **parse_settings(SOFTMAX_FOCAL))
    weights = build_criterion(recipe, torch.tensor([90, 10])).class_weights.fixed
    torch.testing.assert_close(weights, torch.tensor([0.5, 1.5]))  # 1 / sqrt(share), with mean 1


def test_squares_of_atss_take_the_place_of_nine_anchors() -> None:
    detector = small(anchors="squares:strides=[8,16,32,64,128],scale=8", matcher="atss", coder="delta", box_loss="giou")
    assert len(detector.anchors) == ANCHORS // 9
    criterion = build_criterion(detector.recipe)
    assert criterion(detector.anchors, detector(some_images()), some_targets()).positives > 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors": "rpn"}, "maps of strides .* anchors can't be rpn"),
        ({"anchors": "squares"}, "anchors can't be squares"),
        ({"strides": [8, 16, 32]}, "strides has no meaning for retinanet"),
        ({"image_size": 333, "backbone": "vgg16"}, "multiple of 32 with backbone 'vgg16', .* but got 333"),
        ({"image_size": 300, "anchors": TORCHVISION_ANCHORS}, "multiple of 32 with anchors 'torchvision.* but got 300"),
        ({"norm_mode": "frozen"}, "norm_mode train or group with pretrained=false but got frozen"),
        ({"backbone": "resnet51"}, "unknown backbone"),
        ({"backbone": "vit_tiny_patch16_224"}, "vit_tiny_patch16_224"),
        ({"coder": "delta:weights=[1,1"}, "can't read"),
        ({"box_loss": "l1", "coder": "distribution"}, "on deltas"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_criterion(small(**options).recipe)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("mine:Coder:weights=[10,10,5,5]", {"weights": ["10", "10", "5", "5"]}),
        ("mine:Coder: weights=[ 1, 2 ,3,4 ] ", {"weights": ["1", "2", "3", "4"]}),
        ("mine:Coder:a=1,weights=[1.5,2],b=x,c=[3]", {"a": "1", "weights": ["1.5", "2"], "b": "x", "c": ["3"]}),
    ],
)
def test_an_option_takes_a_list(text: str, options: dict[str, object]) -> None:
    assert parse_choice("coder", text) == ("mine:Coder", options)


def test_the_published_coder_does_not_scale(tmp_path: Path) -> None:
    recipe = get_recipe("retinanet", **parse_settings(["coder=delta:weights=[1,1,1,1]"]))
    recipe.save(tmp_path / "recipe.yaml")
    assert get_recipe(tmp_path / "recipe.yaml") == recipe == get_recipe("retinanet")
    coder = resolve_choice("coder", recipe.coder)()
    deltas = coder.encode(torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[1.0, 2, 21, 12]]))
    torch.testing.assert_close(deltas, torch.tensor([[0.6, -0.15, np.log(2), np.log(0.5)]], dtype=torch.float32))


@pytest.mark.slow
def test_compiled_gives_the_same() -> None:
    net = small().net.eval()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(some_images()), net(some_images()), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [[], SOFTMAX_FOCAL, MINED], ids=["published", "softmax_focal", "mined"])
def test_trains_on_digits_without_a_warning(tmp_path: Path, settings: list[str]) -> None:
    digits = make_digits(tmp_path / "digits", images={"train": 8, "val": 2}, size=128)
    options = {**SMALL, "batch_size": 4, "epochs": 2, **parse_settings(settings)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = bw.train(digits, "retinanet", out=tmp_path / "run", console=Console(quiet=True), **options)
    detector = run.load()
    assert detector.recipe.class_loss == options.get("class_loss", "sigmoid_focal:alpha=0.25,gamma=2")
    assert detector.predict(np.zeros((50, 70, 3), np.uint8), score=0.0)[0].boxes.isfinite().all()

"""Parts of one's own in recipes: named, found, described, and never imported because a file says so."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import Tensor

import boxwright as bw
from boxwright import catalog, losses
from boxwright.choices import is_own, name_choice, parse_choice, resolve_choice
from boxwright.errors import RecipeError
from boxwright.own_code import describe_code, folder_of, import_code, own_modules
from boxwright.recipes import get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.training.batches import repeats_of
from boxwright.training.optimizers import make_optimizer
from boxwright.training.schedule import find_schedule
from boxwright.training.step import supervise

CODE = """
    import boxwright as bw

    @bw.box_loss(space="boxes")
    def scaled_giou(pred, target, factor=2.0, *, words=()):
        return factor * bw.losses.giou_loss(pred, target)

    @bw.box_loss(space="boxes")
    def broken(pred, target):
        return pred.nowhere

    def undeclared(pred, target):
        return (pred - target).abs().sum(-1)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file of somebody's in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_parts.py").write_text(dedent(CODE))
    yield "my_parts"
    sys.modules.pop("my_parts", None)


@bw.box_loss(space="boxes", default_weight=2.0)
def own_loss(pred: Tensor, target: Tensor, power: float = 1.0) -> Tensor:
    return (pred - target).abs().sum(-1).pow(power)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("my_parts:scaled_giou", "my_parts:scaled_giou", {}),
        ("my_parts:scaled_giou:factor=3", "my_parts:scaled_giou", {"factor": "3"}),
        ("a.b.c:f:x=[1,2],y=z", "a.b.c:f", {"x": ["1", "2"], "y": "z"}),
        (" my_parts : scaled_giou", None, None),
        ("giou", "giou", {}),
    ],
)
def test_what_names_a_part_of_ones_own(text: str, name: str | None, options: Any) -> None:
    assert is_own("box_loss", text) == (name not in (None, "giou"))
    if name is None:
        with pytest.raises(RecipeError, match="unknown box_loss 'my_parts'"):
            parse_choice("box_loss", text)
    else:
        assert parse_choice("box_loss", text) == (name, options)


def test_options_are_what_the_function_declares_or_what_the_text_reads_as(module: str) -> None:
    import_code([module])
    assert resolve_choice("box_loss", "my_parts:scaled_giou:factor=3").keywords == {"factor": 3}
    assert resolve_choice("box_loss", "my_parts:scaled_giou:words=[a,b]").keywords == {"words": ["a", "b"]}
    assert resolve_choice("box_loss", f"{__name__}:own_loss:power=2").keywords == {"power": 2.0}
    with pytest.raises(RecipeError, match="has no option 'facto'; did you mean 'factor'"):
        resolve_choice("box_loss", "my_parts:scaled_giou:facto=3")


def test_only_what_is_declared_for_the_key_is_called(module: str) -> None:
    import_code([module])
    for text, why in (
        (
            "my_parts:undeclared",
            r"my_parts:undeclared is no box_loss: it declares nothing; declare it with @bw.box_loss",
        ),
        ("os:system", "os:system is no box_loss: it declares nothing"),
        ("boxwright.losses:cross_entropy", "is declared as class_loss"),
        ("my_parts:scaled_gio", "the module my_parts has no scaled_gio; did you mean 'scaled_giou'"),
    ):
        with pytest.raises(RecipeError, match=why):
            resolve_choice("box_loss", text)


def test_a_file_imports_nothing(module: str, tmp_path: Path) -> None:
    """A downloaded recipe that names code: it is read, and refused where the part is needed."""
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    file = tmp_path / "recipe.yaml"
    file.write_text("detector: lite320\nbox_loss: evil:run\nclasses: [a]\n")
    recipe = get_recipe(file)
    with pytest.raises(RecipeError, match=r"box_loss is evil:run, code of the module evil.*--allow-code evil"):
        build_criterion(recipe)
    assert "evil" not in sys.modules
    file.write_text("detector: lite320\nbox_loss: my_parts:scaled_giou\nclasses: [a]\n")
    import_code([module])
    assert build_criterion(get_recipe(file)).box_loss.func is sys.modules[module].scaled_giou


def test_modules_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.py").write_text("import nothing_like_it\n")
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    with pytest.raises(RecipeError, match="no module absent: it is looked for in"):
        import_code("absent")
    with pytest.raises(RecipeError, match="no module absent: it is looked for in"):
        import_code(["absent"])
    with pytest.raises(RecipeError, match="half can't be imported: No module named 'nothing_like_it'"):
        import_code(["half"])
    with pytest.raises(RecipeError, match=r"wrong can't be imported: ZeroDivisionError: .* \(wrong\.py, line \d\)"):
        import_code(["wrong"])


def test_a_part_that_fails_is_named_with_its_line(module: str) -> None:
    import_code([module])
    recipe = get_recipe("lite320", box_loss="my_parts:broken", classes=["a"])
    with pytest.raises(RecipeError, match=r"my_parts:broken, tried on three objects: AttributeError.*, line 10"):
        build_criterion(recipe)


ODD = """
    import boxwright as bw
    import torch
    from boxwright import Matches

    def given(labels, anchors, index=0, state=1, short=0):
        size = len(labels), len(anchors.boxes) - short
        return Matches(torch.full(size, index), torch.full(size, state, dtype=torch.int8), torch.ones(size))

    @bw.matcher()
    def none(anchors, boxes, labels, *, ignore): return None

    @bw.matcher()
    def short(anchors, boxes, labels, *, ignore): return given(labels, anchors, short=1)

    @bw.matcher()
    def beyond(anchors, boxes, labels, *, ignore): return given(labels, anchors, index=2)

    @bw.matcher()
    def padding(anchors, boxes, labels, *, ignore): return given(labels, anchors, index=1)

    @bw.matcher()
    def states(anchors, boxes, labels, *, ignore): return given(labels, anchors, state=2)

    @bw.miner()
    def few(losses, state): return losses[:, :3] > 0

    @bw.miner()
    def numbers(losses, state): return (state >= 0).long()

    @bw.box_loss(space="boxes")
    def mean(pred, target): return (pred - target).abs().mean()

    @bw.box_loss(space="boxes")
    def unpacked(pred, target):
        a, b = pred.unbind(-1)

    @bw.class_loss("softmax")
    def total(logits, target): return logits.sum()

    @bw.coder
    class Three:
        dim = 4
        def encode(self, anchors, boxes): return boxes
        def decode(self, anchors, deltas): return deltas[..., :3]

    @bw.optimizer
    def nothing(groups, lr): return None

    @bw.optimizer
    def broken(groups, lr): return groups["all"]

    @bw.schedule
    def word(done): return "half"

    @bw.schedule
    def below(done): return 0.5 - done

    @bw.sampling
    def one(dataset): return [1.0]

    @bw.sampling
    def rarely(dataset): return [0.5] * len(dataset)

    @bw.backbone
    def without_strides(): return None

    @bw.anchor_spec
    def no_spec(**options): return 9
"""


@pytest.fixture
def odd(module: str, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "odd.py").write_text(dedent(ODD))
    import_code(["odd"])
    yield
    sys.modules.pop("odd", None)


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matcher": "odd:none"}, "Expected odd:none to return Matches but got NoneType"),
        (
            {"matcher": "odd:short"},
            r"odd:short to return Matches with gt_index int64 \(2, 4\), .* got int64 \(2, 3\)",
        ),
        ({"matcher": "odd:beyond"}, "odd:beyond to return a state of -1, 0 or 1 and, where that is 1, the index of"),
        ({"matcher": "odd:padding"}, "the index of a target that isn't padding"),
        ({"matcher": "odd:states"}, r"got the states \[\[2, 2, 2, 2\]"),
        ({"miner": "odd:few"}, r"odd:few to return a mask bool \(2, 4\), .* but got bool \(2, 3\)"),
        ({"miner": "odd:numbers"}, r"odd:numbers to return a mask bool .* but got int64 \(2, 4\)"),
        ({"box_loss": "odd:mean"}, r"odd:mean to return losses float32 \(3,\), one for each pair .* got float32 \(\)"),
        (
            {"box_loss": "odd:unpacked"},
            r"odd:unpacked, tried on three objects: ValueError: too .* \(odd.py, line ",
        ),
        ({"class_loss": "odd:total"}, r"odd:total to return losses float32 \(8,\), one for each row of logits"),
        ({"coder": "odd:Three"}, r"odd:Three to decode boxes \(4, 4\) of four anchors but got \(4, 3\)"),
    ],
)
def test_what_a_part_returns_is_checked(options: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_criterion(get_recipe("ssd300", classes=["a", "b"], **options))


@pytest.mark.usefixtures("odd")
def test_what_a_part_of_the_training_returns_is_checked() -> None:
    dataset: Any = range(3)  # its length is all that these rules look at
    for name, message in (("one", r"to return 3 numbers .* but got \(1,\)"), ("rarely", "the least 0.5")):
        with pytest.raises(RecipeError, match=f"sampling=odd:{name} .*{message}"):
            repeats_of(get_recipe("lite320", sampling=f"odd:{name}"), dataset, [0, 1, 2])
    with pytest.raises(RecipeError, match=r"optimizer=odd:nothing to return a torch.optim.Optimizer but got NoneType"):
        make_optimizer("odd:nothing", [], 0.1)
    with pytest.raises(RecipeError, match=r"optimizer=odd:broken failed: TypeError: .* \(odd.py, line "):
        make_optimizer("odd:broken", [], 0.1)
    for name, message in (("word", "got 'half' at 0.0"), ("below", "got -0.5 at 1.0")):
        with pytest.raises(RecipeError, match=message):
            find_schedule(f"odd:{name}")
    with pytest.raises(RecipeError, match="backbone=odd:without_strides failed: TypeError: without_strides"):
        bw.create_detector("lite320", 2, backbone="odd:without_strides")
    with pytest.raises(RecipeError, match="Expected anchors=odd:no_spec to return an AnchorSpec but got int"):
        bw.create_detector("retinanet", 2, anchors="odd:no_spec", pretrained=False, freeze=0, norm_mode="train")


def test_a_criterion_that_returns_no_losses_is_named() -> None:
    class Sum(torch.nn.Module):
        def forward(self, anchors: Any, outputs: Any, targets: Any) -> Tensor:
            return outputs.logits.sum()

    detector = bw.create_detector("lite320", 1, image_size=64, width=16)
    boxes, labels = torch.tensor([[[0.0, 0, 32, 32]]]), torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(RecipeError, match=r"criterion .*:.*Sum to return boxwright\.criterion\.Losses but got Tensor"):
        supervise(detector, Sum(), torch.zeros(1, 3, 64, 64), bw.Targets(boxes, labels, labels < 0))


# --- parts as callables


def test_a_function_becomes_its_name_and_back() -> None:
    recipe = get_recipe("lite320", box_loss=own_loss)
    assert recipe.box_loss == f"{__name__}:own_loss"
    assert resolve_choice("box_loss", recipe.box_loss).func is own_loss
    bound = partial(partial(own_loss, power=3.0), power=2.0)
    assert get_recipe("lite320", box_loss=bound).box_loss == f"{__name__}:own_loss:power=2.0"
    assert get_recipe("lite320", box_loss=partial(losses.ciou_loss, variant="tpami")).box_loss == "ciou:variant=tpami"
    assert get_recipe("lite320", matcher=bw.matching.match_iou).matcher == "iou"


def test_what_cannot_be_found_again() -> None:
    def inner(pred: Tensor, target: Tensor) -> Tensor:
        return pred

    for part in (lambda pred, target: pred, inner):
        with pytest.raises(RecipeError, match="Expected box_loss to be a function at the top of a module"):
            name_choice("box_loss", part)
    with pytest.raises(RecipeError, match="Expected power of box_loss to be a number, a text or a list"):
        name_choice("box_loss", partial(own_loss, power=torch.ones(1)))
    with pytest.raises(RecipeError, match="options of box_loss by name"):
        name_choice("box_loss", partial(own_loss, 3))


def test_what_a_run_notes_of_code(module: str, tmp_path: Path) -> None:
    import_code([module])
    values = get_recipe("faster-rcnn", box_loss="my_parts:scaled_giou", rpn_box_loss="my_parts:scaled_giou").to_dict()
    assert own_modules(values) == ["my_parts"]
    digest = hashlib.sha256((tmp_path / "my_parts.py").read_bytes()).hexdigest()
    note = {"part": "my_parts:scaled_giou", "file": "my_parts.py", "sha256": digest}
    assert describe_code(values) == {"box_loss": note, "rpn_box_loss": note}
    assert folder_of(module) == str(tmp_path)
    assert Path(folder_of("boxwright.losses")) == Path(bw.__file__).parents[1]


# --- parts of installed packages


def test_packages_add_names(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("scaled", "my_parts:scaled_giou", "boxwright.box_loss"),
        EntryPoint("giou", "my_parts:broken", "boxwright.box_loss"),
        EntryPoint("gone", "no_such_module:f", "boxwright.box_loss"),
        EntryPoint("plain", "my_parts:undeclared", "boxwright.box_loss"),
    ]
    monkeypatch.setattr(catalog, "entry_points", lambda group: [p for p in points if p.group == group])
    catalog.installed.cache_clear()
    monkeypatch.syspath_prepend(".")
    assert resolve_choice("box_loss", "scaled:factor=3").keywords == {"factor": 3}
    assert resolve_choice("box_loss", "giou").func is losses.giou_loss  # a name that is taken stays boxwright's
    with pytest.raises(RecipeError, match="box_loss 'gone' of the package an installed package can't be imported"):
        resolve_choice("box_loss", "gone")
    with pytest.raises(RecipeError, match=r"plain of the package .* is no box_loss: it declares nothing"):
        resolve_choice("box_loss", "plain")
    with pytest.raises(RecipeError, match="unknown box_loss 'scale'; did you mean 'scaled'"):
        parse_choice("box_loss", "scale")
    catalog.installed.cache_clear()

"""What of a start goes into a detector, and what is said of the rest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from boxwright.errors import RecipeError
from boxwright.models import Detector, build_detector
from boxwright.models.weights import lite0_weights
from boxwright.recipes import get_recipe
from boxwright.runs.start import Start, resolve_start
from boxwright.training import starting
from boxwright.training.starting import start_detector
from tiny_runs import SMALL

CLASSES = ("cat", "dog", "eel")
LOGITS = "net.head.logits.0.1.weight"
FROZEN = {"pretrained": True, "freeze": 2}


def made(classes: tuple[str, ...] = CLASSES, seed: int = 1, **keys: Any) -> Detector:
    torch.manual_seed(seed)
    return build_detector(get_recipe("lite320", classes=classes, **{**SMALL, **keys}))


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Tensor]:
    return made().state_dict()


@pytest.fixture(scope="module")
def start(weights: Mapping[str, Tensor]) -> Start:
    return Start("earlier", weights, CLASSES)


def begin(start: Start, classes: tuple[str, ...] = CLASSES, **keys: Any) -> tuple[Detector, starting.Taken]:
    torch.manual_seed(2)
    return start_detector(get_recipe("lite320", classes=classes, **{**SMALL, **keys}), start)


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_same_network_is_taken_whole(start: Start, weights: Mapping[str, Tensor]) -> None:
    detector, taken = begin(start, image_size=96, resize="pad")
    assert_same(detector.state_dict(), weights)
    assert taken.lines(CLASSES) == [
        f"start: earlier: {len(weights)} of {len(weights)} tensors taken",
        "classes: cat, dog, eel kept",
    ]


def test_classes_go_by_their_names(start: Start, weights: Mapping[str, Tensor]) -> None:
    detector, taken = begin(start, ("eel", "emu", "cat"))
    new = made(("eel", "emu", "cat"), seed=2).state_dict()
    for leaf in ("weight", "bias"):
        ours, theirs, fresh = (state[f"net.head.logits.2.1.{leaf}"] for state in (detector.state_dict(), weights, new))
        assert torch.equal(ours, torch.stack([theirs[2], fresh[1], theirs[0]]))
    assert len(taken.partly) == 6
    assert taken.lines(detector.classes)[1:] == ["classes: eel, cat kept; emu new; dog of the start left out"]
    assert begin(start, ("dog", "cat"))[1].partly == []  # all rows are the start's


def test_no_class_in_common_makes_new_class_layers(start: Start) -> None:
    detector, taken = begin(start, ("emu", "fox", "gnu"))
    assert torch.equal(detector.state_dict()[LOGITS], made(("emu", "fox", "gnu"), seed=2).state_dict()[LOGITS])
    assert set(taken.made_anew) == {f"net.head.logits.{i}.1.{leaf}" for i in range(3) for leaf in ("weight", "bias")}
    assert "left out, of other classes: 6 tensors" in taken.lines(detector.classes)[1]


def test_classes_that_are_not_known_leave_their_layers_out(weights: Mapping[str, Tensor]) -> None:
    _, taken = begin(Start("file", weights))
    assert taken.left_out[LOGITS] == "of classes whose rows aren't known"
    assert len(taken.left_out) == 6


@pytest.mark.parametrize("prefix", ["module.", "model.module.", "_orig_mod.", "detector."])
def test_wrappers_are_looked_through(weights: Mapping[str, Tensor], prefix: str) -> None:
    wrapped = {prefix + name: value for name, value in weights.items()} | {"n_averaged": torch.tensor(3)}
    detector, taken = begin(Start("wrapped", wrapped, CLASSES))
    assert_same(detector.state_dict(), weights)
    assert taken.left_out == {"n_averaged": "not in this network"}


@pytest.mark.parametrize("prefix", ["", "backbone.body."])
def test_a_backbones_own_names_and_half_precision(prefix: str) -> None:
    half = {prefix + name: value.half() for name, value in lite0_weights().items()}
    detector, taken = begin(Start("half", half), norm_mode="train")
    body = detector.net.get_submodule("backbone.body").state_dict()
    assert body.keys() <= lite0_weights().keys()
    for name, value in body.items():
        assert torch.equal(value, lite0_weights()[name].half().to(value.dtype))
    assert "classifier.weight" in ", ".join(taken.left_out)
    assert not any(name.startswith("net.backbone") for name in taken.made_anew)


def test_underscores_for_dots() -> None:
    """As timm names the feature maps of some models: stages_0.x of stages.0.x."""
    renamed = {name.replace("blocks.", "blocks_"): value for name, value in lite0_weights().items()}
    _, taken = begin(Start("features", renamed))
    assert not any(name.startswith("net.backbone") for name in taken.made_anew)


def test_norms_are_folded_as_those_of_pretrained_stages_are() -> None:
    detector, taken = begin(Start("lite0", lite0_weights()), **FROZEN)
    pretrained = made(seed=2, **FROZEN)
    assert_same(detector.state_dict(), pretrained.state_dict())
    assert len(taken.whole) > 200


def test_norms_of_another_width_are_left_out() -> None:
    """Though they are folded first, into a bias that the start doesn't have."""
    first = ("conv_stem.weight", *(f"bn1.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")))
    wider = {**lite0_weights(), **{name: lite0_weights()[name].repeat_interleave(2, 0) for name in first}}
    detector, taken = begin(Start("wider", wider), **FROZEN)
    assert taken.left_out["conv_stem.weight"] == "of another shape: (64, 3, 3, 3) there, (32, 3, 3, 3) here"
    assert_same(detector.state_dict(), made(seed=2, **FROZEN).state_dict())


def test_folded_norms_cannot_be_had_back() -> None:
    folded = Start("folded", made(**FROZEN).state_dict(), CLASSES)
    detector, taken = begin(folded, pretrained=True)
    stem = "net.backbone.body.conv_stem"
    assert taken.left_out[f"{stem}.weight"].startswith("folded with a BatchNorm that learns here")
    assert torch.equal(detector.state_dict()[f"{stem}.weight"], lite0_weights()["conv_stem.weight"])
    again, taken = begin(folded, **FROZEN)
    assert_same(again.state_dict(), folded.weights)
    assert taken.made_anew == []


def test_published_weights_are_asked_for_only_where_the_start_lacks_some(
    start: Start, weights: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def build(recipe: Any, pretrained: bool | None = None) -> Detector:
        asked.append(pretrained)
        return build_detector(recipe, pretrained=pretrained)

    monkeypatch.setattr(starting, "build_detector", build)
    begin(start, pretrained=True)
    assert asked == [False]
    part = {name: value for name, value in weights.items() if "backbone" not in name}
    detector, _ = begin(Start("head", part, CLASSES), pretrained=True)
    assert asked == [False, False, None]
    body = detector.net.get_submodule("backbone.body").state_dict()
    assert_same(body, {name: lite0_weights()[name] for name in body})


def test_another_width_leaves_the_head_out(start: Start) -> None:
    detector, taken = begin(start, width=24)
    assert all(name.startswith("net.head.") for name in taken.made_anew)
    assert taken.left_out["net.head.laterals.0.0.weight"] == (
        "of another shape: (16, 40, 1, 1) there, (24, 40, 1, 1) here"
    )
    text = "\n".join(taken.lines(detector.classes))
    assert "left out, of another shape: " in text
    assert "made anew: " in text


def test_a_softmax_head_is_not_a_sigmoid_head(start: Start) -> None:
    detector, taken = begin(start, class_loss="cross_entropy")
    assert detector.softmax
    assert {"net.head.logits.1.1.weight", LOGITS} <= set(taken.made_anew)


def test_nothing_that_fits_names_both_sides() -> None:
    other = Start("other", {"encoder.weight": torch.ones(3, 3), "encoder.bias": torch.ones(3)})
    with pytest.raises(RecipeError) as error:
        begin(other)
    assert str(error.value).startswith(
        "nothing of other fits lite320: it has encoder.weight, encoder.bias; the detector"
    )
    assert "net.backbone.body.conv_stem.weight, " in str(error.value)


def test_numbers_that_are_none_or_whole(weights: Mapping[str, Tensor]) -> None:
    one_wrong = weights["net.head.merges.0.3.weight"].clone()
    one_wrong[0] = float("nan")
    broken = {**weights, "net.head.merges.0.3.weight": one_wrong}
    with pytest.raises(
        RecipeError, match=r"can't start from broken: its net\.head\.merges\.0\.3\.weight is not finite"
    ):
        begin(Start("broken", broken, CLASSES))
    whole = {**weights, LOGITS: weights[LOGITS].to(torch.int8)}
    assert begin(Start("whole", whole, CLASSES))[1].left_out == {LOGITS: "of whole numbers"}


def test_the_record_has_it_all(start: Start, tmp_path: Path) -> None:
    torch.save({"state_dict": dict(start.weights)}, tmp_path / "w.pt")
    said = begin(resolve_start(tmp_path / "w.pt"))[1].to_json()
    assert said["name"] == str(tmp_path / "w.pt")
    assert len(said["taken"]) + len(said["made anew"]) == len(start.weights)
    assert len(said["sha256"]) == 64
    licensed = begin(Start("earlier", start.weights, CLASSES, origin="runs/a", license="MIT"))[1].to_json()
    assert starting.provenance(licensed) == {"origin": "earlier, from runs/a", "license": "MIT"}
    assert starting.provenance(None) == {"origin": "", "license": ""}

"""Maps coarser than a backbone's: they lie where the anchors do, learn, are carried over, and unasked cost nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import boxwright as bw
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.errors import RecipeError
from boxwright.models import Detector, build_detector
from boxwright.models.coarser import Coarser, split_strides
from boxwright.runs.start import Start
from boxwright.training.starting import take
from boxwright.types import FeatureMap

SCRATCH = {"pretrained": False, "freeze": 0, "width": 16}
DETECTORS = ("lite320", "nano416")


def made(name: str, **options: object) -> Detector:
    torch.manual_seed(0)
    recipe = bw.get_recipe(name, **{"classes": ("a", "b"), "image_size": 64, **SCRATCH, **options})
    return build_detector(recipe)


@pytest.mark.parametrize(
    ("strides", "own", "coarser"),
    [
        ((8, 16, 32), [8, 16, 32], []),
        ((8, 16, 32, 64), [8, 16, 32], [64]),
        ((32, 64, 128, 256), [32], [64, 128, 256]),
        ((4,), [4], []),
    ],
)
def test_strides_are_the_backbone_s_up_to_32(strides: tuple[int, ...], own: list[int], coarser: list[int]) -> None:
    assert split_strides(strides) == (own, coarser)


@pytest.mark.parametrize("strides", [[8, 16, 64], [8, 16, 32, 128], [64, 128], [8, 16, 32, 96], [8, 33]])
@pytest.mark.parametrize("name", DETECTORS)
def test_strides_that_no_halving_gives(name: str, strides: list[int]) -> None:
    with pytest.raises(RecipeError, match="Expected each stride above 32 to be twice the one before"):
        made(name, strides=strides)


@settings(max_examples=40)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 3))
def test_cells_are_the_anchors(height: int, width: int, count: int) -> None:
    strides = [64, 128, 256][:count]
    last = torch.zeros(1, 4, -(-height // 32), -(-width // 32))
    maps = Coarser([FeatureMap(4, 32)], strides, 8).eval()([last])
    anchors = make_anchors(AnchorSpec.squares([32, *strides]), (height, width))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (channels, *level.grid) for channels, level in zip([4] + [8] * count, anchors.levels, strict=True)
    ]


def test_the_maps_of_a_backbone_are_left_as_they_are() -> None:
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4)]
    found = Coarser([FeatureMap(4, 16), FeatureMap(6, 32)], [64], 8)(list(maps))
    assert found[0] is maps[0]
    assert found[1] is maps[1]
    assert found[2].shape == (2, 8, 2, 2)


@pytest.mark.parametrize("name", DETECTORS)
def test_unasked_they_neither_have_weights_nor_draw_any(name: str) -> None:
    detector = made(name)
    assert not [key for key in detector.state_dict() if "coarser" in key]
    before = torch.get_rng_state()
    Coarser(detector.net.backbone.maps, (), 16)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("strides", [(8, 16, 32, 64), (4, 8, 16, 32, 64, 128)])
@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("side", [64, 150])
def test_every_anchor_has_its_outputs_and_everything_learns(name: str, strides: tuple[int, ...], side: int) -> None:
    detector = made(name, strides=strides, image_size=side, anchors="squares:scale=4")
    found = detector(torch.randn(2, 3, side, side))
    assert found.logits.shape == (2, sum((-(-side // stride)) ** 2 for stride in strides), 2)
    assert len(detector.anchors) == found.logits.shape[1]
    (found.logits.square().sum() + found.deltas.square().sum()).backward()
    assert all(weight.grad is not None for weight in detector.parameters())
    assert all(step[0].weight.grad.abs().max() > 0 for step in detector.net.coarser.steps)


def test_a_rectangular_input_of_the_shorter_side() -> None:
    detector = made("lite320", strides=(8, 16, 32, 64), resize="shortest", max_size=200).eval()
    with torch.no_grad():
        found = detector.predict([torch.rand(3, 50, 120), torch.rand(3, 90, 41)], score=0.0)
    assert [len(each.boxes) > 0 for each in found] == [True, True]


def test_a_start_without_them_gives_all_that_it_has_at_its_place() -> None:
    fewer, more = made("lite320"), made("lite320", strides=(8, 16, 32, 64))
    for weight in fewer.state_dict().values():
        if weight.is_floating_point():
            weight.normal_()
    start = Start("start", fewer.state_dict(), ("a", "b"))
    taken = take(start, more)
    assert not taken.left_out
    for key, value in fewer.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(more.state_dict()[key], value), key
    prefixes = (
        "net.coarser.",
        "net.head.laterals.3.",
        "net.head.merges.2.",
        "net.head.logits.3.",
        "net.head.deltas.3.",
    )
    assert taken.made_anew
    assert all(name.startswith(prefixes) for name in taken.made_anew)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(("theirs", "ours"), [((8, 16, 32), (4, 8, 16, 32)), ((4, 8, 16, 32, 64), (16, 32, 64))])
def test_a_start_of_other_strides_gives_each_map_what_it_has_of_it(
    name: str, theirs: tuple[int, ...], ours: tuple[int, ...]
) -> None:
    before, after = made(name, strides=theirs), made(name, strides=ours)
    for weight in before.state_dict().values():
        if weight.is_floating_point():
            weight.normal_()
    taken = take(Start("start", before.state_dict(), ("a", "b"), before.recipe), after)
    shared = [stride for stride in ours if stride in theirs]
    for part in ("laterals", "merges", "logits", "deltas"):
        for stride in shared[:-1] if part == "merges" else shared:
            if part == "merges" and name == "nano416":
                continue
            old = getattr(before.net.head, part)[theirs.index(stride)].state_dict()
            new = getattr(after.net.head, part)[ours.index(stride)].state_dict()
            assert all(torch.equal(new[key], old[key]) for key in old), (part, stride)
    added = [f"net.head.{part}.0." for part in ("laterals", "merges", "towers", "logits", "deltas")]
    assert all(key.startswith(tuple(added)) for key in taken.made_anew) == (
        ours[0] not in theirs or not taken.made_anew
    )


def test_a_start_with_more_of_them_gives_what_is_asked_for() -> None:
    fewer, more = made("lite320"), made("lite320", strides=(8, 16, 32, 64))
    taken = take(Start("start", more.state_dict(), ("a", "b")), fewer)
    assert not taken.made_anew
    assert set(taken.left_out.values()) == {"not in this network"}

"""Recipes: every wrong key and value is told by name, and a file says what the code says."""

import os
from dataclasses import fields
from functools import partial
from inspect import signature
from pathlib import Path

import pytest

from boxwright.catalog import PART_KEYS, built_in
from boxwright.choices import resolve_choice
from boxwright.errors import RecipeError
from boxwright.parts import part_info
from boxwright.recipes import Recipe, get_recipe, parse_settings


def test_every_key_says_what_it_means() -> None:
    assert set(Recipe.notes()) == {item.name for item in fields(Recipe)}
    assert all(Recipe.notes().values())


def test_settings_become_the_key_s_type() -> None:
    settings = ["lr=1e-3", "strides=[8, 16]", "pretrained=false", "freeze=0", "box_weight=null", "classes=cat,dog"]
    recipe = get_recipe("lite320", **parse_settings(settings))
    assert recipe.lr == 0.001
    assert recipe.strides == (8, 16)
    assert recipe.pretrained is False
    assert recipe.box_weight is None
    assert recipe.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("learning_rte=1", "unknown recipe key 'learning_rte'"),
        ("epoch=3", "did you mean 'epochs'"),
        ("lr=fast", "Expected lr to be float but got 'fast'"),
        ("lr=-1", "Expected lr above 0"),
        ("flip=sideways", "Expected flip to be one of none, horizontal, both"),
        ("matcher=atts", "unknown matcher 'atts'; did you mean 'atss'"),
        ("matcher=atss:9", "Expected matcher as name:option=value"),
        ("image_size=0", "Expected image_size above 0"),
        ("strides=[16, 8]", "Expected strides to rise"),
        ("ema=1.5", "Expected ema in 0..1"),
        ("pretrained=false", "freeze=0 with pretrained=false"),
        ("vote=-1", "vote of at least 0"),
        ("batch_size=true", "Expected batch_size to be int"),
        (f"batch_size={'9' * 5000}", "Expected batch_size to be int"),
        ("batch_size=4294967296000", "Expected batch_size to be int"),
        ("batch_size=8.5", "Expected batch_size to be int but got '8.5'"),
        ("batch_size=[8]", "Expected batch_size to be int"),
        ("weight_decay=nan", "Expected weight_decay to be float but got 'nan'"),
        ("clip=inf", "Expected clip to be float"),
        ("clip=1e999", "Expected clip to be float"),
        ("clip={a: 1}", "Expected clip to be float"),
        ("antialias=maybe", "Expected antialias to be bool but got 'maybe'"),
        ("flip=[none]", "Expected flip to be one of"),
        ("std=[1, 1]", "Expected mean and std of three channels"),
        ("std=[1, 0, 1]", "Expected std above 0"),
        ("matcher=atss:top=1,top=2", "'top' twice"),
        ("matcher=" + "a" * 20_000, "Expected matcher of at most 10,000 characters"),
        ("class_weights=a=inf", "Expected class_weights of 'a' to be float"),
        ("class_weights=a=-1", "Expected class_weights of 'a' of at least 0"),
        ("class_weights=inverse_lg", "unknown class_weights 'inverse_lg'; did you mean 'inverse_log'?"),
        ("class_weights=inverse_lg:normalize=false", "unknown class_weights 'inverse_lg'; did you mean 'inverse_log'?"),
        ("class_weights=inverse:normalise=false", "'inverse' has no option 'normalise'; did you mean 'normalize'?"),
        ("class_weights=inverse:beta=0.9", "'inverse' has no option 'beta'; there are absent, normalize"),
        ("class_weights=inverse:normalize=2", "Expected normalize of class_weights inverse to be bool"),
        ("class_weights=inverse:absent=-1", "Expected beta in 0..1 and absent of at least 0"),
        ("class_weights=effective:beta=1", "Expected beta in 0..1 and absent of at least 0"),
        ("class_weights=inverse:absent=0,absent=1", "has absent twice"),
        ("class_weights_over=samples", "Expected class_weights to be a scheme, and background_weight 1"),
    ],
)
def test_a_wrong_setting_is_told_by_name(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("..", r"\.\.")):
        get_recipe("lite320", **parse_settings([setting]))


@pytest.mark.parametrize("text", ["lr", "=3", "lr=[1", "lr=!!int abc", "lr=" + "[" * 3000, "lr=\ud800", "lr=1\0"])
def test_a_setting_must_be_key_and_value(text: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        parse_settings([text])


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'lite320'"):
        get_recipe("lite32")


def test_a_saved_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = get_recipe("lite320", classes=["b", "a"], lr=1e-5, voc_one_based=True)
    recipe.save(tmp_path / "recipe.yaml")
    assert get_recipe(tmp_path / "recipe.yaml") == recipe
    assert get_recipe(tmp_path / "recipe.yaml", lr=1.0).lr == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lr: [", "no valid YAML"),
        ("- lr", "keys and values"),
        ("", "keys and values"),
        ("lr: 1\nlr: 2", "no valid YAML: line 2: the key 'lr' a second time"),
        ("[1, 2]: 3", "no valid YAML: line 1: a list or a mapping as a key"),
        ("1: 2", "unknown recipe key '1'"),
        ("sampling: !!bool q", "no valid YAML: line 1: a tag"),
        ("class_weights: !!timestamp q", "no valid YAML: line 1: a tag"),
        ("lr: " + "[" * 3000, "no valid YAML: line 1: more than 50"),
        ("detector: [a]", r"unknown detector \['a'\]"),
        ("detector: {a: b}", "unknown detector"),
        ("detector:", "unknown detector None"),
        ("lr: 2024-13-01", "Expected lr to be float but got '2024-13-01'"),
        ("weight_decay: " + "9" * 5000, r"Expected weight_decay to be float but got '9+\.\.\. \(5,002 characters\)"),
        ("lrr: 1", "recipe.yaml: unknown recipe key 'lrr'"),
        ("detector: ssd", "recipe.yaml: unknown detector 'ssd'"),
        (None, "can't read the recipe"),
    ],
)
def test_a_bad_recipe_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        get_recipe(path)


def test_names_of_classes_stay_as_written(tmp_path: Path) -> None:
    names = [
        "yes",
        "no",
        "007",
        "1e3",
        "null",
        "~",
        "true",
        "2024-01-01",
        "0x10",
        " cat ",
        "²",
        "12:30",
        "[/a]",
        "a, b",
    ]
    recipe = get_recipe("lite320", classes=names)
    recipe.save(tmp_path / "recipe.yaml")
    assert get_recipe(tmp_path / "recipe.yaml").classes == tuple(names)
    (tmp_path / "plain.yaml").write_text("classes: [yes, no, 007, 1e3, null, 2024-13-01]")
    assert get_recipe(tmp_path / "plain.yaml").classes == ("yes", "no", "007", "1e3", "null", "2024-13-01")
    assert parse_settings(["classes=[on, 010]"]) == {"classes": ("on", "010")}
    assert parse_settings(["classes=no, yes"]) == {"classes": ("no", "yes")}


def test_a_recipe_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("fifo.yaml", "folder.yaml"):
        with pytest.raises(RecipeError, match="it is no file"):
            get_recipe(tmp_path / name)


def test_bytes_that_are_no_utf8_are_named_and_utf16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("epochs: 3\nbackbone: \xe9".encode("latin-1"))
    with pytest.raises(RecipeError, match="line 2: byte 0xe9 is no UTF-8"):
        get_recipe(path)
    path.write_text("epochs: 3", encoding="utf-16")
    assert get_recipe(path).epochs == 3


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("On", True), ("true", True), ("no", False), ("OFF", False)]
)
def test_words_for_yes_and_no(word: str, value: bool) -> None:
    assert parse_settings([f"antialias={word}"]) == {"antialias": value}


@pytest.mark.parametrize("word", ["null", "~", "Null", ""])
def test_words_for_nothing(word: str) -> None:
    assert parse_settings([f"box_weight={word}"]) == {"box_weight": None}


def test_every_choice_resolves() -> None:
    for kind, names in ((key, built_in(key)) for key in PART_KEYS):
        for name in names:
            part = resolve_choice(kind, name)
            assert (part is None) == (name in ("none", "uniform", "light", "ssd", "auto"))


# What a recipe can't give: tensors, what is computed in the step, and what a training sets
NO_OPTIONS = {"reduction", "weight", "ignore", "boxes", "nms_iou", "generator", "state"}


def test_the_options_of_the_catalog_are_those_of_the_functions() -> None:
    for key in PART_KEYS:
        for name, entry in built_in(key).items():
            if entry is None or key == "reader":  # what a layout leaves open are keys of a recipe
                continue
            part = resolve_choice(key, name)
            assert part_info(part).role == key
            known = {p.name for p in signature(part.func).parameters.values() if p.default is not p.empty}
            alpha = {"alpha"} if name == "softmax_focal" else set()  # (K,), a tensor
            assert set(entry.options) == known - NO_OPTIONS - alpha, name


def test_an_option_is_refused_when_the_recipe_is_made() -> None:
    with pytest.raises(RecipeError, match="box_loss 'giou' has no option 'gamma'"):
        get_recipe("lite320", box_loss="giou:gamma=2")
    with pytest.raises(RecipeError, match="augment 'light' has no option 'zoom'"):
        get_recipe("lite320", augment="light:zoom=2")


def test_an_option_that_does_not_apply_is_refused() -> None:
    with pytest.raises(RecipeError, match="matcher 'atss' has no option 'tops'; did you mean 'top'"):
        resolve_choice("matcher", "atss:tops=3")


@pytest.mark.parametrize(
    ("kind", "text", "options"),
    [
        ("matcher", "atss:top=3", {"top": 3}),
        ("matcher", "iou:positive=1e-1, force=null, strict=yes", {"positive": 0.1, "force": None, "strict": True}),
        ("coder", "delta:weights=[1,1,2,2]", {"weights": (1.0, 1.0, 2.0, 2.0)}),
        ("anchors", "torchvision:sizes=[[32], [64, 96]]", {"sizes": ((32.0,), (64.0, 96.0))}),
        ("anchors", "ssd300:clip=corners", {"clip": "corners"}),
        ("class_loss", "sigmoid_focal:alpha=batch", {"alpha": "batch"}),
        ("box_loss", "mpdiou:image_size=[300, 400]", {"image_size": (300, 400)}),
    ],
)
def test_options_become_the_types_that_a_part_declares(kind: str, text: str, options: dict[str, object]) -> None:
    bound = resolve_choice(kind, text)
    assert isinstance(bound, partial)
    assert bound.keywords == options


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("matcher", "atss:top=abc", "Expected top of matcher atss to be int but got 'abc'"),
        ("matcher", "iou:positive=[1]", "Expected positive of matcher iou to be float"),
        ("matcher", "atss:ignore=x", "matcher 'atss' has no option 'ignore'"),
        ("coder", "delta:weights=[1,a]", "Expected weights of coder delta to be float but got 'a'"),
        ("anchors", "ssd300:fitted=perhaps", "Expected fitted of anchors ssd300 to be bool"),
        ("miner", "hard_negatives:scope=all", "Expected scope of miner hard_negatives to be one of image, batch"),
    ],
)
def test_an_option_of_another_type_is_named(kind: str, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve_choice(kind, text)

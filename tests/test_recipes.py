"""Recipes: every wrong key and value is told by name, and a file says what the code says."""

from dataclasses import fields
from pathlib import Path

import pytest

from boxwright.choices import CHOICES, resolve_choice
from boxwright.errors import RecipeError
from boxwright.recipes import RECIPES, Recipe, get_recipe, list_recipes, parse_settings


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
        ("image_size=300", "multiple of 32"),
        ("strides=[16, 8]", "Expected strides to rise"),
        ("ema=1.5", "Expected ema in 0..1"),
        ("pretrained=false", "freeze=0 with pretrained=false"),
        ("vote=-1", "vote of at least 0"),
        ("batch_size=true", "Expected batch_size to be int"),
    ],
)
def test_a_wrong_setting_is_told_by_name(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("..", r"\.\.")):
        get_recipe("lite320", **parse_settings([setting]))


@pytest.mark.parametrize("text", ["lr", "=3", "lr=[1"])
def test_a_setting_must_be_key_and_value(text: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        parse_settings([text])


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'lite320'"):
        get_recipe("lite32")
    assert list_recipes() == sorted(RECIPES)


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
        ("lrr: 1", "recipe.yaml: unknown recipe key 'lrr'"),
        ("detector: ssd", "recipe.yaml: unknown detector 'ssd'"),
        (None, "can't read the recipe"),
    ],
)
def test_a_bad_recipe_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecipeError, match=message):
        get_recipe(path)


def test_every_choice_resolves() -> None:
    for kind, names in CHOICES.items():
        for name in names:
            part = resolve_choice(kind, name)
            assert (part is None) == (name in ("none", "uniform"))


def test_an_option_that_does_not_apply_is_refused() -> None:
    with pytest.raises(RecipeError, match="matcher 'atss' has no option 'tops'; did you mean 'top'"):
        resolve_choice("matcher", "atss:tops=3")
    bound = resolve_choice("matcher", "atss:top=3")
    assert bound is not None
    assert bound.keywords == {"top": 3}  # type: ignore[attr-defined]

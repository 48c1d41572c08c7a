"""Arms: how values are written, combined and named."""

from pathlib import Path

import pytest

from boxwright.compare.plan.arms import arm_recipe, combine, folder_name, parse_vary, read_arms
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("box_loss=giou,ciou", ["giou", "ciou"]),
        ("box_loss=giou, focal_eiou:gamma=0.5,detach=true ,ciou", ["giou", "focal_eiou:gamma=0.5,detach=true", "ciou"]),
        (
            "matcher=iou:positive=0.5,negative=0.4,iou:positive=0.6",
            ["iou:positive=0.5,negative=0.4", "iou:positive=0.6"],
        ),
        ("coder=delta:weights=[1,1,1,1],delta", ["delta:weights=[1,1,1,1]", "delta"]),
        ("strides=[8, 16, 32],[16, 32]", ["[8, 16, 32]", "[16, 32]"]),
        ("lr=1e-3,4e-3", ["1e-3", "4e-3"]),
        ("box_loss=giou", ["giou"]),
    ],
)
def test_commas_separate_values_but_not_options(text: str, values: list[str]) -> None:
    key = text.partition("=")[0]
    assert parse_vary([text]) == {key: values}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["box_loss"], "key=a,b,c"),
        (["=giou"], "key=a,b,c"),
        (["lr=1,2", "lr=3,4"], "stands twice"),
        (["lr=1,,2"], "empty value"),
        (["lr="], "empty value"),
    ],
)
def test_what_cannot_be_read_is_told(texts: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_vary(texts)


def test_every_combination_is_an_arm_and_the_first_the_baseline() -> None:
    arms = combine({"box_loss": ["giou", "ciou"], "lr": [0.001, 0.002, 0.004]})
    assert [arm.baseline for arm in arms] == [True, False, False, False, False, False]
    assert arms[0].settings == {"box_loss": "giou", "lr": "0.001"}
    assert arms[-1].name == "box_loss=ciou lr=0.004"
    assert len({folder_name(arm) for arm in arms}) == 6


def test_one_part_is_named_by_its_value() -> None:
    names = [arm.name for arm in combine({"box_loss": ["giou", "focal_eiou:gamma=0.5,detach=true"]})]
    assert names == ["giou", "focal_eiou:gamma=0.5,detach=true"]
    assert [arm.name for arm in combine({"lr": [1, 2]})] == ["lr=1", "lr=2"]


def test_a_folder_has_no_character_that_a_file_system_minds() -> None:
    arms = combine({"box_loss": ["giou", "focal_eiou:gamma=0.5,detach=true"], "strides": [(8, 16), (16, 32)]})
    for arm in arms:
        assert not set(folder_name(arm)) & set(' /\\:*?"<>|[]')
        assert folder_name(arm)


@pytest.mark.parametrize("vary", [{}, {"lr": [1]}, {"lr": [1, 1]}, {"lr": []}])
def test_fewer_than_two_arms_or_equal_ones_are_refused(vary: dict[str, list[int]]) -> None:
    with pytest.raises(RecipeError, match=r"at least two arms|are the same"):
        combine(vary)


def test_arms_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(
        "- {}\n- {name: sharp, box_loss: 'focal_eiou:gamma=0.5,detach=true', miner: none}\n- {strides: [8, 16]}\n"
        "- {class_weights: 'a=1,b=2', voc_one_based: null}\n"
    )
    arms = read_arms(file)
    assert [arm.name for arm in arms[:3]] == ["recipe", "sharp", "strides=[8, 16]"]
    assert [arm.baseline for arm in arms] == [True, False, False, False]
    base = get_recipe("lite320")
    recipes = [arm_recipe(base, {}, arm) for arm in arms]
    assert recipes[0] == base
    assert recipes[1] == base.replace(box_loss="focal_eiou:gamma=0.5,detach=true", miner="none")
    assert recipes[2] == base.replace(strides=[8, 16])
    assert recipes[3] == base.replace(class_weights="a=1,b=2")


def test_an_arm_stands_on_its_recipe_or_on_its_starts(tmp_path: Path) -> None:
    file, start = tmp_path / "arms.yaml", tmp_path / "run"
    start.mkdir()
    get_recipe("ssdlite300", classes=["cat"], score=0.4).save(start / "recipe.yaml")
    (start / "model.safetensors").touch()
    file.write_text(
        f"- {{}}\n- {{name: other, recipe: tiny-detector, lr: 0.1}}\n- {{name: started, start: {start}}}\n"
        f"- {{name: both, start: {start}, recipe: tiny-detector}}\n- {{name: no start, start: null}}\n"
    )
    arms = read_arms(file)
    assert [arm.start for arm in arms] == [None, None, str(start), str(start), None]
    common = {"box_weight": 3.0}
    of_none = [arm_recipe(None, common, arm) for arm in arms]
    brought = get_recipe("ssdlite300", score=0.4, **common)
    tiny, usual = get_recipe("tiny-detector", **common), get_recipe("lite320", **common)
    assert of_none == [usual, tiny.replace(lr=0.1), brought, tiny, usual]
    of_all = [arm_recipe(get_recipe("nano416"), common, arm) for arm in arms]
    assert [recipe.detector for recipe in of_all] == ["nano416", "tiny-detector", "nano416", "tiny-detector", "nano416"]


def test_a_start_that_is_not_there_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no run, file or start 'nowhere'"):
        arm_recipe(None, {}, combine({"start": ["none", "nowhere"]})[1])


@pytest.mark.parametrize("text", ["a: 1", "- 3\n- 4", "- {a: [", "- {lr: 1}"])
def test_a_file_that_is_no_list_of_arms(tmp_path: Path, text: str) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError):
        read_arms(file)
    with pytest.raises(RecipeError, match="can't read"):
        read_arms(tmp_path / "nowhere.yaml")


def test_an_unknown_key_is_told() -> None:
    with pytest.raises(RecipeError, match="did you mean 'box_loss'"):
        arm_recipe(get_recipe("lite320"), {}, combine({"boxloss": ["giou", "ciou"]})[0])

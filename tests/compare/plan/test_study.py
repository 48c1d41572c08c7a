from pathlib import Path

import pytest

from boxwright.compare.plan.arms import combine, list_arms
from boxwright.compare.plan.options import CompareOptions
from boxwright.compare.plan.study import set_out
from boxwright.errors import DataError, RecipeError
from boxwright.recipes import get_recipe
from dataset_builders import write_voc


@pytest.mark.parametrize(("key", "values"), [("exif", ["apply", "boxes"]), ("voc_one_based", [True, False])])
def test_arms_can_not_differ_in_what_their_boxes_are(key: str, values: list[object]) -> None:
    with pytest.raises(RecipeError, match=f"{key} can't differ between arms: all arms are compared on the same boxes"):
        set_out(Path(), combine({key: values}), get_recipe("lite320"), {}, CompareOptions())


@pytest.mark.parametrize(
    ("cats", "why"), [(0, "no box"), (1, "boxes in one image only"), (2, "")], ids=["none", "one image", "two images"]
)
def test_arms_are_compared_on_two_images_or_more(tmp_path: Path, cats: int, why: str) -> None:
    cat = [("cat", 10, 10, 40, 40)]
    images = {"t": cat, **{f"v{place}": cat if place < cats else [] for place in range(3)}}
    write_voc(tmp_path, images, {"train": ["t"], "val": ["v0", "v1", "v2"]})
    asked = combine({"lr": [0.1, 0.2]}), get_recipe("lite320"), {}, CompareOptions()
    if why:
        with pytest.raises(
            DataError, match=f"split 'val' has {why}, and arms are compared on two images or more: --val"
        ):
            set_out(tmp_path, *asked)
    else:
        assert len(set_out(tmp_path, *asked).validation) == 3


def test_the_training_images_decide_what_an_arm_leaves_to_them(tmp_path: Path) -> None:
    cat = [("cat", 0, 0, 78, 58)]
    write_voc(tmp_path, {"t": cat, "v0": cat, "v1": cat}, {"train": ["t"], "val": ["v0", "v1"]})
    base = get_recipe("lite320", pretrained=False, freeze=0)
    arms = list_arms([{}, {"name": "fitted", "strides": "auto", "anchors": "auto", "flip": "auto"}])
    setting = set_out(tmp_path, arms, base, {}, CompareOptions(steps=3))
    assert setting.baseline.strides == (8, 16, 32)
    assert setting.recipes["fitted"].strides == (8, 16, 32, 64)
    assert not setting.recipes["fitted"].undecided
    assert list(setting.decided) == ["fitted"]
    assert [line.partition("=")[0] for line in setting.decided["fitted"]] == ["strides", "anchors", "flip"]
    assert setting.request()["decided"] == setting.decided
    alike = set_out(tmp_path, combine({"lr": [0.1, 0.2]}), base, {}, CompareOptions())
    assert "decided" not in alike.request()

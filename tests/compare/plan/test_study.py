from pathlib import Path

import pytest

from boxwright.compare.plan.arms import combine
from boxwright.compare.plan.options import CompareOptions
from boxwright.compare.plan.study import set_out
from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe


@pytest.mark.parametrize(("key", "values"), [("exif", ["apply", "boxes"]), ("voc_one_based", [True, False])])
def test_arms_can_not_differ_in_what_their_boxes_are(key: str, values: list[object]) -> None:
    with pytest.raises(RecipeError, match=f"{key} can't differ between arms: all arms are compared on the same boxes"):
        set_out(Path(), combine({key: values}), get_recipe("lite320"), CompareOptions(), weight_given=False)

"""What an installed package adds by entry points: readers, detectors and recipes; a broken one is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import boxwright as bw
from boxwright import catalog
from boxwright.errors import RecipeError
from boxwright.parts import name_of
from boxwright.recipes import find_detector, get_recipe, list_recipes
from command_line import Boxwright
from dataset_builders import write_picture

MODULE = """
    "Boxes that bees draw."
    from pathlib import Path
    import boxwright as bw

    @bw.reader(form="size")
    def read_bees(root, name="a.jpg"):
        "Read what bees drew. And more."
        yield name, [(1, 2, 30, 20)], ["bee"]

    def build(recipe, num_outputs, coder, pretrained):
        raise NotImplementedError

    HIVE = bw.DetectorSpec("hive", build=build, recipe={**bw.recipes.find_detector("lite320").recipe, "lr": 0.5})
    SLOW = bw.get_recipe("ssd300", epochs=7, lr=1e-4)
    FILE = Path(__file__).with_name("bees.yaml")
    NOTHING = 3
"""
POINTS = """
    [boxwright.reader]
    bees = bees:read_bees
    gone = no_such_module:read
    coco = bees:read_bees

    [boxwright.detector]
    hive = bees:HIVE
    nothing = bees:NOTHING
    ssd300 = bees:HIVE

    [boxwright.recipe]
    slow = bees:SLOW
    of-a-file = bees:FILE
    broken = bees:NO_SUCH_NAME
    number = bees:NOTHING
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution as pip leaves it."""
    (tmp_path / "bees.py").write_text(dedent(MODULE))
    (tmp_path / "bees.yaml").write_text("detector: hive\nbatch_size: 3\n")
    info = tmp_path / "all_bees-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: all-bees\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(dedent(POINTS))
    monkeypatch.syspath_prepend(tmp_path)
    catalog.installed.cache_clear()
    yield tmp_path
    sys.modules.pop("bees", None)
    catalog.installed.cache_clear()


def test_a_reader(installed: Path, boxwright: Boxwright) -> None:
    write_picture(installed / "data" / "a.jpg", 1)
    options = get_recipe("lite320", reader="bees").reader_options
    assert bw.read_dataset(installed / "data", **options).boxes.tolist() == [[1, 2, 31, 22]]
    assert "1 image, 1 box: 0 errors" in boxwright("check", installed / "data", "--reader", "bees").out
    assert "broken" not in boxwright("parts", "bees").out
    assert "reader 'gone' of the package all-bees can't be imported" in (
        boxwright("check", installed / "data", "--reader", "gone").err
    )
    coco = get_recipe("lite320", reader="coco").reader_options["reader"]
    assert name_of(coco).endswith(":CocoReader")  # a name that is taken stays boxwright's


def test_a_detector(installed: Path) -> None:
    assert "bees" not in sys.modules
    assert find_detector("hive").name == "hive"
    recipe = get_recipe("hive", epochs=2)
    assert (recipe.detector, recipe.lr, recipe.epochs) == ("hive", 0.5, 2)
    assert get_recipe("ssd300").lr == 1e-3
    with pytest.raises(NotImplementedError):
        bw.create_detector("hive", 3)
    with pytest.raises(RecipeError, match="detector nothing of the package all-bees to be a DetectorSpec but got int"):
        get_recipe("nothing")
    with pytest.raises(RecipeError, match="unknown detector 'hiv'; did you mean 'hive'"):
        find_detector("hiv")


def test_a_recipe(installed: Path) -> None:
    assert get_recipe("slow", lr=1e-5) == get_recipe("ssd300", epochs=7, lr=1e-5)
    assert get_recipe("of-a-file") == get_recipe("hive", batch_size=3)
    assert {"hive", "slow", "of-a-file", "broken", "ssd300"} <= set(list_recipes())
    for name, why in (("broken", "can't be imported: AttributeError"), ("number", "to be a Recipe or the path")):
        with pytest.raises(RecipeError, match=rf"recipe '?{name}'? of the package all-bees {why}"):
            get_recipe(name)


def test_they_are_listed_and_shown(installed: Path, boxwright: Boxwright) -> None:
    listed = boxwright("parts").out
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in listed.splitlines()}
    assert lines["bees"] == "name=a.jpg Read what bees drew (package all-bees)"
    assert lines["gone"].startswith("broken: reader 'gone' of the package all-bees")
    assert lines["hive"] == "bees:HIVE of the package all-bees Boxes that bees draw."
    assert lines["nothing"].startswith("bees:NOTHING of the package all-bees broken: Expected detector nothing")
    assert lines["slow"] == "bees:SLOW of the package all-bees ssd300 with another epochs, lr"
    assert "broken: recipe 'broken'" in lines["broken"]
    assert lines["ssd512"].startswith("boxwright.models.ssd:build_ssd SSD300 and SSD512")
    assert (
        boxwright("parts", "hive").out == "detector=hive\nin bees:HIVE of the package all-bees\nBoxes that bees draw.\n"
    )
    assert "slow" in boxwright("recipe", "list").out.split()
    assert "epochs: 7 " in boxwright("recipe", "show", "slow").out
    assert boxwright("recipe", "show", "broken").code == 2

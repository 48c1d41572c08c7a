"""``boxwright recipe``: quick, since people ask often; the network's size on request alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from boxwright.recipes import get_recipe, list_recipes
from command_line import Boxwright

WATCHED = """
import sys
from boxwright.cli.app import app
app(sys.argv[1:], standalone_mode=False)
heavy = {'torch', 'torchvision', 'lightning', 'timm', 'numpy', 'matplotlib'} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("command", [["list"], ["show", "faster-rcnn"]])
def test_recipes_are_printed_without_anything_heavy(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED, "recipe", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "# network:" not in done.stdout


@pytest.mark.parametrize("name", list_recipes())
def test_every_key_that_has_a_meaning_is_shown(boxwright: Boxwright, tmp_path: Path, name: str) -> None:
    code, out, _ = boxwright("recipe", "show", name)
    (tmp_path / "shown.yaml").write_text(out)
    assert code == 0
    assert get_recipe(tmp_path / "shown.yaml") == get_recipe(name)
    assert ("rpn_matcher:" in out) == (name == "faster-rcnn")
    assert ("centerness:" in out) == (name == "unitbox")


def test_sizes_are_printed_on_request(boxwright: Boxwright) -> None:
    _, out, _ = boxwright("recipe", "show", "tiny-detector", "--sizes", "--set", "backbone=tf_efficientnet_lite0")
    assert "# network: " in out
    assert "441 anchors" in out


def test_an_unknown_detector_is_one_line(boxwright: Boxwright) -> None:
    code, _, err = boxwright("recipe", "show", "lite320", "--set", "detector=ssd30")
    assert code == 2
    assert err.startswith("boxwright: unknown detector 'ssd30'; did you mean 'ssd300'?")

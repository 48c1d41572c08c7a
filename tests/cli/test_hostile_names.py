"""Names that are markup, script, control characters or no UTF-8 go through every command, and come out as they are."""

from __future__ import annotations

import json
import os
import re
from html import escape
from pathlib import Path

import pytest

from command_line import Boxwright, Outcome
from dataset_builders import voc_xml, write_picture
from tiny_runs import SMALL, keep_tiny_run

CLASSES = (":cat:", "<!--<script>", "</script><b>", "[/a]", "a\u202eb\u2028c", 'it\'s "q" & $y$')
STEMS = [os.fsdecode(b"caf\xe9"), "[b]", "<!--<script>", "\x1b[31mred", "new\nline", "x", "X", "x.y", "CON", "猫"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOC data set without lists, and a run."""
    root = tmp_path_factory.mktemp("hostile")
    try:
        (root / STEMS[0]).touch()
    except OSError:
        pytest.skip("the file system takes no names that are no UTF-8")
    for place, stem in enumerate(STEMS):
        boxes = [(escape(CLASSES[(place + k) % len(CLASSES)]), 5.0 + k, 4.0, 40.0 + k, 39.0) for k in (0, 20, 35)]
        write_picture(root / "data" / "JPEGImages" / f"{stem}.jpg", place)
        xml = root / "data" / "Annotations" / f"{stem}.xml"
        xml.parent.mkdir(exist_ok=True)
        xml.write_text(voc_xml("any.jpg", boxes), encoding="utf-8")
    keep_tiny_run(root / "run", CLASSES)
    return root


@pytest.fixture
def harmless(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> Boxwright:
    """``boxwright`` in the data set's folder; what it prints must hold nothing that steers a terminal."""
    monkeypatch.chdir(place)

    def run(*arguments: object) -> Outcome:
        result = boxwright(*arguments)
        printed = result.out + result.err
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff]", printed)
        assert result.code == 0, printed
        return result

    return run


def names_of(entries: list[dict[str, object]]) -> set[str]:
    return {Path(str(entry["file_name"])).stem for entry in entries}


def test_check(harmless: Boxwright, tmp_path: Path) -> None:
    out = harmless("check", "data").out
    assert "[/a]" in out
    assert ":cat:" in out
    assert set(json.loads(harmless("check", "data", "--json").out)["classes"]) == set(CLASSES)


def test_eval_and_what_it_saves(harmless: Boxwright, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.json" for name in ("detections", "targets")}
    saved = ("--save-detections", files["detections"], "--save-targets", files["targets"])
    metrics = harmless("eval", "run", "data", "--split", "train", "--json", *saved).out
    again = harmless("eval", files["detections"], "data", "--split", "train", "--json").out
    content = {name: json.loads(file.read_text("utf-8")) for name, file in files.items()}
    assert metrics == again
    assert set(json.loads(metrics)["per_class"]) == set(CLASSES)
    images = {image["id"]: image["file_name"] for image in content["targets"]["images"]}
    assert all(images[entry["image_id"]] == entry["file_name"] for entry in content["detections"])
    page = Path("run/report-train.html").read_text("utf-8")
    assert "<!--<script>" not in page
    assert "<b>" not in page.replace("<div><b>", "").replace("<figcaption><b>", "")


def test_predict(harmless: Boxwright, tmp_path: Path) -> None:
    out = harmless("predict", "run", "data", "--out", tmp_path / "found", "--save-images").out
    assert out.count("\n") == len(STEMS) + 2
    images = json.loads((tmp_path / "found" / "images.json").read_text("utf-8"))
    assert names_of(images) == set(STEMS)
    drawn = {image["drawing"] for image in images}
    assert len({name.casefold() for name in drawn}) == len(STEMS)
    assert drawn == {path.name for path in (tmp_path / "found").glob("*.jpg")}
    assert "_CON.jpg" in drawn
    by_id = {image["image_id"]: image for image in images}
    entries = json.loads((tmp_path / "found" / "detections.json").read_text("utf-8"))
    assert names_of(entries) == set(STEMS)
    for entry in entries:
        assert entry["drawing"] == by_id[entry["image_id"]]["drawing"]


@pytest.mark.parametrize(("command", "number"), [("inspect", "--images"), ("hardest", "--top")])
def test_pages(command: str, number: str, harmless: Boxwright, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    harmless(command, "data", "--run", "run", "--split", "train", number, 4, "--out", page)
    text = page.read_text("utf-8")
    found = re.search(r'<script type="application/json" id="\w+">([^<>&]*)</script><script>', text)
    assert found
    assert set(json.loads(found[1])["classes"]) == set(CLASSES)
    assert found[1].isascii()
    for name in ("<!--<script>", "</script><b>"):
        assert name not in text


@pytest.mark.slow
def test_train(harmless: Boxwright, tmp_path: Path) -> None:
    small = [word for key, value in SMALL.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    harmless("train", "data", "--steps", 2, "--set", "batch_size=4", *small, "--out", tmp_path / "run")
    harmless("eval", tmp_path / "run", "data", "--split", "train")

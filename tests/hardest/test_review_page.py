"""The page: all of it in one file, everything escaped, a card a suspect, in the order of the list."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from label_scenes import detections, objects, write_scenes

from boxwright.hardest import rank_labels
from boxwright.hardest.corrections import Corrections, list_corrections
from boxwright.hardest.page import Witness, _crop, _moved, _window, write_page

NASTY = "</script><b>&'\""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corrections]:
    root = tmp_path_factory.mktemp("page")
    changes = {0: objects(0)[1:], 2: [*objects(2), objects(2)[0]]}
    dataset = replace(write_scenes(root / "data", changes), classes=("cat", "dog", NASTY))
    found = detections()
    (root / "data" / "JPEGImages" / "i02.jpg").write_bytes(b"broken")
    suspects = rank_labels(found, dataset).take(slice(20))
    listed = list_corrections(suspects, dataset)
    path = root / "new" / "page.html"
    witness = Witness("<r>", 0.3, confirmed=3, labels=7, unseen={"<i>.jpg": "cut off & gone"})
    write_page(path, suspects, dataset, found, listed, witness)
    return path, listed


def test_cards_are_in_the_order_of_the_list(written: tuple[Path, Corrections]) -> None:
    page, listed = Page(written[0]), written[1].corrections
    cards = page.all("article")
    assert [card["data-kind"] for card in cards] == [item.kind for item in listed]
    assert [card["data-class"] for card in cards] == [item.class_name or item.suggested_class for item in listed]
    boxes = [box for box in page.all("input") if box["type"] == "checkbox"]
    assert [box["value"] for box in boxes] == [str(n) for n, item in enumerate(listed) if "i02" not in item.image]
    broken = sum("i02" in item.image for item in listed)
    assert broken
    assert len(page.all("img")) == 2 * (len(listed) - broken)
    assert page.text.count("The image can no longer be read.") == broken


def test_nothing_is_loaded(written: tuple[Path, Corrections]) -> None:
    page = Page(written[0])
    assert not page.all("link")
    assert all(picture["src"].startswith("data:image/") for picture in page.all("img") if picture["src"])
    assert [script.get("src") for script in page.all("script")] == [None, None]
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp", written[0].read_text(encoding="utf-8"))


def test_what_users_named_is_escaped(written: tuple[Path, Corrections]) -> None:
    page = Page(written[0])
    assert NASTY in {option["value"] for option in page.all("option")}
    assert "run <r>" in page.text
    assert not page.all("r")


def test_what_was_not_looked_at_is_told_apart(written: tuple[Path, Corrections]) -> None:
    said = Page(written[0]).text
    assert "1 image couldn't be looked at; nothing is said of their labels" in said
    assert "<i>.jpg" in said
    assert "cut off & gone" in said


@pytest.mark.parametrize(("confirmed", "doubted"), [(0, True), (3, True), (4, False), (7, False)])
def test_a_run_that_finds_less_than_half_is_to_train_longer(confirmed: int, doubted: bool) -> None:
    doubt = Witness("r", 0.3, confirmed=confirmed, labels=7).doubt
    assert bool(doubt) is doubted
    assert not doubted or doubt.startswith(f"Train longer first: the run finds {confirmed} of 7 labels")


def test_without_labels_there_is_nothing_to_doubt(written: tuple[Path, Corrections]) -> None:
    assert not Witness("r", 0.3, confirmed=0, labels=0).doubt
    assert "Train longer first: the run finds 3 of 7 labels" in Page(written[0]).text


def test_the_list_in_the_page_is_the_list(written: tuple[Path, Corrections]) -> None:
    found = re.search(r'id="list">(.*?)</script>', written[0].read_text(encoding="utf-8"), re.DOTALL)
    assert found
    assert json.loads(found[1]) == json.loads(msgspec.json.encode(written[1]))


def test_a_window_is_cut_and_boxes_follow() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    window = _window(np.array([[10.0, 20.0, 60.0, 40.0]]), pixels.shape)
    assert window == (0, 0, 100, 80)  # 40 px on each side, cut at the image's edge
    crop, factor = _crop(pixels, window)
    assert factor == pytest.approx(3.925)  # 314 / 80
    assert crop.shape == (314, 392, 3)
    np.testing.assert_allclose(_moved(np.array([[10.0, 20, 60, 40]]), window, factor), [[39.25, 78.5, 235.5, 157]])


def test_a_box_at_the_very_edge_has_a_window() -> None:
    left, top, right, bottom = _window(np.array([[199.9, 99.9, 200.0, 100.0]]), (100, 200, 3))
    assert right > left
    assert bottom > top


DRIVE = """
<script>
  const card = (n) => document.querySelectorAll("article")[n];
  const out = [];
  const choose = (name, value) => {
    const field = document.getElementById("controls").elements[name];
    field.value = value;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const count = () => [...document.querySelectorAll("article")].filter((a) => a.offsetParent).length;
  out.push(count());
  choose("kind", "missing");
  out.push(count());
  choose("kind", "");
  choose("class", "cat");
  out.push(count());
  choose("class", "");
  card(1).querySelector("input").click();
  out.push(document.getElementById("count").textContent);
  URL.createObjectURL = (blob) => {
    blob.text().then((text) => {
      const saved = JSON.parse(text).corrections.map((item) => item.accepted);
      document.title = JSON.stringify([...out, saved.indexOf(true), saved.filter(Boolean).length]);
    });
    return "#";
  };
  document.getElementById("save").click();
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_filters_and_saves_in_a_browser(written: tuple[Path, Corrections], tmp_path: Path) -> None:
    path, listed = tmp_path / "driven.html", written[1].corrections
    path.write_text(written[0].read_text(encoding="utf-8") + DRIVE, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
               "--virtual-time-budget=4000", "--dump-dom"]  # fmt: skip
    result = subprocess.run([str(CHROMIUM), *options, path.as_uri()], capture_output=True, text=True, check=True)
    title = re.search(r"<title>(.*?)</title>", result.stdout)
    assert title
    missing = sum(item.kind == "missing" for item in listed)
    cats = sum("cat" in (item.class_name, item.suggested_class) for item in listed)
    everything = len(listed)
    assert json.loads(title[1]) == [everything, missing, cats, f"{everything} shown, 1 accepted", 1, 1]

"""The report's page: everything given is on it, everything is escaped, and nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from boxwright._util.ownership import GENERATOR
from boxwright.errors import WriteError
from boxwright.evaluate import ERROR_TYPES
from boxwright.report import Comparison, ErrorRow, Picture, ReportData, write_report
from boxwright.report.markup import Markup, bar, drawing, script_data, table, text
from boxwright.report.pictures import fitted
from html_tree import Tree

NASTY = "<script>alert('x')</script> & \"quotes\""


DIFFERENCE = SimpleNamespace(value=0.01, low=-0.01, high=0.03, p=0.2, verdict="no detectable difference")


def picture(name: str) -> Picture:
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    return Picture(
        name,
        image,
        [[5, 5, 40, 40]],
        [0],
        [0.75],
        [[6, 6, 41, 39], [50, 10, 80, 50]],
        [0, 1],
        right=[True],
        false=[False],
        missed=[[50, 10, 80, 50]],
        note="1 missed",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("report")
    log = folder / "metrics.csv"
    log.write_text("epoch,step,loss,val_AP\n" + "".join(f"{i // 10},{i},{5 - i / 10},{i / 50}\n" for i in range(40)))
    findings = [
        {"severity": "warning", "kind": "tiny", "file": f"w{i}.xml", "box": 0, "message": "small"} for i in range(3)
    ]
    findings.append({"severity": "error", "kind": "zero-area", "file": "e.xml", "box": None, "message": NASTY})
    data = ReportData(
        title=f"A run {NASTY}",
        classes=["cat", NASTY],
        environment=f"boxwright 0 {NASTY}",
        summary="A sentence.",
        training={"minutes": 8.25, NASTY: NASTY},
        recipe={"lr": 4e-3, "strides": (8, 16, 32), "pretrained": True, "box_weight": None},
        recipe_notes={"lr": "peak learning rate"},
        data={
            "images": 1234,
            "boxes": 99,
            "classes": {"cat": {"train": 7, "test": 2}, NASTY: {"train": 1}},
            "findings": findings,
        },
        metrics={"AP": 0.5004, "AP50": float("nan"), "voc07": 0.75},
        protocols={"AP": f"COCO {NASTY}"},
        warnings=[NASTY],
        per_class={"cat": {"AP": 0.25, "AP50": 0.5, "targets": 9}, NASTY: {"AP": float("nan"), "targets": 0}},
        curves={"cat": ([1, 0.5], [0.5, 0.5], [0.9, 0.8]), NASTY: ([], [], [])},
        commands=[f"boxwright train {NASTY}"],
        thresholds={"cat": 0.3, NASTY: 0.5},
        thresholds_said=f"From {NASTY} up.",
        trained="Trained on nothing.",
        certainty="Known well.",
        sliced_by=f"folder {NASTY}",
        slices={NASTY: SimpleNamespace(images=3, targets=4, AP=0.5, interval=(0.4, 0.6), difference=DIFFERENCE)},
        comparisons={f"b less {NASTY}": Comparison([{"AP": DIFFERENCE}, {NASTY: DIFFERENCE}], [(NASTY, 0.01)])},
        opening=[picture(f"o{NASTY}.jpg")],
        confusion=[[3, 1, 2], [0, 0, 1], [7, 0, 0]],
        errors={name: ErrorRow(0.01, 12) for name in (*ERROR_TYPES, "false_positive", "false_negative")},
        metrics_csv=log,
        pictures=[picture(f"a{NASTY}.jpg")],
        worst=[picture("b.jpg")],
        best=[picture("c.jpg")],
        files={"Model": Path("runs/x/model.safetensors")},
    )
    path = write_report(folder / "deep" / "report.html", data)
    assert path == folder / "deep" / "report.html"
    return Tree(path.read_text(encoding="utf-8"))


def test_nothing_is_loaded(page: Tree) -> None:
    assert page.tags.count("script") == 1
    assert "link" not in page.tags
    links = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "action", "data")]
    assert links
    assert all(value.startswith(("data:image/", "#")) for value in links)
    assert not [value for name, value in page.attributes if name.startswith("on")]
    styles = " ".join(value for name, value in page.attributes if name == "style") + page.text
    assert not re.search(r"url\((?!#)|@import|https?:", styles)


def test_user_text_is_escaped_everywhere(page: Tree) -> None:
    assert page.text.count(NASTY) >= 10


@pytest.mark.parametrize(
    "words",
    ["0.500", "0.750", "VOC07 mAP", "A sentence.", "8.25", "8, 16, 32", "peak learning rate", "1,234", "zero-area",
     "runs/x/model.safetensors", "2 objects, 1 found; 1 missed", "Losses", "Average precision on validation",
     "Precision and recall at IoU 0.5", "Where it went wrong most", "w0.xml: small", "Where it did best",
     "F1 by score threshold", "right class, box too far off", "Which class was taken for which",
     "boxwright train", "Trained on nothing.", "Known well.", "1 found, 0 false, 1 missed", "From <script>",
     "3 right, 8 false, 4 objects not found", "[0.400, 0.600]", "+0.010", "[−0.010, +0.030]",
     "1 confusion in the matrix, 12 classification errors in the table", "All 3 numbers"],
)  # fmt: skip
def test_content_is_there(page: Tree, words: str) -> None:
    assert words in page.text.replace("\n", " ")


def test_findings_are_counted_errors_first(page: Tree) -> None:
    words = page.text.split()
    assert words.index("zero-area") < words.index("tiny")
    assert words[words.index("tiny") + 1] == "3"


def test_pictures_are_pairs(page: Tree) -> None:
    assert page.tags.count("img") == 7
    assert ("alt", "b.jpg: truth") in page.attributes
    assert ("alt", "b.jpg: found") in page.attributes


def test_same_data_same_bytes(tmp_path: Path) -> None:
    data = ReportData("t", ["cat", "dog"], pictures=[picture("a")], curves={"cat": ([1.0], [1.0], [0.5])})
    one, two = (write_report(tmp_path / f"{i}.html", data).read_bytes() for i in range(2))
    assert one == two


def test_what_is_empty_is_left_out(tmp_path: Path) -> None:
    tree = Tree(write_report(tmp_path / "r.html", ReportData("Only a title", [])).read_text())
    assert "h1" in tree.tags
    assert "section" not in tree.tags
    assert "img" not in tree.tags


def test_a_clean_check_is_said_to_be_clean(tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "r.html", ReportData("t", [], data={"images": 3, "classes": {"a": 4}, "findings": []})
    )
    assert "nothing to fix" in path.read_text()


def test_an_image_without_objects(tmp_path: Path) -> None:
    empty = Picture("e", np.zeros((20, 10, 3), np.uint8), [], [], [], np.zeros((0, 4)), np.zeros(0, np.int64))
    assert (
        "0 objects, 0 found" in write_report(tmp_path / "r.html", ReportData("t", ["a"], pictures=[empty])).read_text()
    )


def test_images_are_fitted_and_boxes_follow() -> None:
    pixels, scale = fitted(np.zeros((1000, 2000, 3), np.uint8), (520, 400))
    assert pixels.shape == (260, 520, 3)
    np.testing.assert_allclose(scale, 0.26)
    pixels, scale = fitted(np.zeros((100, 50, 3), np.uint8), (520, 400))
    assert pixels.shape == (400, 200, 3)
    np.testing.assert_allclose(scale, 4)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234567, "1,234,567"), (0.004, "0.004"), (float("nan"), "–"), (None, "–"), (True, "yes"), ((), "–"), ({}, "–"),
     ({"a": 1}, "a 1"), (["<"], "&lt;"), ("<b>", "&lt;b&gt;"), (Markup("<b>"), "<b>")],
)  # fmt: skip
def test_text_of_values(value: object, expected: str) -> None:
    assert text(value) == expected


def test_table_escapes_head_and_cells() -> None:
    markup = table(("<a>",), [("<b>",)], "t")
    assert "<a>" not in markup
    assert "<b>" not in markup


@pytest.mark.parametrize(("value", "width"), [(0.5, "50.0%"), (1.5, "100.0%"), (-1.0, "0.0%")])
def test_bar(value: float, width: str) -> None:
    assert f"width:{width}" in bar(value)


def test_bar_of_another_length() -> None:
    assert "width:50.0%" in bar(0.01, 0.02)
    assert ">0.010<" in bar(0.01, 0.02)


HOSTILE = ("<!--<script>", "</script>", "<![CDATA[", "&lt;", "\u2028\u2029", "\udce9", "\ud83d", "\0\x1b", "猫", '"\\')


def test_data_for_a_script_can_neither_end_it_nor_hide_it() -> None:
    markup = script_data("list", {name: [name] for name in HOSTILE})
    found = re.fullmatch(r'<script type="application/json" id="list">([^<>&]*)</script>', markup)
    assert found
    assert found[1].isascii()
    assert json.loads(found[1]) == {name: [name] for name in HOSTILE}


def test_names_that_are_no_unicode_are_on_the_page_as_escapes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    data = ReportData(title=name, classes=["cat", name], pictures=[picture(name)], warnings=[name], commands=[name])
    page = Tree(write_report(tmp_path / "report.html", data).read_text(encoding="utf-8"))
    assert page.text.count("caf\\udce9.jpg") >= 4
    assert ("alt", "caf\\udce9.jpg: truth") in page.attributes


def test_a_page_says_who_wrote_it_and_replaces_no_other(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    for title in ("one", "two"):
        write_report(path, ReportData(title=title, classes=[]))
    assert ("content", GENERATOR) in Tree(path.read_text(encoding="utf-8")).attributes
    path.write_text("<html>mine</html>")
    with pytest.raises(WriteError, match="boxwright didn't write it"):
        write_report(path, ReportData(title="three", classes=[]))
    assert path.read_text() == "<html>mine</html>"
    write_report(path, ReportData(title="three", classes=[]), overwrite=True)


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_a_drawing_is_on_the_page_byte_by_byte(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (7, 5)).save(buffer, kind)
    ((_, source), (_, width), (_, height), (_, alt)) = Tree(drawing(buffer.getvalue(), NASTY)).attributes
    head, _, data = source.partition(",")
    assert head == f"data:image/{kind};base64"
    assert base64.b64decode(data) == buffer.getvalue()
    assert (width, height, alt) == ("7", "5", NASTY)

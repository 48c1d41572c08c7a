"""The page in a browser: sorted and filtered by keyboard, no wider than a telephone, whole on paper."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from boxwright.evaluate import ERROR_TYPES
from boxwright.report import Comparison, ErrorRow, Picture, ReportData, write_report

COUNT = 80
NAMES = [f"class {place:02d}" for place in range(COUNT - 1)] + ["a name of a class that is really very long indeed"]
DIFFERENCE = SimpleNamespace(value=0.01, low=-0.01, high=0.03, p=0.2, verdict="no detectable difference")

pytestmark = pytest.mark.slow


def report(classes: list[str]) -> ReportData:
    """Every section, with an AP that rises with the class and objects that fall."""
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (60, 90, 3), dtype=np.uint8)
    picture = Picture(
        "a_long_name_without_a_place_to_break_it" * 3, image, [[5, 5, 40, 40]], [0], [0.7], [], [], [1], [0]
    )
    count = len(classes)
    rows = {
        name: {
            "AP": place / count,
            "AP50": 0.5,
            "AP75": 0.5,
            "targets": 3000 - 7 * place,
            "score": 0.3,
            "precision": 1.0,
        }
        for place, name in enumerate(classes)
    }
    ends = {"AP": (0.1, 0.9), "AP50": (0.1, 0.9), "AP75": (0.1, 0.9)}
    part = SimpleNamespace(images=3, targets=4, AP=0.5, interval=(0.4, 0.6), difference=DIFFERENCE)
    return ReportData(
        "A run",
        classes,
        summary="AP 0.5 on nothing.",
        metrics={"AP": 0.5, "AP50": 0.5, "AP75": 0.5, "voc07": 0.5},
        protocols={"AP": "COCO: " + "a long protocol " * 9},
        per_class=rows,
        class_intervals=dict.fromkeys(classes, ends),
        curves={name: ([1.0, 0.5], [0.5, 0.5], [0.9, 0.8]) for name in classes},
        thresholds=dict.fromkeys(classes, 0.3),
        confusion=np.pad(random.integers(1, 900, (count, count)), (0, 1)),
        errors={name: ErrorRow(0.01, 12345) for name in (*ERROR_TYPES, "false_positive", "false_negative")},
        sliced_by="folder",
        slices={"day": part, "a_long_name_without_a_place_to_break_it" * 2: part},
        comparisons={"b less a": Comparison([{"AP": DIFFERENCE}, {"AP cat": DIFFERENCE}], [("x" * 90, 0.01)])},
        opening=[picture] * 4,
        worst=[picture],
        training={"minutes": 8.25, "optimizer": "with a long value " * 9},
        commands=["boxwright train " + "x" * 200],
        recipe={"a_key": "value" * 30},
        recipe_notes={"a_key": "a note"},
        data={"images": 3, "classes": {name: {"train": 3, "test": 4} for name in classes}, "findings": []},
        files={"Model": "/a/long/path" * 12},
    )


@pytest.fixture(scope="module", params=[1, 3, 20, COUNT])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("page") / "report.html", report(NAMES[-request.param :]))


@pytest.fixture
def long_page(tmp_path: Path) -> Path:
    return write_report(tmp_path / "report.html", report(NAMES))


def opened(browser: Any, path: Path, width: int) -> Any:
    browser.get("about:blank")  # so that the focus starts at the top
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []
    return browser


def first_cells(browser: Any) -> list[str]:
    rows = "[...document.querySelectorAll('.classes tbody tr')].filter(row => !row.hidden)"
    return browser.execute_script(f"return {rows}.map(row => row.cells[0].textContent)")


@pytest.mark.parametrize("width", [390, 700, 1000, 1280])
def test_nothing_but_the_matrix_is_wider_than_the_screen(browser: Any, page: Path, width: int) -> None:
    opened(browser, page, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    across, room = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert across <= room == width
    wide = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).map(e => [e.className, e.textContent])"
    )
    assert [words for name, words in wide if name != "wide confusion"] == []
    assert browser.execute_script("return document.body.innerText.includes('undefined')") is False


def test_heads_sort_by_keyboard_and_say_so(browser: Any, long_page: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    opened(browser, long_page, 1280)
    assert first_cells(browser) == NAMES
    heads = browser.find_elements("css selector", ".classes th")
    assert [head.text.split()[0] for head in heads[:3]] == ["class", "objects", "AP"]
    reached = []
    while "AP ▲" not in reached and len(reached) < 9:
        ActionChains(browser).send_keys(Keys.TAB).perform()
        element = browser.switch_to.active_element
        reached.append(element.text or element.tag_name)
        if element.tag_name == "button" and element.text.startswith("objects"):
            assert element.value_of_css_property("outline-style") != "none"
            element.send_keys(Keys.ENTER)
            assert heads[1].get_attribute("aria-sort") == "descending"
            assert heads[2].get_attribute("aria-sort") is None
            assert first_cells(browser) == NAMES
            element.send_keys(Keys.SPACE)
            assert heads[1].get_attribute("aria-sort") == "ascending"
            assert first_cells(browser) == NAMES[::-1]
            break
    assert reached[-1].startswith("objects")


def test_the_filter_leaves_the_classes_of_a_name(browser: Any, long_page: Path) -> None:
    opened(browser, long_page, 390)
    field = browser.find_element("css selector", ".filter input")
    field.send_keys("CLASS 1")
    assert first_cells(browser) == [f"class 1{digit}" for digit in range(10)]
    assert browser.find_element("css selector", ".filter [role=status]").text == "10 of 80"
    field.send_keys("zebra")
    assert first_cells(browser) == []
    field.clear()
    field.send_keys(" ")
    assert len(first_cells(browser)) == COUNT


def test_a_matrix_keeps_its_heads_while_it_is_scrolled(browser: Any, tmp_path: Path) -> None:
    opened(browser, write_report(tmp_path / "report.html", report(NAMES[-20:])), 390)
    box = "document.querySelector('.confusion')"
    before = browser.execute_script(f"return {box}.querySelector('tbody th').getBoundingClientRect().left")
    browser.execute_script(f"{box}.scrollLeft = 300")
    assert browser.execute_script(f"return {box}.scrollLeft") == 300
    assert browser.execute_script(f"return {box}.querySelector('tbody th').getBoundingClientRect().left") == before


def test_print_opens_what_is_folded_and_leaves_out_controls(browser: Any, long_page: Path) -> None:
    opened(browser, long_page, 698)  # of A4 between the margins
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        cut = "[...document.querySelectorAll('.wide:not(.confusion)')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        assert browser.execute_script(f"return {cut}.map(e => e.textContent)") == []
        assert browser.execute_script("return document.querySelector('details table').checkVisibility()")
        assert not browser.find_element("css selector", ".filter").is_displayed()
        assert (
            browser.execute_script("return getComputedStyle(document.querySelector('.confusion')).overflowX")
            == "visible"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    paper = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert paper.startswith(b"%PDF")


def test_without_the_script_all_is_there(browser: Any, long_page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, long_page, 1280)
        assert not browser.find_elements("css selector", "button")
        assert len(browser.find_elements("css selector", ".classes tbody tr")) == COUNT
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

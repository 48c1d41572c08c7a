"""The page: complete in itself, and worked in a real browser by clicks and keys."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import CHROMIUM, FLAGS
from inspect_builders import SSD_LIKE, small_recipe

from boxwright.data import DetectionDataset, read_dataset
from boxwright.inspect import Inspection, inspect_supervision, payload, write_page
from boxwright.models import build_detector
from boxwright.runs import Run

OPTIONS = {**SSD_LIKE, "matcher": "iou:positive=0.5,negative=0.4", "image_size": 160}


@pytest.fixture(scope="module")
def run(dataset: DetectionDataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """As a training leaves it, though nothing was learnt."""
    torch.manual_seed(2)
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    run.keep(build_detector(small_recipe(**OPTIONS, classes=dataset.classes), pretrained=False))
    rows = "".join(f"0,{step},{3 - step / 10},{step / 10},0.4\n" for step in range(3))
    run.metrics_file.write_text(f"epoch,step,loss,hard_positives,positive_share\n{rows}")
    return run


@pytest.fixture(scope="module")
def inspection(dataset: DetectionDataset, run: Run) -> Inspection:
    return inspect_supervision(dataset, run=run)


@pytest.fixture(scope="module")
def page(inspection: Inspection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("page") / "inspect.html", inspection)


def content(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    return json.loads(found.group(1))


def test_it_is_complete_in_itself(page: Path, inspection: Inspection) -> None:
    text = page.read_text()
    assert text.count("<html") == 1
    assert not re.search(r"(src|href)=[\"']?(?!data:|#)[a-z/]", text.replace("picture.src", ""))
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert inspection.headline in text
    for title in ("Objects and their anchors", "One object and its", "Levels", "Coverage", "Other anchors", "Over the"):
        assert title in text
    assert len(content(page)["images"]) == 8


def test_the_unmatched_come_first_then_the_highest_losses(inspection: Inspection) -> None:
    keys = [(-int((e.positives[~e.ignore] == 0).sum()), -e.total) for e in inspection.examples]
    assert keys == sorted(keys)


def test_the_numbers_are_those_of_the_criterion(inspection: Inspection) -> None:
    """Their sum over what counts, by the positives, is the loss that training would have."""
    for example in inspection.examples:
        roles, costs = example.roles, example.costs
        assert costs is not None
        positive = roles.state == 1
        losses = (costs.object + costs.box)[positive & costs.counted].sum()
        losses += costs.background[(roles.state == 0) & costs.counted].sum()
        assert float(losses) / max(int(positive.sum()), 1) == pytest.approx(example.total, rel=1e-4)


def test_without_a_run_there_are_no_losses(dataset: DetectionDataset, tmp_path: Path) -> None:
    path = write_page(tmp_path / "page.html", inspect_supervision(dataset, small_recipe(), examples=3))
    packed = content(path)
    assert [set(image["columns"]) for image in packed["images"]] == [{"boxes", "level", "target", "iou", "flags"}] * 3
    text = path.read_text()
    assert 'id="ratio"' not in text
    assert 'id="positive"' not in text
    assert "has no threshold on an IoU to move" in text


@pytest.mark.parametrize("name", ["</script><b>", "<!--<script>", "<!--", "a&lt;b"])
def test_names_cannot_break_the_page(name: str, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    for file in copy.rglob("*.xml"):
        file.write_text(file.read_text().replace("<name>cat<", f"<name>{html.escape(name)}<"))
    path = write_page(tmp_path / "page.html", inspect_supervision(read_dataset(copy), small_recipe(), examples=2))
    assert name not in path.read_text()
    assert name in content(path)["classes"]


def test_a_loss_that_is_not_finite_is_no_broken_json(inspection: Inspection, tmp_path: Path) -> None:
    examples = [replace(example, total=float("nan")) for example in inspection.examples]
    path = write_page(tmp_path / "page.html", replace(inspection, examples=examples))
    assert "NaN" not in json.dumps(content(path)["images"][0]["loss"])
    assert content(path)["images"][0]["loss"] is None


def test_the_page_is_bounded_and_says_what_it_leaves_out(
    inspection: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "MOST_BYTES", 1)
    path = write_page(tmp_path / "page.html", inspection)
    assert len(content(path)["images"]) == 1
    assert "7 images more would have made the page too large" in path.read_text()


def test_images_that_are_not_there_are_left_out(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "JPEGImages" / "03.jpg").unlink()
    dataset = read_dataset(copy)
    found = inspect_supervision(dataset, small_recipe())
    assert len(found.examples) == 7
    assert (found.supervision.image == 3).any()
    none = inspect_supervision(replace(dataset, has_images=False), small_recipe())
    assert "One object and its anchors" not in write_page(tmp_path / "page.html", none).read_text()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    driver_file = shutil.which("chromedriver")
    if CHROMIUM is None or driver_file is None:
        pytest.skip("Chromium and its driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1280,1400"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_file))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.get("about:blank")  # so that the focus starts at the top
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def counts(browser: Any) -> list[int]:
    return [int(n) for n in by_id(browser, "canvas").get_attribute("data-states").split()]


def by_id(browser: Any, name: str) -> Any:
    return browser.find_element("id", name)


def listed(browser: Any) -> list[Any]:
    return browser.find_elements("css selector", "#images button")


@pytest.mark.slow
@pytest.mark.parametrize("matcher", ["atss", "iou:force=bipartite", "points"])
def test_a_page_without_losses_works_too(browser: Any, dataset: DetectionDataset, matcher: str, tmp_path: Path) -> None:
    found = inspect_supervision(dataset, small_recipe(matcher=matcher), examples=3)
    browser.get(write_page(tmp_path / "page.html", found).as_uri())
    for place, example in enumerate(found.examples):
        listed(browser)[place].click()
        own, forced, *_ = counts(browser)
        assert own + forced == int((example.roles.state == 1).sum())
        assert bool(forced) == bool(example.roles.fixed.any() and "iou" in matcher)
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_clicks_choose_images_and_filters(opened: Any, inspection: Inspection) -> None:
    assert [b.text.splitlines()[0] for b in listed(opened)] == [e.name for e in inspection.examples]
    listed(opened)[2].click()
    assert by_id(opened, "caption").text == inspection.examples[2].name
    by_id(opened, "class").find_elements("tag name", "option")[2].click()
    dogs = [e.name for e in inspection.examples if ((e.labels == 1) & ~e.ignore).any()]
    assert [b.text.splitlines()[0] for b in listed(opened)] == dogs
    by_id(opened, "class").find_elements("tag name", "option")[0].click()
    by_id(opened, "size").find_elements("tag name", "option")[3].click()
    large = [e.name for e in inspection.examples if _has_large(e)]
    assert [b.text.splitlines()[0] for b in listed(opened)] == large
    by_id(opened, "only").find_elements("tag name", "option")[1].click()
    assert listed(opened) == []
    assert by_id(opened, "none").is_displayed()


def _has_large(example: Any) -> bool:
    sides = (example.boxes[:, 2:] - example.boxes[:, :2]).prod(1)
    return bool(((sides >= 96**2) & ~example.ignore).any())


@pytest.mark.slow
def test_sliders_move_states_and_the_button_takes_them_back(opened: Any) -> None:
    listed(opened)[1].click()
    before = counts(opened)
    slider = by_id(opened, "positive")
    slider.send_keys("\ue012" * 20)  # left arrow
    assert by_id(opened, "positive-value").text == "0.3"
    assert by_id(opened, "negative-value").text == "0.3"
    lower = counts(opened)
    assert lower[0] + lower[1] > before[0] + before[1]
    assert lower[4] < before[4]
    by_id(opened, "ratio").send_keys("\ue011")  # home
    assert counts(opened)[2] == 0
    by_id(opened, "reset").click()
    assert counts(opened) == before


@pytest.mark.slow
def test_pointing_and_arrow_keys_tell_of_an_anchor(opened: Any, inspection: Inspection) -> None:
    from selenium.webdriver import ActionChains, Keys

    canvas = by_id(opened, "canvas")
    canvas.send_keys(Keys.ARROW_DOWN)
    told = by_id(opened, "told").text
    assert "state" in told
    assert "loss" in told
    canvas.send_keys(Keys.ARROW_DOWN)
    assert by_id(opened, "told").text != told
    example = inspection.examples[0]
    place = int((example.roles.state == 1).nonzero()[0])
    x0, y0, _, _ = inspection.supervision.anchors.boxes[example.anchor[place]].tolist()
    area = canvas.rect
    right, down = max(x0, 2) / 160 * area["width"], max(y0, 2) / 160 * area["height"]
    move = ActionChains(opened).move_to_element_with_offset(
        canvas, right - area["width"] / 2 + 1, down - area["height"] / 2 + 1
    )
    move.perform()
    assert "positive" in by_id(opened, "told").text or "negative" in by_id(opened, "told").text


@pytest.mark.slow
def test_the_keyboard_reaches_everything(opened: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    reached = []
    for _ in range(40):
        ActionChains(opened).send_keys(Keys.TAB).perform()
        element = opened.switch_to.active_element
        reached.append(element.get_attribute("id") or element.get_attribute("data-kind") or element.tag_name)
        outline = element.value_of_css_property("outline-style")
        assert outline != "none", reached[-1]
        if reached[-1] == "order" and "reset" in reached:
            break
    for wanted in (
        "order",
        "canvas",
        "previous",
        "next",
        "zoom",
        "button",
        "0",
        "4",
        "objects",
        "object",
        "ratio",
        "reset",
    ):
        assert wanted in reached
    listed(opened)[0].send_keys(Keys.ARROW_DOWN)
    active = opened.switch_to.active_element
    assert active.get_attribute("aria-current") == "true"
    assert by_id(opened, "caption").text == active.text.splitlines()[0]
    assert active.text.splitlines()[0] == listed(opened)[1].text.splitlines()[0]


@pytest.mark.slow
def test_checkboxes_hide_kinds(opened: Any) -> None:
    box = opened.find_element("css selector", '[data-kind="2"]')
    before = opened.execute_script("return document.getElementById('canvas').toDataURL()")
    box.click()
    assert opened.execute_script("return document.getElementById('canvas').toDataURL()") != before


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out(opened: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def object_told(browser: Any) -> str:
    return by_id(browser, "object-told").text


@pytest.mark.slow
def test_the_page_opens_with_the_first_object_alone(opened: Any, inspection: Inspection) -> None:
    example = inspection.examples[0]
    first = int((~example.ignore).argmax())
    assert object_told(opened).startswith(f"Object {first + 1} of {len(example.labels)}: ")
    count = int(((example.roles.state == 1) & (example.roles.target == first)).sum())
    wanted = "no anchor answers" if not count else f"{count} anchor{'s answer' if count > 1 else ' answers'} for it"
    assert wanted in object_told(opened)
    assert by_id(opened, "object").get_attribute("value") == str(first)


@pytest.mark.slow
@pytest.mark.parametrize("by_key", [False, True])
def test_objects_follow_each_other_through_all_images_and_back(
    opened: Any, inspection: Inspection, by_key: bool
) -> None:
    from selenium.webdriver import Keys

    def step(button: str, key: str) -> str:
        by_id(opened, "canvas").send_keys(key) if by_key else by_id(opened, button).click()
        return f"{by_id(opened, 'caption').text}: {object_told(opened)}"

    start = f"{by_id(opened, 'caption').text}: {object_told(opened)}"
    seen = [start]
    while (told := step("next", Keys.ARROW_RIGHT)) != start:
        seen.append(told)
    objects = sum(int((~e.ignore).sum()) for e in inspection.examples)
    empty = sum(not (~e.ignore).any() for e in inspection.examples)
    assert len(seen) == len(set(seen)) == objects + empty
    back = [step("previous", Keys.ARROW_LEFT) for _ in seen]
    assert back == seen[::-1]


@pytest.mark.slow
def test_a_filter_chooses_an_object_that_fits(opened: Any, inspection: Inspection) -> None:
    by_id(opened, "class").find_elements("tag name", "option")[2].click()
    assert f": {inspection.dataset.classes[1]}, " in object_told(opened)


@pytest.mark.slow
def test_words_tell_what_they_mean_by_keyboard(opened: Any) -> None:
    from selenium.webdriver import Keys

    word = opened.find_element("css selector", '[popovertarget="word-own-anchor"]')
    meaning = by_id(opened, "word-own-anchor")
    assert not meaning.is_displayed()
    word.send_keys(Keys.ENTER)
    assert "overlaps an object most" in meaning.text
    word.send_keys(Keys.ESCAPE)
    assert not meaning.is_displayed()


@pytest.mark.slow
def test_zoom_shows_the_object_larger(opened: Any) -> None:
    before = opened.execute_script("return document.getElementById('canvas').toDataURL()")
    by_id(opened, "zoom").click()
    assert opened.execute_script("return document.getElementById('canvas').toDataURL()") != before

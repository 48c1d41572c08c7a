"""The site: its reference leaves nothing out, its tables are well formed, and it builds without a warning."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

import boxwright
from api_pages import api_pages, page_of, public_names
from boxwright.catalog import PART_KEYS, built_in
from boxwright.cli.app import app
from boxwright.recipes import Recipe, list_recipes
from cells import code, prose, table
from command_pages import command_pages
from repository_pages import REPOSITORY, as_page, redirect_links
from table_pages import keys_page, parts_page, recipes_page

ROOT = Path(__file__).parents[2]


def test_no_public_name_is_missing() -> None:
    shown = set(re.findall(r"^::: (\S+)$", "\n".join(api_pages().values()), re.M))
    for name in boxwright.__all__:
        value = getattr(boxwright, name)
        if isinstance(value, ModuleType):
            assert {f"boxwright.{name}.{each}" for each in getattr(value, "__all__", ())} <= shown
            assert f"boxwright.{name}" in shown
        elif name != "__version__":
            assert f"boxwright.{name}" in shown
    assert "boxwright.mining.hard_negatives" in shown
    assert "boxwright.parts.F" not in shown


def test_no_name_that_a_page_uses_is_missing() -> None:
    shown = {f"{module}.{name}" for module, names in public_names().items() for name in (*names, "")}
    docs = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb"), *ROOT.glob("*.md")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in docs)
    used = {f"boxwright.{name}" for name in re.findall(r"\bbw\.(\w+\.\w+)\(", text)}
    for module, names in re.findall(r"from (boxwright[\w.]*) import (\w+(?:, \w+)*)", text):
        used |= {f"{module}.{name}" for name in names.split(", ")}
    assert len(used) > 50
    assert sorted(name for name in used if name not in shown and f"{name}." not in shown) == []


def test_every_public_name_exists() -> None:
    for module, names in public_names().items():
        owner = sys.modules[module]
        assert names
        assert len(set(names)) == len(names)
        for name in names:
            assert getattr(owner, name) is not None


def test_every_command_has_a_page_with_every_option() -> None:
    pages = command_pages()
    assert len(pages) == 21
    train = get_command(app).commands["train"]
    page = pages["reference/commands/train.md"]
    for option in train.params:
        for name in (*option.opts, *option.secondary_opts):
            assert name.startswith("-") is False or f"`{name}`" in page
    assert "| `--minutes` | `FLOAT` |  | Minutes of training steps, instead of epochs. |" in page
    assert "`DATA`" in page


def test_every_recipe_key_and_part_has_a_row() -> None:
    keys, parts, recipes = keys_page(), parts_page(), recipes_page()
    for item in fields(Recipe):
        assert f"\n| `{item.name}` |" in keys
    for key in PART_KEYS:
        section = parts.partition(f"\n## {key}\n")[2].partition("\n## ")[0]
        assert [name for name in built_in(key) if f"\n| `{name}` |" not in section] == []
    for name in list_recipes():
        assert f"\n## {name}\n" in recipes
    assert "| `matcher` | `iou:positive=0.5" in recipes.partition("## ssd300\n")[2].partition("\n## ")[0]


def test_a_part_leads_to_its_documentation() -> None:
    assert page_of("boxwright.losses.iou_variants", "siou_loss") == "python/losses.md#boxwright.losses.siou_loss"
    assert page_of("boxwright.recipes.anchors", "nothing") is None


def test_cells_hold_what_tables_part_by() -> None:
    made = table(("a", "b"), [("x | y", code("p|q")), (prose("1 < 2 and a_b"), prose("``c_d`` [e]"))])
    assert made.splitlines()[2:] == [r"| x \| y | `p|q` |", r"| 1 &lt; 2 and a\_b | `c_d` \[e] |"]


@pytest.mark.parametrize(
    ("source", "site", "link", "leads"),
    [
        ("docs/architecture.md", "architecture.md", "../CONTRIBUTING.md#layers", "project/contributing.md#layers"),
        ("docs/howto/own.md", "howto/own.md", "../../examples/centernet.py", "../project/centernet.md"),
        ("docs/howto/own.md", "howto/own.md", "../nms.md#soft", "../nms.md#soft"),
        ("CONTRIBUTING.md", "project/contributing.md", "docs/own-parts.md", "../own-parts.md"),
        ("docs/index.md", "index.md", "notebooks/tutorial.ipynb", "notebooks/tutorial.md"),
        ("docs/notebooks/tutorial.ipynb", "notebooks/tutorial.md", "../nms.md#soft", "../nms.md#soft"),
        ("docs/nms.md", "nms.md", "../missing.md", "../missing.md"),
        ("docs/nms.md", "nms.md", "https://example.org/a", "https://example.org/a"),
    ],
)
def test_links_out_of_the_pages_lead_to_pages(source: str, site: str, link: str, leads: str) -> None:
    assert redirect_links(f"see [it]({link}).", source, site) == f"see [it]({leads})."


def test_a_notebook_is_a_page_of_its_cells() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Text."]},
        {"cell_type": "code", "source": "a = 1\nb", "outputs": []},
    ]
    made = as_page("docs/notebooks/made.ipynb", json.dumps({"cells": cells}))
    run = 'To run it: <a href="made.ipynb" download>made.ipynb</a>.'
    assert made == f"# Title\n\nText.\n\n{run}\n\n```python\na = 1\nb\n```\n"


def test_what_the_site_shows_of_the_repository_is_there() -> None:
    assert all((ROOT / source).is_file() for source in REPOSITORY.values())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("docs") / "site"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--site-dir", str(folder)]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert (found.returncode, found.stderr) == (0, "")
    return folder


@pytest.mark.slow
def test_it_builds_without_a_warning_and_asks_no_network(site: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 80
    for path, text in pages.items():
        loaded = re.findall(r'<(?:script|img|link)[^>]*?(?:src|href)="?(https?:[^" >]+)', text)
        assert [each for each in loaded if "squidfunk" not in each] == [], path
    shown = html.unescape("".join(pages.values()))
    for module, names in public_names().items():
        for name in names:
            assert f'id="{module}.{name}"' in shown, f"{module}.{name}"


SHOWN = """
const width = document.documentElement.clientWidth, content = [...document.querySelectorAll(".md-content *")];
const scrolls = (each) => each.closest(".md-content") && (
  /auto|scroll|hidden/.test(getComputedStyle(each).overflowX) || scrolls(each.parentElement));
const headings = content.filter((each) => /^H[1-6]$/.test(each.tagName)).map((each) => Number(each.tagName[1]));
return {
  width,
  wide: content.filter((each) => each.getBoundingClientRect().right > width + 1 && !scrolls(each)).map(String),
  broken: [...document.images].filter((each) => !each.naturalWidth).map((each) => each.src),
  unnamed: [...document.images].filter((each) => !each.alt).map((each) => each.src),
  alone: [...document.querySelectorAll(".md-content img")].filter((each) => !each.closest("a[href]")).length,
  headings,
}
"""
"""What a page looks like at the window's width: what is too wide beside tables and code, pictures and headings."""


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_a_telephone_and_a_desk(site: Path, browser: Any, width: int) -> None:
    device = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    pages = [*site.glob("*.html"), *(site / "howto").glob("*.html"), *(site / "reference").glob("*.html")]
    pages += [site / "reference" / name for name in ("commands/train.html", "python/losses.html")]
    for page in pages[:: 1 if width < 700 else 4]:  # few are wider than a desk
        if page.stem == "404":  # which only a server shows
            continue
        browser.get(page.as_uri())
        found = browser.execute_script(SHOWN)
        shown, headings = found.pop("width"), found.pop("headings")
        assert width - 20 < shown <= width  # less a scroll bar
        assert found == {"wide": [], "broken": [], "unnamed": [], "alone": 0}, page.name
        assert headings[0] == 1
        assert headings.count(1) == 1, page.name
        assert all(after <= before + 1 for before, after in pairwise(headings)), page.name
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_it_is_searched_from_disk(site: Path, browser: Any) -> None:
    browser.get((site / "index.html").as_uri())
    browser.execute_script("document.querySelector('[data-md-toggle=search]').click()")
    browser.find_element("css selector", "input[name=query]").send_keys("bipartite")
    deadline, found = time.monotonic() + 60, []
    while not found and time.monotonic() < deadline:
        found = browser.execute_script(
            "return [...document.querySelectorAll('.md-search-result__link')].map((each) => each.href)"
        )
    assert any(each.startswith((site / "matching.html").as_uri()) for each in found), found
    assert all(each.startswith("file:") for each in found)

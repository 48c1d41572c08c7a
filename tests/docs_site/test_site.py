"""The site: its reference leaves nothing out, its tables are well formed, and it builds without a warning."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

import boxwright
from api_pages import api_pages, page_of, public_names
from boxwright.catalog import PART_KEYS, built_in
from boxwright.cli.app import app
from boxwright.recipes import Recipe, list_recipes
from cells import code, prose, table
from command_pages import command_pages
from repository_pages import REPOSITORY, redirect_links
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
        ("docs/nms.md", "nms.md", "../missing.md", "../missing.md"),
        ("docs/nms.md", "nms.md", "https://example.org/a", "https://example.org/a"),
    ],
)
def test_links_out_of_the_pages_lead_to_pages(source: str, site: str, link: str, leads: str) -> None:
    assert redirect_links(f"see [it]({link}).", source, site) == f"see [it]({leads})."


def test_what_the_site_shows_of_the_repository_is_there() -> None:
    assert all((ROOT / source).is_file() for source in REPOSITORY.values())


@pytest.mark.slow
def test_it_builds_without_a_warning_and_asks_no_network(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--site-dir", str(tmp_path / "site")]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert (found.returncode, found.stderr) == (0, "")
    pages = {path: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert len(pages) > 80
    for path, text in pages.items():
        loaded = re.findall(r'<(?:script|img|link)[^>]*?(?:src|href)="?(https?:[^" >]+)', text)
        assert [each for each in loaded if "squidfunk" not in each] == [], path
    shown = html.unescape("".join(pages.values()))
    for module, names in public_names().items():
        for name in names:
            assert f'id="{module}.{name}"' in shown, f"{module}.{name}"
    shutil.rmtree(tmp_path / "site")

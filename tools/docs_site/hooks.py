"""What mkdocs calls: adds the pages that are made from the code, leads links out of docs/ to pages of the site, and
pictures to themselves."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from api_pages import api_pages
from command_pages import command_pages
from repository_pages import REPOSITORY, redirect_links, repository_pages
from table_pages import table_pages

_SECTIONS = {
    "Commands": command_pages,
    "Recipes and parts": table_pages,
    "Python": api_pages,
}
_pages: dict[str, str] = {}
"""Path in the site -> Markdown, of the pages that no file of docs/ holds."""


def on_config(config: MkDocsConfig) -> None:
    """Make the pages, and put them into the navigation."""
    reference: list[Any] = []
    for title, make in _SECTIONS.items():
        made = make()
        _pages.update(made)
        reference.append({title: list(made)})
    project = repository_pages()
    _pages.update(project)
    assert config.nav is not None
    pages = [path for path in project if path.startswith("project/")]
    config.nav += [{"Reference": reference}, {"Project": [*pages, "releasing.md"]}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages to those of docs/."""
    for path, text in _pages.items():
        files.append(File.generated(config, path, content=text))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files outside of docs/ to the pages that show them."""
    path = page.file.src_uri
    source = REPOSITORY.get(path, f"docs/{path}")
    return redirect_links(markdown, source, path)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead each picture to itself: alone it can be enlarged, where a telephone shows a wide one too small to read."""
    return re.sub(r'<img [^>]*?src="([^"]+)"[^>]*>', r'<a href="\1">\g<0></a>', html)

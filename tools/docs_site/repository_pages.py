"""Files of the repository that the site shows beside the Markdown of docs/, with their links led to its pages."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
REPOSITORY = {
    "project/contributing.md": "CONTRIBUTING.md",
    "project/changelog.md": "CHANGELOG.md",
    "notebooks/tutorial.md": "docs/notebooks/tutorial.ipynb",
    **{f"project/{name.removesuffix('.py')}.md": f"examples/{name}" for name in EXAMPLES},
}
"""Path in the site -> path in the repository."""

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")


def repository_pages() -> dict[str, str]:
    """Return the pages of ``REPOSITORY``."""
    return {site: as_page(source, (ROOT / source).read_text(encoding="utf-8")) for site, source in REPOSITORY.items()}


def as_page(source: str, text: str) -> str:
    """Make a page of a file: of Markdown as it is, of a notebook its cells, of a program a block of code."""
    if source.endswith(".md"):
        return text
    if source.endswith(".ipynb"):
        return _notebook_page(posixpath.basename(source), json.loads(text)["cells"])
    return f"# {source}\n\n```python\n{text}```\n"


def _notebook_page(name: str, cells: list[dict[str, Any]]) -> str:
    """The title, where the notebook itself is, and the cells."""
    title, *rest = (_cell(each["cell_type"], "".join(each["source"])) for each in cells)
    return "\n\n".join([title, f'To run it: <a href="{name}" download>{name}</a>.', *rest]) + "\n"


def _cell(kind: str, text: str) -> str:
    return text if kind == "markdown" else f"```python\n{text}\n```"


def redirect_links(markdown: str, source: str, site: str) -> str:
    """Rewrite the relative links of a page, file ``source`` of the repository, for its place ``site``.

    A link to what the site doesn't have stays as it is: a strict build then fails and names it.
    """
    shown = {path: page for page, path in REPOSITORY.items()}

    def lead(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        page = shown.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        if page is None:
            return link[0]
        return posixpath.relpath(page, posixpath.dirname(site) or ".") + (link[2] or "")

    return _LINK.sub(lead, markdown)

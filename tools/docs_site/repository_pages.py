"""Files of the repository outside of docs/ that the site shows: as they are, with their links led to its pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
REPOSITORY = {
    "project/contributing.md": "CONTRIBUTING.md",
    "project/changelog.md": "CHANGELOG.md",
    **{f"project/{name.removesuffix('.py')}.md": f"examples/{name}" for name in EXAMPLES},
}
"""Path in the site -> path in the repository."""

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")


def repository_pages() -> dict[str, str]:
    """Return the pages of ``REPOSITORY``: Markdown as it is, programs as a block of code."""
    pages = {}
    for site, source in REPOSITORY.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        pages[site] = text if source.endswith(".md") else f"# {source}\n\n```python\n{text}```\n"
    return pages


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

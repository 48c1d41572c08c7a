"""What the files around a release say, and where they disagree."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import NamedTuple

_HEAD = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<day>.+))?$", re.MULTILINE)
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


class Section(NamedTuple):
    """A section of CHANGELOG.md."""

    name: str
    day: str
    text: str


def sections(root: Path) -> list[Section]:
    """Return the sections of CHANGELOG.md from the top; their text ends before the list of links."""
    text = re.sub(r"^\[[^\]]+\]: \S+\n?", "", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return [
        Section(head["name"], head["day"] or "", text[head.end() : end].strip())
        for head, end in zip(heads, ends, strict=True)
    ]


def newest_version(root: Path) -> str:
    """Return the version at the top of CHANGELOG.md, the one to be released. Raises ValueError if there is none."""
    names = [section.name for section in sections(root) if section.name != "Unreleased"]
    if not names:
        raise ValueError("CHANGELOG.md has no version: write its section, ## [X.Y.Z] - YYYY-MM-DD")
    return names[0]


def faults(root: Path) -> list[str]:
    """Name what keeps the tree from being released as the version at the top of CHANGELOG.md, with what to do."""
    version = newest_version(root)
    return [*_changelog_faults(root, version), *_citation_faults(root, version), *_project_faults(root, version)]


def _changelog_faults(root: Path, version: str) -> list[str]:
    found = []
    by_name = {section.name: section for section in sections(root)}
    section, unreleased = by_name[version], by_name.get("Unreleased")
    if not _VERSION.fullmatch(version):
        found.append(f"CHANGELOG.md: {version} is no version of the form X.Y.Z or X.Y.Zrc1")
    if not _is_day(section.day):
        found.append(f"CHANGELOG.md: {version} has no date: write ## [{version}] - YYYY-MM-DD")
    if not section.text:
        found.append(f"CHANGELOG.md: nothing stands under {version}")
    if unreleased is not None and unreleased.text:
        found.append(f"CHANGELOG.md: lines stand under Unreleased: put them under {version}, or under a new version")
    if f"\n[{version}]: " not in (root / "CHANGELOG.md").read_text(encoding="utf-8"):
        found.append(f"CHANGELOG.md: the link of {version} is missing at its end: write [{version}]: ADDRESS")
    return found


def _citation_faults(root: Path, version: str) -> list[str]:
    text = (root / "CITATION.cff").read_text(encoding="utf-8")
    said = dict(re.findall(r"^(version|date-released): *[\"']?(.*?)[\"']?$", text, re.MULTILINE))
    day = next(section.day for section in sections(root) if section.name == version)
    return [
        f"CITATION.cff: {key} is {said.get(key, 'missing')}: write {expected}, as in CHANGELOG.md"
        for key, expected in (("version", version), ("date-released", day))
        if said.get(key) != expected
    ]


def _project_faults(root: Path, version: str) -> list[str]:
    """The version of a copy without git, in both distributions."""
    found = []
    for file in ("pyproject.toml", "packaging/runtime/pyproject.toml"):
        project = tomllib.loads((root / file).read_text(encoding="utf-8"))
        fallback = project["tool"]["hatch"]["version"]["fallback-version"]
        if fallback != f"{version}+unknown":
            found.append(f"{file}: fallback-version is {fallback}: write {version}+unknown")
    return found


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False

"""The files around a release agree with the package and with one another."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools" / "release"))

from release_faults import faults, newest_version, sections  # noqa: E402

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
RUNTIME = "packaging/runtime/pyproject.toml"
FILES = ("CHANGELOG.md", "CITATION.cff", "pyproject.toml", RUNTIME)
VERSION = newest_version(ROOT)


def test_changelog_citation_and_the_version_without_git_agree() -> None:
    unreleased = "CHANGELOG.md: lines stand under Unreleased"  # they may, until a release
    assert [fault for fault in faults(ROOT) if not fault.startswith(unreleased)] == []


def test_the_citation_is_of_this_license_and_authors() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == VERSION
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]
    assert citation["repository-code"] == project["urls"]["Homepage"]
    assert citation["url"] == project["urls"]["Documentation"]


def test_both_distributions_are_built_and_described_alike() -> None:
    one, other = (tomllib.loads((ROOT / file).read_text(encoding="utf-8")) for file in ("pyproject.toml", RUNTIME))
    for key in ("license", "license-files", "authors", "requires-python"):
        assert one["project"][key] == other["project"][key], key
    for key in ("Homepage", "Changelog", "Issues"):
        assert one["project"]["urls"][key] == other["project"]["urls"][key], key
    versions = [each["tool"]["hatch"]["version"] for each in (one, other)]
    assert versions[1]["raw-options"].pop("root") == "../.."
    assert versions[0] == versions[1]
    assert set(other["build-system"]["requires"]) < set(one["build-system"]["requires"])
    assert set(one["build-system"]["requires"]) < set(one["project"]["optional-dependencies"]["release"])
    for name in ("LICENSE", "NOTICE"):
        assert (ROOT / "packaging/runtime" / name).read_bytes() == (ROOT / name).read_bytes(), name


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that a release reads, as those of a version that is ready."""
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    unreleased = next((section.text for section in sections(ROOT) if section.name == "Unreleased"), "")
    change(tmp_path, "CHANGELOG.md", unreleased, "") if unreleased else None
    assert faults(tmp_path) == []
    return tmp_path


def change(tree: Path, file: str, before: str, after: str) -> None:
    text = (tree / file).read_text(encoding="utf-8")
    assert text.count(before) == 1
    (tree / file).write_text(text.replace(before, after), encoding="utf-8")


HEAD = f"## [{VERSION}] - "


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        ("CHANGELOG.md", HEAD, f"## [{VERSION}]\n", "has no date: write"),
        ("CHANGELOG.md", HEAD, f"## [{VERSION}] - 31.12. ", "has no date: write"),
        ("CHANGELOG.md", HEAD, f"## [{VERSION}] - 2030-01-01\n\n{HEAD.replace(VERSION, '0.0.1')}", "nothing stands"),
        ("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n- A line.\n", "lines stand under Unreleased"),
        ("CHANGELOG.md", f"\n[{VERSION}]: ", "\n[x]: ", f"the link of {VERSION} is missing"),
        ("CHANGELOG.md", HEAD, "## [next] - ", "next is no version of the form X.Y.Z"),
        ("CITATION.cff", f"\nversion: {VERSION}\n", "\nversion: 9.9.9\n", f"version is 9.9.9: write {VERSION}"),
        ("CITATION.cff", "\nversion:", "\nversions:", f"version is missing: write {VERSION}"),
        ("CITATION.cff", "\ndate-released: ", "\ndate-released: 1", "date-released is 1"),
        ("pyproject.toml", f'"{VERSION}+unknown"', '"0.0.1+unknown"', "pyproject.toml: fallback-version is 0.0.1+"),
        (RUNTIME, f'"{VERSION}+unknown"', '"0.0.1+unknown"', f"{RUNTIME}: fallback-version is 0.0.1+unknown: write"),
    ],
)
def test_what_disagrees_is_named(tree: Path, file: str, before: str, after: str, expected: str) -> None:
    change(tree, file, before, after)
    assert any(expected in fault for fault in faults(tree)), faults(tree)


def test_a_changelog_without_a_version_says_what_to_write(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"CHANGELOG.md has no version: write its section, ## \[X.Y.Z\]"):
        faults(tree)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_what_a_form_needs(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    names = [field["id"] for field in form["body"]]
    assert len(names) == len(set(names)) > 0
    assert all(field["attributes"]["label"] for field in form["body"])

"""The version: of the distribution that is installed, and built from the newest tag v*."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ("pyproject.toml", "packaging/runtime/pyproject.toml")
FALLBACK = tomllib.loads((ROOT / FILES[0]).read_text(encoding="utf-8"))["tool"]["hatch"]["version"]["fallback-version"]


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({"boxwright": "1.2.3"}, "1.2.3"),
        ({"boxwright-runtime": "1.2.4"}, "1.2.4"),
        ({"boxwright": "1.2.3", "boxwright-runtime": "1.2.4"}, "1.2.3"),
        ({}, "0+unknown"),
    ],
)
def test_version_of_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], expected: str
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    assert runpy.run_path(str(ROOT / "src/boxwright/_version.py"))["__version__"] == expected


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for file in FILES:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tree / file)
    return tree


def built(tree: Path) -> str:
    """What both distributions would be built as."""
    pytest.importorskip("hatch_vcs", reason="hatch-vcs is not installed: pip install boxwright[release]")
    env = {name: value for name, value in os.environ.items() if not name.startswith("SETUPTOOLS_SCM")}
    command = [sys.executable, "-m", "hatchling", "version"]
    versions = [
        subprocess.run(command, cwd=(tree / file).parent, env=env, capture_output=True, text=True, check=True).stdout
        for file in FILES
    ]
    assert versions[0] == versions[1]
    return versions[0].strip()


def git(tree: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    subprocess.run(command, cwd=tree, capture_output=True, check=True)


def test_a_copy_without_git_has_the_fallback_even_within_another_repository(tree: Path) -> None:
    if shutil.which("git"):
        git(tree.parent, "init", "-q")
        git(tree.parent, "commit", "-q", "--allow-empty", "-m", "of somebody else")
        git(tree.parent, "tag", "v9.9.9")
    assert built(tree) == FALLBACK


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_clone_has_the_version_of_its_newest_tag(tree: Path) -> None:
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "one")
    without = built(tree)
    assert metadata_order(FALLBACK) < metadata_order(without)
    assert ".dev1+unknown.g" in without
    git(tree, "tag", "v7.0.0")
    git(tree, "tag", "data-8.0.0")
    assert built(tree) == "7.0.0"
    git(tree, "commit", "-q", "--allow-empty", "-m", "two")
    assert built(tree).startswith("7.0.1.dev1+g")


def metadata_order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("+")[0].split(".dev")[0].split("."))

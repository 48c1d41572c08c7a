"""tools/release/release_check.py: what it refuses, and what it says then. It is run whole by `make release-check`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools" / "release"))

import release_check  # noqa: E402
from release_faults import newest_version, sections  # noqa: E402

VERSION = newest_version(ROOT)
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of what a release reads, committed."""
    tree = tmp_path / "tree"
    for file in ("CHANGELOG.md", "CITATION.cff", "pyproject.toml", "packaging/runtime/pyproject.toml"):
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tree / file)
    unreleased = next((section.text for section in sections(ROOT) if section.name == "Unreleased"), "")
    if unreleased:
        text = (tree / "CHANGELOG.md").read_text(encoding="utf-8")
        (tree / "CHANGELOG.md").write_text(text.replace(unreleased, ""), encoding="utf-8")
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "one")
    return tree


def git(tree: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    subprocess.run(command, cwd=tree, capture_output=True, check=True)


@pytest.mark.parametrize("tags", [[], [f"v{VERSION}"], ["data-1", "v0.0.1"]])
def test_a_tree_that_is_ready_with_and_without_its_tag(tree: Path, tags: list[str]) -> None:
    for tag in tags[:1]:
        git(tree, "tag", tag)
    for tag in tags[1:]:  # of an earlier version
        git(tree, "commit", "-q", "--allow-empty", "-m", tag)
        git(tree, "tag", tag, "HEAD~")
    assert release_check.check_tree(tree) == VERSION


def refused(tree: Path) -> str:
    with pytest.raises(release_check.ReleaseError) as caught:
        release_check.check_tree(tree)
    return str(caught.value)


def test_a_changed_file_and_a_new_one_are_named(tree: Path) -> None:
    (tree / "new.py").write_text("")
    (tree / "CITATION.cff").write_text((tree / "CITATION.cff").read_text() + "\n")
    said = refused(tree)
    assert "the tree isn't clean: commit or remove" in said
    assert "new.py" in said
    assert "CITATION.cff" in said


def test_the_tag_of_another_version(tree: Path) -> None:
    git(tree, "tag", "v9.9.9")
    assert f"this commit has the tag v9.9.9, but CHANGELOG.md begins with {VERSION}" in refused(tree)


def test_a_version_that_is_out_already(tree: Path) -> None:
    git(tree, "tag", f"v{VERSION}")
    git(tree, "commit", "-q", "--allow-empty", "-m", "two")
    assert f"v{VERSION} is the tag of another commit: begin a new version" in refused(tree)


def test_a_folder_that_is_no_repository(tree: Path) -> None:
    shutil.rmtree(tree / ".git")
    assert "git status: " in refused(tree)


def test_faults_of_the_files_are_all_listed(tree: Path) -> None:
    text = (tree / "CHANGELOG.md").read_text(encoding="utf-8")
    (tree / "CHANGELOG.md").write_text(text.replace(f"[{VERSION}]", "[8.0.0]"), encoding="utf-8")
    said = refused(tree)
    assert "CITATION.cff: version is" in said
    assert "pyproject.toml: fallback-version is" in said


def test_pythons_that_are_missing_are_told_and_none_at_all_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uv", reason="uv is not installed: pip install boxwright[release]")
    with pytest.raises(release_check.ReleaseError, match=r"none of 3\.99 is here: name one with PYTHONS="):
        release_check.try_all(["3.99"], VERSION, [Path("a")] * 4)
    assert "Python 3.99 isn't here: NOT TRIED (uv python install 3.99 gets it)" in capsys.readouterr().out
    release_check.try_all([], VERSION, [Path("a")] * 4)


def test_a_command_that_fails_is_shown_with_the_end_of_what_it_said() -> None:
    code = "print(*range(100), sep='\\n'); raise SystemExit(3)"
    with pytest.raises(release_check.ReleaseError, match="exit code 3 of ") as caught:
        release_check._run([sys.executable, "-c", code])
    assert str(caught.value).splitlines()[1:] == [str(number) for number in range(70, 100)]


def test_main_says_why_in_one_exit_code(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "new.py").write_text("")
    monkeypatch.setattr(release_check, "ROOT", tree)
    assert release_check.main([]) == 1
    assert capsys.readouterr().err.startswith("release-check: not ready\n- the tree isn't clean")

"""The environment line: what it names, that it is cheap, and that the commit is read right."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from boxwright import __version__, environment


def test_names_versions_machine_and_cores() -> None:
    found = environment.environment()
    assert found["boxwright"] == __version__
    assert found["numpy"] == version("numpy")
    assert found["torch"] == version("torch")
    assert found["cores"] >= 1
    line = environment.environment_line()
    assert f"boxwright {__version__}, python {sys.version.split()[0]}, torch {version('torch')}" in line
    assert "\n" not in line
    assert "  " not in line


def test_a_missing_package_is_named_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package-anywhere",))
    assert environment.environment()["no-such-package-anywhere"] is None
    assert "no-such-package-anywhere not installed" in environment.environment_line()


def test_imports_nothing_heavy() -> None:
    code = (
        "import sys; from boxwright.environment import environment_line; environment_line();"
        "print([m for m in ('torch', 'numpy', 'timm', 'lightning', 'subprocess') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commit_of_checkouts_of_every_kind(tmp_path: Path) -> None:
    main = tmp_path / "main"
    main.mkdir()
    git(main, "init", "-q", "-b", "trunk")
    assert environment.git_commit(main) is None  # no commit yet
    git(main, "commit", "-q", "--allow-empty", "-m", "one")
    first = git(main, "rev-parse", "HEAD")
    assert environment.git_commit(main) == first
    git(main, "worktree", "add", "-q", "-b", "side", "../side")
    git(tmp_path / "side", "commit", "-q", "--allow-empty", "-m", "two")
    assert environment.git_commit(tmp_path / "side") == git(tmp_path / "side", "rev-parse", "HEAD") != first
    git(main, "pack-refs", "--all")
    assert environment.git_commit(main) == first
    git(main, "checkout", "-q", "--detach")
    assert environment.git_commit(main) == first


def test_no_checkout_no_commit(tmp_path: Path) -> None:
    assert environment.git_commit(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\nflags\t: amx_tile\n",
         ("Some CPU", ["avx2", "avx512f"])),
        ("processor : 0\nFeatures : fp asimd sve\n", ("", ["asimd", "sve"])),
        ("", ("", [])),
    ],
)  # fmt: skip
def test_processor(tmp_path: Path, content: str, expected: tuple[str, list[str]]) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(content)
    assert environment._processor(path) == expected


def test_processor_where_linux_lists_none(tmp_path: Path) -> None:
    assert environment._processor(tmp_path / "none")[1] == []

"""tools/setup-venv, with a Python that only pretends to install."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = """#!/bin/sh
case "$*" in
*"pip install"*) echo "Collecting torch"; echo "$*" >>"$0.calls"; exit {code} ;;
esac
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    return tmp_path / "venv"


def set_up(venv: Path, code: int, extra: str = "demo") -> subprocess.CompletedProcess[str]:
    python = venv / "bin" / "python"
    python.write_text(STUB.format(code=code), encoding="utf-8")
    python.chmod(0o755)
    command = ["sh", "tools/setup-venv", str(venv), extra]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_pip_is_quiet_and_runs_once(venv: Path) -> None:
    first, second = set_up(venv, 0), set_up(venv, 0)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "Collecting" not in first.stdout + first.stderr
    assert 'the packages of its extra "demo"' in first.stdout
    assert (second.stdout, second.stderr) == ("", "")
    assert (venv / "bin" / "python.calls").read_text(encoding="utf-8").count("-e .[demo]") == 1


def test_a_failure_shows_what_pip_said(venv: Path) -> None:
    failed = set_up(venv, 1)
    assert failed.returncode == 1
    assert "Collecting torch" in failed.stderr
    assert f"all that it said is in {venv}/pip.log" in failed.stderr
    assert set_up(venv, 0).returncode == 0  # and the next time it is tried again


def test_an_extra_holds_those_within_it(venv: Path) -> None:
    set_up(venv, 0, "ci")
    assert {path.name for path in venv.glob(".boxwright-*")} == {
        f".boxwright-{name}" for name in ("ci", "dev", "docs", "test", "release", "demo")
    }

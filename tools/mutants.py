"""Change the code in many ways, one at a time, in a copy: each time one of the tests named for it must fail.

    python tools/mutants.py [WORD ...]      all mutations of mutations.txt, or those whose file or text holds a word

Exit code 1: a mutation survived, its text is no longer in the source, or tests fail without any.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "pyproject.toml", "README.md", "docs", "examples", "tools")
LONGEST = 600  # seconds; a mutant that runs for ever is noticed too


class Mutation(NamedTuple):
    """A fault: text that stands once in a file below src/boxwright is replaced, and one of the tests must fail."""

    file: str
    before: str
    after: str
    tests: list[str]


def read_mutations() -> list[Mutation]:
    """The mutations of mutations.txt, which says how it is written."""
    text = (ROOT / "tools" / "mutations.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    rows = []
    for head, before, after in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        if not (before.startswith("- ") and after.startswith("+ ")):
            raise SystemExit(f"mutations.txt: Expected a line with - and one with + after {head!r}")
        file, *tests = head.split()
        rows.append(Mutation(file, before[2:], after[2:], tests))
    return rows


def main(words: list[str]) -> int:
    chosen = [row for row in read_mutations() if not words or any(word in row.file + row.before for word in words)]
    survived = []
    with tempfile.TemporaryDirectory(prefix="boxwright-mutants-") as folder:
        copy = copy_tree(Path(folder))
        if not tests_pass(sorted({test for row in chosen for test in row.tests}), copy):
            raise SystemExit("the tests fail without any mutation")
        for number, row in enumerate(chosen, 1):
            started = time.monotonic()
            what = try_mutation(row, copy)
            seconds = time.monotonic() - started
            place = f"{row.file}: {row.before.strip()[:70]}"
            print(f"{number}/{len(chosen)} {what:<8} {seconds:5.0f} s  {place}", flush=True)
            if what != "killed":
                survived.append(row)
    print(f"{len(chosen) - len(survived)} of {len(chosen)} killed")
    return 1 if survived else 0


def copy_tree(folder: Path) -> Path:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def try_mutation(row: Mutation, copy: Path) -> str:
    """``killed``, ``survived``, or ``lost`` where the text isn't there exactly once."""
    file = copy / "src" / "boxwright" / row.file
    source = file.read_text(encoding="utf-8")
    if source.count(row.before) != 1:
        return "lost"
    file.write_text(source.replace(row.before, row.after), encoding="utf-8")
    try:
        return "survived" if tests_pass(row.tests, copy) else "killed"
    finally:
        file.write_text(source, encoding="utf-8")


def tests_pass(tests: list[str], copy: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1):  # no such test, or a mutant that isn't Python
        raise SystemExit(f"pytest {' '.join(tests)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

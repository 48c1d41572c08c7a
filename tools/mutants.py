"""Change the code in many ways, one at a time in each of two copies: one of the tests named for it must fail.

    python tools/mutants.py [WORD ...]      all mutations of mutations.txt, or those whose file or text holds a word

Exit code 1: a mutation survived, its text is no longer in the source, or tests fail without any.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "pyproject.toml", "README.md", "docs", "examples", "tools")
LONGEST = 600  # seconds; a mutant that runs for ever is noticed too
AT_ONCE = 2
CONTEXT = multiprocessing.get_context("forkserver")  # which imports once what takes seconds
CONTEXT.set_forkserver_preload(["hypothesis", "lightning", "pytest", "sklearn.datasets", "timm", "torchvision"])


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
    tests = sorted({test for row in chosen for test in row.tests})
    killed, free = 0, SimpleQueue[Path]()

    def tried(row: Mutation) -> tuple[str, float]:
        copy, started = free.get(), time.monotonic()
        try:
            return try_mutation(row, copy), time.monotonic() - started
        finally:
            free.put(copy)

    with tempfile.TemporaryDirectory(prefix="boxwright-mutants-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        copies = [copy_tree(Path(folder) / str(number)) for number in range(AT_ONCE)]
        shares = [[test for test in tests if ("::" in test) == named] for named in (False, True)]
        if not all(pool.map(passes, filter(None, shares), copies)):
            logs = [log.read_text(encoding="utf-8")[-2000:] for copy in copies for log in copy.glob("log")]
            raise SystemExit("\n".join(["the tests fail without any mutation:", *logs]))
        for copy in copies:
            free.put(copy)
        for number, (row, (what, seconds)) in enumerate(zip(chosen, pool.map(tried, chosen), strict=True), 1):
            place = f"{row.file}: {row.before.strip()[:70]}"
            print(f"{number}/{len(chosen)} {what:<8} {seconds:5.0f} s  {place}", flush=True)
            killed += what == "killed"
    print(f"{killed} of {len(chosen)} killed")
    return 0 if killed == len(chosen) else 1


def copy_tree(folder: Path) -> Path:
    folder.mkdir()
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
        return "survived" if passes(row.tests, copy, LONGEST) else "killed"
    finally:
        file.write_text(source, encoding="utf-8")


def passes(tests: list[str], copy: Path, longest: float | None = None) -> bool:
    log = copy / "log"
    process = CONTEXT.Process(target=run_tests, args=(tests, copy, log))
    process.start()
    process.join(longest)
    if process.is_alive():
        process.kill()
        process.join()
        return False
    if process.exitcode not in (0, 1):  # no such test, or a mutant that isn't Python
        raise SystemExit(f"pytest {' '.join(tests)}:\n{log.read_text(encoding='utf-8')[-4000:]}")
    return process.exitcode == 0


def run_tests(tests: list[str], copy: Path, log: Path) -> None:
    """What a process does, in which nothing of boxwright has been imported."""
    import pytest
    import torch

    with log.open("w", encoding="utf-8") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    os.chdir(copy)
    torch.set_num_threads(1)
    sys.path[:0] = [str(copy / "src")]
    os.environ["PYTHONPATH"] = str(copy / "src")  # of the processes that tests start
    sys.dont_write_bytecode = True
    chosen = tests if "::" in tests[0] else ["-m", "not slow", *tests]
    sys.exit(pytest.main(["-xq", "-p", "no:cacheprovider", "--hypothesis-profile=unshrunk", *chosen]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

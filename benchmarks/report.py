"""Make docs/benchmarks.md from page.md and the results that are kept.

    python benchmarks/report.py

In page.md `{{ commands }}` becomes the table of the scripts, and `{{ NAME }}` the table of results/NAME.json, and of
results/NAME-2.json, which was measured with two threads.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from turns import Row, number, spread

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"


def render() -> str:
    """The page."""
    template = (HERE / "page.md").read_text(encoding="utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: _part(found[1]), template)


def _part(name: str) -> str:
    if name == "commands":
        return commands()
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{name}*.json")) if _is_of(path, name)]
    return "\n\n".join(table(result) for result in results) or f"Not measured yet: `make benchmarks ONLY={name}`."


def _is_of(path: Path, name: str) -> bool:
    return path.stem in (name, f"{name}-2")


def commands() -> str:
    """A row a script: how it is run, and the first line of its docstring."""
    lines = ["| command | what it measures |", "|---|---|"]
    for path in sorted(HERE.glob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        usage = re.search(r"python benchmarks/\S+(?: [A-Z]+\b)?", doc)
        if usage:
            lines.append(f"| `{usage[0]}` | {doc.splitlines()[0].rstrip('.')} |")
    return "\n".join(lines)


def table(result: dict[str, Any]) -> str:
    """The rows of one file, and on what they were measured."""
    rows = [Row(**row) for row in result["rows"]]
    peers, notes = any(row.peer is not None for row in rows), any(row.note for row in rows)
    head = ["", "boxwright", *(["peer", "ratio"] if peers else []), *([""] if notes else [])]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        peer = "" if row.peer is None else f"{number(row.peer)} {row.unit}"
        threads = f", {row.threads} threads" if row.threads > 1 else ""
        cells = [row.name + threads, f"{number(row.ours)} {row.unit}"]
        cells += [peer, spread(row.ratio).replace(" x", "")] if peers else []
        lines.append(cells + ([row.note] if notes else []))
    text = "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)
    return f"{text}\n\n{machine(result)}"


def machine(result: dict[str, Any]) -> str:
    """One line: the date, the processor and the versions that matter."""
    found = result["machine"]
    parts = [found["processor"], f"{found['cores']} cores", *found.get("cpu_flags", [])]
    versions = (f"{name} {found[name]}" for name in ("torch", "torchvision", "numpy") if found.get(name))
    commit = f"; commit {found['commit'][:12]}" if found.get("commit") else ""
    return f"({result['date']}: {' '.join(parts)}; {', '.join(versions)}{commit})"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE}")

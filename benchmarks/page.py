"""Make docs/benchmarks.md from page.md, docs/models.md from models_page.md, and the results that are kept.

    python benchmarks/page.py

In these `{{ commands }}` becomes the table of the scripts, `{{ models }}` and `{{ trained }}` what models_table.py
makes, and `{{ NAME }}` the table of results/NAME.json, and of results/NAME-2.json, which was measured with two threads.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import models_table
from turns import Row, number, spread

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DOCS = HERE.parent / "docs"
PAGES = {HERE / "page.md": DOCS / "benchmarks.md", HERE / "models_page.md": DOCS / "models.md"}
"""Template -> the page that is made of it."""


def write() -> None:
    """Write every page."""
    for template, page in PAGES.items():
        page.write_text(render(template), encoding="utf-8")
        print(f"wrote {page}")


def render(template: Path) -> str:
    """The page of a template."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: _part(found[1]), template.read_text(encoding="utf-8"))


def _part(name: str) -> str:
    if name == "commands":
        return commands()
    if name == "models":
        result = json.loads((RESULTS / "models.json").read_text(encoding="utf-8"))
        return f"{models_table.table([Row(**row) for row in result['rows']])}\n\n{machine(result)}"
    if name == "trained":
        return models_table.trainings()
    paths = [RESULTS / f"{name}.json", RESULTS / f"{name}-2.json"]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    return "\n\n".join(table(result) for result in results) or f"Not measured yet: `make benchmarks ONLY={name}`."


def commands() -> str:
    """A row a script: how it is run, and the first line of its docstring."""
    lines = ["| command | what it measures |", "|---|---|"]
    for path in sorted(HERE.glob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        usage = re.search(r"python benchmarks/\S+(?: [A-Z]+\b)?", doc)
        if usage and path.stem not in ("all", "page"):
            lines.append(f"| `{usage[0]}` | {doc.splitlines()[0].rstrip('.').replace('``', '`')} |")
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
    text = "\n".join(_line(cells) for cells in lines)
    return f"{text}\n\n{machine(result)}"


def _line(cells: list[str]) -> str:
    return f"|{'|'.join(f' {cell} ' if cell.strip('-') else cell or ' ' for cell in cells)}|"


def machine(result: dict[str, Any]) -> str:
    """One line: the date, the processor and the versions that matter."""
    found = result["machine"]
    flags = f" ({' '.join(found['cpu_flags'])})" if found.get("cpu_flags") else ""
    versions = (f"{name} {found[name]}" for name in ("torch", "torchvision", "numpy") if found.get(name))
    return f"({result['date']}: {found['processor']}{flags}, {found['cores']} cores; {', '.join(versions)})"


if __name__ == "__main__":
    write()

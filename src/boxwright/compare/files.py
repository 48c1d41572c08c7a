"""The files of a comparison: JSON, CSV, page, and the recipe of the arm to take."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from boxwright.compare.page import write_comparison
from boxwright.compare.results import METRICS, Comparison, RunResult, plain
from boxwright.recipes import Recipe


def write_results(folder: Path, comparison: Comparison, recommended: Recipe | None) -> None:
    """Write compare.json, compare.csv and compare.html, and recommended.yaml where an arm is recommended."""
    text = json.dumps(comparison.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "compare.json").write_text(text + "\n", encoding="utf-8")
    write_csv(folder / "compare.csv", comparison)
    write_comparison(folder / "compare.html", comparison)
    file = folder / "recommended.yaml"
    if recommended is None:
        file.unlink(missing_ok=True)  # of a comparison that went on
    else:
        recommended.save(file)


def write_csv(path: Path, comparison: Comparison) -> None:
    """A row for each run; what it doesn't have is empty."""
    rows = [_row(run) for run in comparison.runs]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _row(run: RunResult) -> dict[str, Any]:
    row: dict[str, Any] = {"arm": run.arm, "seed": run.seed}
    row |= {name: run.metrics.get(name) for name in METRICS}
    row |= {
        "seconds": run.seconds,
        "images_per_second": run.images_per_second,
        "peak_memory_mb": run.peak_memory_mb,
        "steps": run.steps,
        "failed": run.failed,
    }
    row |= {f"AP.{name}": values["AP"] for name, values in run.per_class.items()}
    row |= {f"dAP.{kind}": value for kind, value in run.errors.items()}
    return {name: plain(value) for name, value in row.items()}

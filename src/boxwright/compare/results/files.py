"""The files of a comparison: JSON, CSV, page, and the recommended arm's recipe."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from boxwright._util.ownership import GENERATOR
from boxwright._util.plain import plain
from boxwright._util.writing import write_json, write_text
from boxwright.compare.results.page import write_comparison
from boxwright.compare.results.results import METRICS, Comparison, RunResult
from boxwright.recipes import Recipe

NAMES = (
    *("plan.json", "compare.json", "compare.csv", "compare.html", "recommended.yaml", "test.json"),
    *("runs", "features"),
)
"""Files that a comparison writes into its folder, the first of them first."""


def write_results(folder: Path, comparison: Comparison, recommended: Recipe | None) -> None:
    """Write compare.json, compare.csv and compare.html, and recommended.yaml if an arm is recommended.

    Each file is replaced as a whole; raises WriteError.
    """
    write_json(folder / "compare.json", {"generator": GENERATOR, **comparison.to_json()})
    write_csv(folder / "compare.csv", comparison)
    write_comparison(folder / "compare.html", comparison)
    file = folder / "recommended.yaml"
    if recommended is None:
        file.unlink(missing_ok=True)  # left by an earlier part of the comparison
    else:
        recommended.save(file)


def write_csv(path: Path, comparison: Comparison) -> None:
    """Write a row for each run; missing values are empty."""
    rows = [_row(run) for run in comparison.runs]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


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

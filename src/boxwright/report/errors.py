"""The error analysis as bars: what each kind of mistake costs."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

from boxwright.report.content import ErrorRow
from boxwright.report.markup import Markup, bar, table, text

_MEANINGS = {
    "classification": "right place, wrong class",
    "localization": "right class, box too far off (IoU 0.1 to 0.5)",
    "both": "wrong class and box too far off",
    "duplicate": "the object was found already, with a better score",
    "background": "nothing is there (IoU up to 0.1)",
    "missed": "an object at which no detection points",
    "false_positive": "all false detections together",
    "false_negative": "all objects that weren't found",
}


def errors(rows: Mapping[str, ErrorRow]) -> Markup:
    """Show a table with a bar per kind of error: its cost and its frequency; nothing if there are none."""
    if not rows:
        return Markup()
    costs = [row.dap for row in rows.values() if not isnan(row.dap)]
    longest = max([*costs, 0.01])
    body = [
        (
            Markup(f"{text(name.replace('_', ' '))}<small>{text(_MEANINGS[name])}</small>"),
            bar(row.dap, longest),
            row.count,
        )
        for name, row in rows.items()
    ]
    said = (
        "AP50 lost: by how much it rises where this kind of mistake alone is corrected, at all scores (TIDE, "
        "arXiv:2008.08115). The losses don't add up, as correcting one mistake changes what the others cost."
    )
    shown = table(("error", "AP50 lost", "times"), body, "tnn")
    return Markup(f'<p class="dim">{text(said)}</p><div class="errors">{shown}</div>')

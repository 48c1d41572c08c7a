"""The page itself: which section shows what, in the order in which people ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from boxwright.drawing import draw_detections
from boxwright.report.content import Picture, ReportData
from boxwright.report.curves import precision_recall_svg, series_svg
from boxwright.report.history import read_history
from boxwright.report.markup import Markup, bar, details, document, image, section, table, text

_HEADLINE = ("AP", "AP50", "AP75", "voc07")
_TITLES = {"voc07": "VOC07 mAP", "voc_area": "VOC area mAP", "targets": "objects"}
_PICTURE_SIZE = (520, 400)  # width and height that each of a pair fits into, pixels


def write_report(path: Path, data: ReportData) -> Path:
    """Write the page: one file without script, links to elsewhere or anything to load. Returns its path."""
    sections = (
        _results(data),
        _classes(data),
        _curves(data),
        section("Predictions beside the truth", _pictures(data.pictures, data.classes)),
        section("Where it went wrong most", _pictures(data.worst, data.classes)),
        _training(data),
        _data(data),
        section("Files", table(("", ""), data.files.items(), "fk") if data.files else Markup()),
    )
    summary = f"<p>{text(data.summary)}</p>" if data.summary else ""
    page = document(data.title, summary + _cards(data.metrics), sections, data.environment)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _cards(metrics: Mapping[str, float]) -> Markup:
    cards = "".join(
        f"<div><b>{_score(metrics[name])}</b><span>{text(_TITLES.get(name, name))}</span></div>"
        for name in _HEADLINE
        if name in metrics
    )
    return Markup(f'<div class="cards">{cards}</div>' if cards else "")


def _results(data: ReportData) -> Markup:
    warnings = "".join(f'<p class="warning">{text(warning)}</p>' for warning in data.warnings)
    rows = [
        (_TITLES.get(name, name), _score(value), data.protocols.get(name, "")) for name, value in data.metrics.items()
    ]
    return section("Results", warnings, table(("metric", "value", "protocol"), rows, "tnd") if rows else "")


def _classes(data: ReportData) -> Markup:
    if not data.per_class:
        return Markup()
    names = [name for name in ("AP", "AP50", "AP75", "targets") if any(name in row for row in data.per_class.values())]
    rows = [
        (
            label,
            *(
                bar(row.get(n, nan)) if n == "AP" else _count(row, n) if n == "targets" else _score(row.get(n))
                for n in names
            ),
        )
        for label, row in data.per_class.items()
    ]
    return section(
        "Class by class", table(("class", *(_TITLES.get(n, n) for n in names)), rows, "t" + "n" * len(names))
    )


def _count(row: Mapping[str, float], name: str) -> Markup:
    return text(int(row[name])) if name in row else text(None)


def _score(value: float | None) -> Markup:
    return text(None) if value is None or np.isnan(value) else Markup(f"{value:.3f}")


def _curves(data: ReportData) -> Markup:
    history = read_history(data.metrics_csv) if data.metrics_csv else None
    plots = []
    if history and history.losses:
        plots.append(("Losses", series_svg(history.losses, "loss", "step", "loss", smooth=True)))
    if history and history.scores:
        plots.append(("Average precision on validation", series_svg(history.scores, "score", "epoch", "AP")))
    if data.precision_recall:
        plots.append(("Precision and recall at IoU 0.5", precision_recall_svg(data.precision_recall, "pr")))
    figures = "".join(f"<figure><figcaption>{text(title)}</figcaption>{svg}</figure>" for title, svg in plots)
    return section("Curves", f'<div class="curves">{figures}</div>' if figures else "")


def _pictures(pictures: Sequence[Picture], classes: Sequence[str]) -> Markup:
    if not pictures:
        return Markup()
    figures = "".join(_picture(picture, classes) for picture in pictures)
    return Markup(
        f'<p class="dim">Left the truth, right what the model found.</p><div class="pictures">{figures}</div>'
    )


def _picture(picture: Picture, classes: Sequence[str]) -> str:
    pixels, scale = _scaled(picture.image)
    truth, found = _boxes(picture.target_boxes) * scale, _boxes(picture.boxes) * scale
    left = draw_detections(pixels, truth, picture.target_labels, None, classes)
    right = draw_detections(pixels, found, picture.labels, picture.scores, classes)
    counts = f"{len(truth)} {'object' if len(truth) == 1 else 'objects'}, {len(found)} found"
    caption = f"<b>{text(picture.name)}</b> {text(counts)}" + (f"; {text(picture.note)}" if picture.note else "")
    panels = image(left, f"{picture.name}: truth") + image(right, f"{picture.name}: found")
    return f"<figure><div>{panels}</div><figcaption>{caption}</figcaption></figure>"


def _boxes(boxes: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _scaled(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], Any]:
    """The image fitted into its place on the page, and the factors of (x, y, x, y) that lead there."""
    height, width = pixels.shape[:2]
    factor = min(_PICTURE_SIZE[0] / width, _PICTURE_SIZE[1] / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    resized = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return resized, np.array([size[0] / width, size[1] / height] * 2)


def _training(data: ReportData) -> Markup:
    facts = table(("", ""), data.training.items(), "ft") if data.training else ""
    rows = [(key, value, data.recipe_notes.get(key, "")) for key, value in data.recipe.items()]
    recipe = details(f"Recipe: all {len(rows)} keys", table(("key", "value", ""), rows, "ktd")) if rows else ""
    return section("How it was trained", facts, recipe)


def _data(data: ReportData) -> Markup:
    special = ("classes", "findings")
    facts = [(key, value) for key, value in data.data.items() if key not in special]
    findings = data.data.get("findings", ())
    return section(
        "The data",
        table(("", ""), facts, "ft") if facts else "",
        _class_counts(data.data.get("classes", {})),
        _findings(findings) if "findings" in data.data else "",
    )


def _class_counts(classes: Mapping[str, Any]) -> str:
    """Boxes of each class, in all or by split."""
    if not classes:
        return ""
    splits = list(dict.fromkeys(s for counts in classes.values() if isinstance(counts, Mapping) for s in counts))
    if not splits:
        return table(("class", "boxes"), classes.items(), "tn")
    rows = [(name, *(counts.get(split, 0) for split in splits)) for name, counts in classes.items()]
    return table(("class", *splits), rows, "t" + "n" * len(splits))


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<p>The check found nothing to mend.</p>"
    counts = Counter((finding["severity"], finding["kind"]) for finding in findings)
    first = {(f["severity"], f["kind"]): f for f in reversed(findings)}
    rows = [
        (
            Markup(f'<span class="{"error" if severity == "error" else "caution"}">{text(severity)}</span>'),
            kind,
            count,
            _example(first[severity, kind]),
        )
        for (severity, kind), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1]))
    ]
    return table(("severity", "finding", "times", "for example"), rows, "ttnd")


def _example(finding: Mapping[str, Any]) -> str:
    return ": ".join(str(finding[key]) for key in ("file", "message") if finding.get(key))

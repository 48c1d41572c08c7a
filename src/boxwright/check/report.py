"""The result of a check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from boxwright._util.notebook import html_table, paragraphs
from boxwright.data.annotations import Fault
from boxwright.text import plural

ERRORS = frozenset(
    {
        "bad-number",
        "category-id-twice",
        "image-id-twice",
        "image-in-two-splits",
        "inverted-box",
        "label-out-of-range",
        "missing-image",
        "no-usable-box",
        "nothing-to-train",
        "outside-box",
        "path-outside",
        "refused",
        "repeated-key",
        "unreadable-annotation",
        "unreadable-image",
        "wrong-form",
        "wrong-unit",
        "zero-area",
    }
)
"""Kinds of faults that training would leave out, or that make a test worthless."""

WARNINGS = frozenset(
    {
        "absent-class",
        "angle-lost",
        "box-from-polygon",
        "boxwright-output",
        "class-count",
        "class-ids-from-one",
        "deep-image",
        "duplicate-box",
        "duplicate-box-two-classes",
        "exif-rotated",
        "exif-unknown",
        "extreme-aspect",
        "first-frame",
        "followed-link",
        "identical-images",
        "incomplete-image",
        "listed-twice",
        "missing-split",
        "name-mismatch",
        "near-identical-images",
        "no-boxes",
        "no-class-names",
        "no-split",
        "not-a-box",
        "not-rgb",
        "odd-columns",
        "orphan-image",
        "orphan-label",
        "partly-outside",
        "renumbered-ids",
        "similar-class-names",
        "size-mismatch",
        "small-box",
        "unused-file",
        "whole-image-box",
    }
)
"""Kinds of faults that are legal but often a mistake."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or likely to be."""

    severity: str
    """ "error" or "warning"."""
    kind: str
    """One of ``ERRORS`` or ``WARNINGS``."""
    file: str
    """Relative to the data set: the annotation file, or the image for what is wrong with an image."""
    box: int | None
    """0-based index of the box in its annotation file."""
    message: str


@dataclass(frozen=True)
class SplitCount:
    """Images and boxes of a split, erroneous boxes left out."""

    name: str
    images: int
    boxes: tuple[int, ...]
    """Boxes of each class."""


@dataclass(frozen=True)
class CheckReport:
    """All findings, errors first."""

    layout: str
    classes: tuple[str, ...]
    images: int
    boxes: int
    """Boxes in the annotations, erroneous ones too."""
    rounded: int
    """Boxes that leave their image by at most 1 px: they are clipped and not reported."""
    splits: tuple[SplitCount, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """The number of findings that are errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """The number of findings that are warnings."""
        return len(self.findings) - self.errors

    @property
    def exit_code(self) -> int:
        """0: trainable as it is; 1: there are errors. (2 stands for a DataError, which leaves no report)."""
        return 1 if self.errors else 0

    @property
    def verdict(self) -> str:
        """Summary of what training would do with the data set, in one line."""
        kinds = {finding.kind for finding in self.findings if finding.severity == "error"}
        if "nothing-to-train" in kinds:
            return "nothing to train on"
        if kinds == {"image-in-two-splits"}:
            return "trainable, but splits share images: what is measured on them is too good"
        return "erroneous boxes and files are left out of training" if kinds else "trainable"

    def _repr_html_(self) -> str:
        counted = ", ".join((plural(self.images, "image"), plural(self.boxes, "box")))
        found = f"{plural(self.errors, 'error')}, {plural(self.warnings, 'warning')}: {self.verdict}."
        splits = [[split.name, f"{split.images}", *map(str, split.boxes)] for split in self.splits]
        said = [
            [each.severity, each.kind, each.file, "" if each.box is None else f"{each.box}", each.message]
            for each in self.findings
        ]
        findings = html_table(("severity", "kind", "file", "box", "message"), said) if said else ""
        table = html_table(("split", "images", *(f"{name} boxes" for name in self.classes)), splits)
        return paragraphs(f"{self.layout}: {counted}. {found}") + table + findings

    def to_json(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings: images, boxes, findings, layout, classes, rounded and splits."""
        return {
            "layout": self.layout,
            "classes": list(self.classes),
            "images": self.images,
            "boxes": self.boxes,
            "rounded": self.rounded,
            "splits": [
                {"name": s.name, "images": s.images, "boxes": dict(zip(self.classes, s.boxes, strict=True))}
                for s in self.splits
            ],
            "findings": [asdict(finding) for finding in self.findings],
        }


def sorted_findings(faults: Iterable[Fault]) -> tuple[Finding, ...]:
    """Sort faults with their severity: errors first, then by file, box and kind; each only once."""
    findings = {Finding("error" if fault.kind in ERRORS else "warning", *fault) for fault in faults}

    def order(finding: Finding) -> tuple[str, str, int, str, str]:
        """Return the sort key of a finding."""
        box = -1 if finding.box is None else finding.box
        return finding.severity, finding.file, box, finding.kind, finding.message

    return tuple(sorted(findings, key=order))

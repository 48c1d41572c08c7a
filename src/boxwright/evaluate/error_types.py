"""Which kind of mistake each false detection is, which targets are missed, and how much AP each kind costs.

The kinds, and the rules that correct them, are those of Bolya et al. 2020 (TIDE, arXiv:2008.08115, sections 2.2 and
2.3), at a foreground IoU of 0.5 and a background IoU of 0.1. A false detection is the first of these that applies:

    localization    its best IoU with a target of its class is in 0.1..0.5
    classification  its best IoU with a target of another class is 0.5 or more
    duplicate       its best IoU with a target of its class is 0.5 or more: a better scored detection took that target
    background      its best IoU with any target is 0.1 or less
    both            all others: the best IoU with a target of another class is between 0.1 and 0.5

A target is missed if no detection took it and no localization or classification error points at it.

Where the paper leaves a choice, this follows its authors' tidecv 1.0.1: the order above; a localization or
classification error points at the target of its best IoU, taken or not; and of all errors that point at one free target
only the best scored is corrected, since the others would become its duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.evaluate.coco import average_precision
from boxwright.evaluate.columns import Bools, Floats, Ints
from boxwright.evaluate.matches import Least, MatchTable
from boxwright.evaluate.overlaps import best_in_runs, meetings, overlap

ERROR_TYPES = ("classification", "localization", "both", "duplicate", "background", "missed")
"""The kinds of errors; tables store the index."""
ERROR_COSTS = (*ERROR_TYPES, "false_positive", "false_negative")
"""Everything with a cost: each kind, all false detections, and all targets not found."""

_CLASSIFICATION, _LOCALIZATION, _BOTH, _DUPLICATE, _BACKGROUND = range(5)


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """Columns that extend a match table of N detections and M targets."""

    kind: NDArray[np.int8]
    """(N,) index in `ERROR_TYPES`; -1 for a detection that is right, ignored, or left out."""
    target: NDArray[np.int32]
    """(N,) the target that an error is about, by best IoU: of its own class (localization, duplicate) or of another
    (classification, both); -1 where there is none.
    """
    mendable: Bools
    """(N,) localization and classification errors that would be right if corrected."""
    missed: Bools
    """(M,)"""
    foreground: float
    score: Least
    """Detections below this score were left out."""


@dataclass(frozen=True, slots=True)
class ErrorCost:
    """The cost and the number of one kind of error."""

    dap: float
    """Rise of AP at the foreground IoU if only this kind is corrected; NaN without targets."""
    count: int
    """Detections, or targets, with this error."""


class Case(NamedTuple):
    """The detections and targets of a table from which one average precision is computed, at the foreground IoU."""

    kept: Bools
    """(N,) detections that take part."""
    hit: Bools
    """(N,) those of them that are right."""
    label: Ints
    """(N,)"""
    asked: Bools
    """(M,) targets to be found."""

    def order(self, table: MatchTable) -> Ints:
        """Return the kept rows, by class and falling score."""
        rows = np.flatnonzero(self.kept)
        return rows[np.lexsort((-table.score[rows], self.label[rows]))]


def error_types(
    table: MatchTable, *, foreground: float = 0.5, background: float = 0.1, score: Least = -np.inf
) -> ErrorTable:
    """Classify each detection's error, and find the missed targets.

    Ignored targets (crowd, difficult) explain no error, and ignored detections have none.

    Args:
        table: Matches of the split.
        foreground: IoU from which a detection is right.
        background: IoU up to which a detection counts as unrelated to a target.
        score: Detections below this are left out, as if they did not exist; (K,) one for each class.

    Raises:
        ValueError: If ``foreground`` is not one of the table's thresholds.

    Examples:
        >>> truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}]
        >>> found = [{"boxes": [[0, 0, 10, 10], [0, 0, 10, 4]], "scores": [0.9, 0.8], "labels": [0, 0]}]
        >>> metrics = bw.evaluate.detection_metrics(found, truth, ["cat"])
        >>> errors = bw.evaluate.error_types(metrics.matches)
        >>> [bw.evaluate.ERROR_TYPES[kind] for kind in errors.kind if kind >= 0]
        ['localization']
    """
    wrong = np.flatnonzero(table.wrong(foreground, score))
    own, own_target, other, other_target = _best_overlaps(table, wrong)
    holds = {
        _LOCALIZATION: (own >= background) & (own <= foreground),
        _CLASSIFICATION: other >= foreground,
        _DUPLICATE: own >= foreground,
        _BACKGROUND: np.maximum(own, other) <= background,
    }
    wrong_kind = np.select(list(holds.values()), list(holds), default=_BOTH)
    wrong_target = np.select(
        [(wrong_kind == _LOCALIZATION) | (wrong_kind == _DUPLICATE), wrong_kind != _BACKGROUND],
        [own_target, other_target],
        default=-1,
    )
    kind, target = np.full(len(table.score), -1, np.int8), np.full(len(table.score), -1, np.int32)
    kind[wrong], target[wrong] = wrong_kind, wrong_target

    missed = table.not_found(foreground, score)
    mendable = _mendable(table, kind, target, missed)
    missed[target[mendable]] = False
    return ErrorTable(kind, target, mendable, missed, foreground, score)


def error_costs(table: MatchTable, errors: ErrorTable) -> dict[str, ErrorCost]:
    """Compute the AP lost to each kind of error alone, and to all false detections and all targets not found.

    When corrected, a classification error gets its target's class and is right, as a localization error is; other false
    detections are removed; missed targets are not counted. "false_positive" removes every false detection,
    "false_negative" every target that was not found. The losses do not sum to 1 - AP.

    Examples:
        >>> truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}]
        >>> found = [{"boxes": [[0, 0, 10, 4], [0, 0, 10, 10]], "scores": [0.9, 0.8], "labels": [0, 0]}]
        >>> metrics = bw.evaluate.detection_metrics(found, truth, ["cat"])
        >>> errors = bw.evaluate.error_types(metrics.matches)
        >>> bw.evaluate.error_costs(metrics.matches, errors)["localization"]
        ErrorCost(dap=0.4999999999999999, count=1)
    """
    before, *corrected = (
        _mean_ap(table, case) for case in (as_it_is(table, errors), *corrected_cases(table, errors).values())
    )
    counts = [int((errors.kind == kind).sum()) for kind in range(len(ERROR_TYPES) - 1)]
    counts += [int(errors.missed.sum()), int((errors.kind >= 0).sum())]
    counts.append(int(table.not_found(errors.foreground, errors.score).sum()))
    return {
        name: ErrorCost(after - before, count)
        for name, after, count in zip(ERROR_COSTS, corrected, counts, strict=True)
    }


def as_it_is(table: MatchTable, errors: ErrorTable) -> Case:
    """Take right and wrong detections and all counted targets, without corrections."""
    right = table.right(errors.foreground, errors.score)
    return Case(right | (errors.kind >= 0), right, table.label, table.counted[:, 0])


def corrected_cases(table: MatchTable, errors: ErrorTable) -> dict[str, Case]:
    """Build the case after correcting each of `ERROR_COSTS`, by its name."""
    kept, right, label, asked = as_it_is(table, errors)
    cases = []
    for kind in range(len(ERROR_TYPES) - 1):
        own = errors.kind == kind
        put_right = own & errors.mendable
        corrected = label.copy()
        if kind == _CLASSIFICATION:
            corrected[put_right] = table.targets.label[errors.target[put_right]]
        cases.append(Case(kept & ~own | put_right, right | put_right, corrected, asked))
    cases.append(Case(kept, right, label, asked & ~errors.missed))
    cases.append(Case(right, right, label, asked))
    cases.append(Case(kept, right, label, asked & ~table.not_found(errors.foreground, errors.score)))
    return dict(zip(ERROR_COSTS, cases, strict=True))


def _mendable(table: MatchTable, kind: NDArray[np.int8], target: NDArray[np.int32], free: Bools) -> Bools:
    """Select (N,) the best scored of the errors that point at each free target; among equal scores the first given."""
    pointing = np.flatnonzero((kind == _CLASSIFICATION) | (kind == _LOCALIZATION))
    pointing = pointing[free[target[pointing]]]
    pointing = pointing[np.lexsort((table.detection[pointing], -table.score[pointing]))]
    _, first = np.unique(target[pointing], return_index=True)
    mendable = np.zeros(len(kind), np.bool_)
    mendable[pointing[first]] = True
    return mendable


def _best_overlaps(table: MatchTable, rows: Ints) -> tuple[Floats, NDArray[np.int32], Floats, NDArray[np.int32]]:
    """Find each row's best IoU with the counted targets of its class, and that target; the same for other classes."""
    counted = np.flatnonzero(table.counted[:, 0])
    targets, image, label, xywh = table.targets, table.image[rows], table.label[rows], table.xywh[rows]
    iou = np.zeros((2, len(rows)))
    best = np.full((2, len(rows)), -1, np.int32)
    for part, starts, row, place in meetings(image, targets.image[counted]):
        target = counted[place]
        values = overlap(xywh[row], targets.xywh[target])
        own = label[row] == targets.label[target]
        for side, belongs in enumerate((own, ~own)):
            iou[side, part], best[side, part] = best_in_runs(np.where(belongs, values, 0.0), target, starts)
    return iou[0], best[0], iou[1], best[1]


def _mean_ap(table: MatchTable, case: Case) -> float:
    """Average the classes' average precisions; a class with no target left to find has 0, since it found none."""
    order = case.order(table)
    positives = np.bincount(table.targets.label[case.asked], minlength=len(table.positives))
    bounds = np.searchsorted(case.label[order], np.arange(len(positives) + 1))
    values = []
    for k in np.flatnonzero(table.positives[:, 0]).tolist():
        hits = case.hit[order[bounds[k] : bounds[k + 1]], None, None]
        values.append(average_precision(hits, np.zeros_like(hits), positives[k : k + 1])[0, 0])
    return float(np.mean(values)) if values else float("nan")

"""What kind of mistake each false detection is, which targets are missed, and what average precision each kind costs.

The kinds and the rules that mend them are those of Bolya et al. 2020 (TIDE, arXiv:2008.08115, sections 2.2 and 2.3),
at a foreground IoU of 0.5 and a background IoU of 0.1. A false detection is, the first that holds:

    localisation    its best IoU with a target of its class is in 0.1..0.5
    classification  its best IoU with a target of another class is 0.5 or more
    duplicate       its best IoU with a target of its class is 0.5 or more: a better scored detection took that target
    background      its best IoU with any target is 0.1 or less
    both            all others: the best IoU with a target of another class is between 0.1 and 0.5

A missed target is one that no detection took and at which no localisation or classification error points.

The paper leaves three things open; they are settled as its authors' tidecv 1.0.1 settles them: the order above; a
localisation or classification error points at the target of its best IoU, taken or not; and of all errors that point
at one free target only the best scored is mended, the others would be duplicates of it.
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

ERROR_TYPES = ("classification", "localisation", "both", "duplicate", "background", "missed")
"""An error's kind is its place here."""
ERROR_COSTS = (*ERROR_TYPES, "false_positive", "false_negative")
"""What has a cost: each kind, all false detections, and all targets not found."""

_CLASSIFICATION, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND = range(5)


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """The columns beside those of a match table of N detections and M targets."""

    kind: NDArray[np.int8]
    """(N,) place in `ERROR_TYPES`; -1 for a detection that is right, ignored, or left out."""
    target: NDArray[np.int32]
    """(N,) the target that an error is about, by its best IoU: of its own class (localisation, duplicate) or of another
    (classification, both); -1 where there is none."""
    mendable: Bools
    """(N,) localisation and classification errors that would be right if that were mended."""
    missed: Bools
    """(M,)"""
    foreground: float
    score: Least
    """Detections below it were left out."""


@dataclass(frozen=True, slots=True)
class ErrorCost:
    """What a kind of error costs, and how often it comes up."""

    dap: float
    """Rise of AP at the foreground IoU where this kind alone is mended; NaN without targets."""
    count: int
    """Detections, or targets, with this error."""


class Case(NamedTuple):
    """Detections and targets of a table from which an average precision at the foreground IoU is computed."""

    kept: Bools
    """(N,) detections that are there."""
    hit: Bools
    """(N,) those of them that are right."""
    label: Ints
    """(N,)"""
    asked: Bools
    """(M,) targets that are there to be found."""

    def order(self, table: MatchTable) -> Ints:
        """The kept rows, by class and falling score."""
        rows = np.flatnonzero(self.kept)
        return rows[np.lexsort((-table.score[rows], self.label[rows]))]


def error_types(
    table: MatchTable, *, foreground: float = 0.5, background: float = 0.1, score: Least = -np.inf
) -> ErrorTable:
    """The kind of error of each detection, and which targets are missed.

    Ignored targets (crowd, difficult) explain no error, and ignored detections have none.

    Args:
        foreground: IoU from which a detection is right.
        background: IoU up to which a detection has nothing to do with a target.
        score: detections below it are left out, as if they weren't there; (K,) one for each class.

    Raises:
        ValueError: a foreground that isn't one of the table's thresholds.
    """
    wrong = np.flatnonzero(table.wrong(foreground, score))
    own, own_target, other, other_target = _best_overlaps(table, wrong)
    holds = {
        _LOCALISATION: (own >= background) & (own <= foreground),
        _CLASSIFICATION: other >= foreground,
        _DUPLICATE: own >= foreground,
        _BACKGROUND: np.maximum(own, other) <= background,
    }
    wrong_kind = np.select(list(holds.values()), list(holds), default=_BOTH)
    wrong_target = np.select(
        [(wrong_kind == _LOCALISATION) | (wrong_kind == _DUPLICATE), wrong_kind != _BACKGROUND],
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
    """AP lost to each kind of error alone, and to all false detections and all targets not found.

    Mended, a classification error gets its target's class and is right, as a localisation error is; the other false
    detections are left out; missed targets are not asked for. "false_positive" leaves out every false detection,
    "false_negative" asks for no target that wasn't found. The losses don't sum up to 1 - AP.
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
    """Right and wrong detections, and all counted targets."""
    right = table.right(errors.foreground, errors.score)
    return Case(right | (errors.kind >= 0), right, table.label, table.counted[:, 0])


def corrected_cases(table: MatchTable, errors: ErrorTable) -> dict[str, Case]:
    """The detections and targets that are left once each of `ERROR_COSTS` is put right, by its name."""
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
    """(N,) of the errors that point at each free target the best scored; of equal scores the one given first."""
    pointing = np.flatnonzero((kind == _CLASSIFICATION) | (kind == _LOCALISATION))
    pointing = pointing[free[target[pointing]]]
    pointing = pointing[np.lexsort((table.detection[pointing], -table.score[pointing]))]
    _, first = np.unique(target[pointing], return_index=True)
    mendable = np.zeros(len(kind), np.bool_)
    mendable[pointing[first]] = True
    return mendable


def _best_overlaps(table: MatchTable, rows: Ints) -> tuple[Floats, NDArray[np.int32], Floats, NDArray[np.int32]]:
    """Best IoU of each row with the counted targets of its class, and that target; the same for the other classes."""
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
    """Mean of the classes' average precisions. A class of which nothing is asked for any more has 0, as it found
    nothing."""
    order = case.order(table)
    positives = np.bincount(table.targets.label[case.asked], minlength=len(table.positives))
    bounds = np.searchsorted(case.label[order], np.arange(len(positives) + 1))
    values = []
    for k in np.flatnonzero(table.positives[:, 0]).tolist():
        hits = case.hit[order[bounds[k] : bounds[k + 1]], None, None]
        values.append(average_precision(hits, np.zeros_like(hits), positives[k : k + 1])[0, 0])
    return float(np.mean(values)) if values else float("nan")

"""Which class was taken for which: a confusion matrix that agrees with the evaluation's matches."""

from __future__ import annotations

import numpy as np

from boxwright.evaluate.columns import Bools, Ints
from boxwright.evaluate.matches import Least, MatchTable
from boxwright.evaluate.overlaps import meetings, overlap


def confusion_matrix(table: MatchTable, score: Least, *, iou: float = 0.5) -> Ints:
    """How often targets of each class were detected as each class.

    A detection from ``score`` up that is right by the match table counts on the diagonal. The false ones then choose by
    falling score, each the target of another class that it overlaps most and that is still free, at ``iou`` or more.
    What is left is background detected as a class, and targets that weren't detected. Ignored detections and targets
    (crowd, difficult) are left out. A row sums up to the targets of its class, a column to its detections.

    Args:
        score: one for all classes, or (K,) one for each.
        iou: from which a detection is right.

    Returns:
        (K + 1, K + 1): a row a true class, a column a detected one; the last row is background detected as a class,
        the last column targets not detected, the corner 0.

    Raises:
        ValueError: an IoU that isn't one of the table's thresholds.
    """
    num_classes = len(table.positives)
    right, free = table.right(iou, score), table.not_found(iou, score)
    false = np.flatnonzero(table.wrong(iou, score))
    false = false[np.lexsort((table.detection[false], -table.score[false]))]
    true = table.label.copy()
    true[false] = _other_classes(table, false, free, iou)
    rows = np.concatenate([np.flatnonzero(right), false])
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    np.add.at(matrix, (true[rows], table.label[rows]), 1)
    matrix[:, -1] += np.bincount(table.targets.label[free], minlength=num_classes + 1)
    return matrix


def _other_classes(table: MatchTable, rows: Ints, free: Bools, iou: float) -> Ints:
    """The class of the target that each row takes of those that are ``free``, which it uses up; K where it takes none.

    No row can take one of its own class: the match table would have it.
    """
    found = np.full(len(rows), len(table.positives))
    targets, asked = table.targets, np.flatnonzero(free)
    image, xywh = table.image[rows], table.xywh[rows]
    pairs: list[tuple[int, float, int]] = []
    for _, _, row, met in meetings(image, targets.image[asked]):
        target = asked[met]
        values = overlap(xywh[row], targets.xywh[target])
        near = values >= iou
        pairs += zip(row[near].tolist(), (-values[near]).tolist(), target[near].tolist(), strict=True)
    for place, _, taken in sorted(pairs):
        if free[taken] and found[place] == len(table.positives):
            free[taken] = False
            found[place] = targets.label[taken]
    return found

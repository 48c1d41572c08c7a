"""A confusion matrix of classes that agrees with the evaluation's matches."""

from __future__ import annotations

import numpy as np

from boxwright.evaluate.columns import Bools, Ints
from boxwright.evaluate.matches import Least, MatchTable
from boxwright.evaluate.overlaps import meetings, overlap


def confusion_matrix(table: MatchTable, score: Least, *, iou: float = 0.5) -> Ints:
    """Count how often targets of each class were detected as each class.

    A detection from ``score`` up that is right by the match table counts on the diagonal. The false ones then choose,
    by falling score, the free target of another class that they overlap most, at ``iou`` or more. What remains is
    background detected as a class, and targets that were not detected. Ignored detections and targets (crowd,
    difficult) are left out. A row sums to the number of targets of its class, a column to that of its detections.

    Args:
        table: Matches of the split.
        score: One for all classes, or (K,) one for each.
        iou: Overlap from which a detection is right.

    Returns:
        (K + 1, K + 1): rows are true classes, columns detected ones. The last row is background detected as a class,
        the last column are targets not detected, the corner is 0.

    Raises:
        ValueError: If the IoU is not one of the table's thresholds.

    Examples:
        >>> truth = [{"boxes": [[0, 0, 10, 10], [50, 50, 60, 60]], "labels": [0, 1]}]
        >>> found = [{"boxes": [[0, 0, 10, 10], [50, 50, 60, 61]], "scores": [0.9, 0.8], "labels": [0, 0]}]
        >>> metrics = bw.evaluate.detection_metrics(found, truth, ["cat", "dog"])
        >>> bw.evaluate.confusion_matrix(metrics.matches, score=0.5)  # the dog was detected as a cat
        array([[1, 0, 0],
               [1, 0, 0],
               [0, 0, 0]])
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
    """Assign a ``free`` target of another class to each row and return its class; K where there is none.

    No row can take one of its own class: the match table would have assigned it.
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

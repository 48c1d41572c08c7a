"""Pascal VOC's average precision from a match table, in the 11-point and the area form.

The development kit's rule: by falling score over all images, a detection is compared with the one target of its class
that it overlaps most, taken or not. It is true if the IoU is >= .5 (the kit's MATLAB code; its Python port requires >
.5) and the target was not taken before; a second detection of the same target is false. A detection of a difficult
target is ignored. There is no limit on the number of detections.

Two choices of ours: boxes are continuous (no + 1 on sides), and crowd boxes, which VOC does not have, are ignored: a
detection that would be false is left out if at least half of it lies in one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from boxwright.evaluate.columns import Bools, Floats, Ints
from boxwright.evaluate.matches import MatchTable

VOC_IOU = 0.5


class VocScores(NamedTuple):
    """Scores (K,) each; NaN where a class has no target that counts."""

    voc07: Floats
    """Mean, over the recalls 0, .1, ... 1, of the highest precision at that recall or beyond (VOC 2007)."""
    area: Floats
    """Area under the highest precision at each recall or beyond (VOC 2010 and later)."""


def voc_scores(matches: MatchTable) -> VocScores:
    """Compute both averages for every class."""
    targets = matches.targets
    counted = ~(targets.crowd | targets.difficult)
    num_classes = len(matches.positives)
    positives = np.bincount(targets.label[counted], minlength=num_classes)
    hits, ignored = voc_hits(matches)
    voc07, area = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    for label in np.flatnonzero(positives).tolist():
        rows = matches.rows(label)
        hit = hits[rows]
        found = np.arange(1, int(hit.sum()) + 1)
        precision = found / np.cumsum(~ignored[rows])[hit]
        voc07[label], area[label] = _averages(found, precision, int(positives[label]))
    return VocScores(voc07, area)


def voc_hits(matches: MatchTable) -> tuple[Bools, Bools]:
    """Find the true (N,) and ignored (N,) detections under the rule above."""
    near = matches.iou >= VOC_IOU
    difficult = near.copy()
    difficult[near] = matches.targets.difficult[matches.nearest[near]]
    rows = np.flatnonzero(near & ~difficult)
    _, first = np.unique(matches.nearest[rows], return_index=True)
    hits = np.zeros(len(near), np.bool_)
    hits[rows[first]] = True
    return hits, difficult | (~hits & (matches.crowd_overlap >= VOC_IOU))


def _averages(found: Ints, precision: Floats, positives: int) -> tuple[float, float]:
    """Compute the 11-point and the area average from the precision at each true positive."""
    best_beyond = np.maximum.accumulate(precision[::-1])[::-1]
    tenths = np.arange(11)
    place = np.searchsorted(10 * found, tenths * positives)  # found / positives >= tenth / 10, in whole numbers
    eleven = np.append(best_beyond, 0.0)[place].mean()
    return float(eleven), float(best_beyond.sum() / positives)

"""Matching: which target each anchor answers for.

Every matcher takes anchors, boxes (B, G, 4) and labels (B, G) with -1 for padding, and returns ``types.Matches``.
Padding and ignored boxes are never matched; G may be 0. Nothing here carries a gradient.
"""

from boxwright.matching.atss import match_atss
from boxwright.matching.iou import best_anchors, match_iou, match_quality
from boxwright.matching.points import match_points
from boxwright.matching.ssd_tensorflow import match_ssd_tf
from boxwright.matching.task_aligned import match_task_aligned

__all__ = [
    "best_anchors",
    "match_atss",
    "match_iou",
    "match_points",
    "match_quality",
    "match_ssd_tf",
    "match_task_aligned",
]

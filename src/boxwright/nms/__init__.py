"""Non-maximum suppression: keep one of many boxes on the same object.

Every function takes boxes (n, 4), scores (n,) and labels (n,), n = 0 included, and computes in at least float32. Only
boxes of the same label act on one another, unless ``agnostic=True``. A box is suppressed by an overlap above the
threshold, not at it; among equal scores the lower index counts as better. A box that is not finite, or whose score is
NaN, is dropped and acts on no other.
"""

from boxwright.nms.cluster import cluster_nms, cluster_soft_nms
from boxwright.nms.hard import batched_nms
from boxwright.nms.kinds import NmsKind, suppress
from boxwright.nms.soft import soft_nms
from boxwright.nms.vote import vote_boxes

__all__ = ["NmsKind", "batched_nms", "cluster_nms", "cluster_soft_nms", "soft_nms", "suppress", "vote_boxes"]

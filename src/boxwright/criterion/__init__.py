"""The supervision of a head: match, mine, encode, penalize, normalize; for two stages, each by its own criterion.

Shape shorthand: B images, A anchors, G padded targets, K classes, P positives of the batch.
"""

from boxwright.criterion.class_weights import ClassWeights
from boxwright.criterion.dense import DenseCriterion
from boxwright.criterion.normalizers import NORMALIZERS
from boxwright.criterion.results import AnchorLosses, Losses, Positives, Stats
from boxwright.criterion.two_stage import TwoStageCriterion, roi_losses, select_rois

__all__ = [
    "NORMALIZERS",
    "AnchorLosses",
    "ClassWeights",
    "DenseCriterion",
    "Losses",
    "Positives",
    "Stats",
    "TwoStageCriterion",
    "roi_losses",
    "select_rois",
]

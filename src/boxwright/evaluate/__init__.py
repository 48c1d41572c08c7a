"""Detection metrics: COCO and VOC protocols from one columnar match table. numpy only, torch is never imported."""

from boxwright.evaluate.columns import DetectionColumns, TargetColumns, keep_best, to_detections, to_targets
from boxwright.evaluate.matches import AREAS, IOU_THRESHOLDS, MatchTable, match_detections, overlapping_pairs
from boxwright.evaluate.metrics import MetricsTable, OperatingPoint, detection_metrics
from boxwright.evaluate.results import read_results, save_results, save_targets

__all__ = [
    "AREAS",
    "IOU_THRESHOLDS",
    "DetectionColumns",
    "MatchTable",
    "MetricsTable",
    "OperatingPoint",
    "TargetColumns",
    "detection_metrics",
    "keep_best",
    "match_detections",
    "overlapping_pairs",
    "read_results",
    "save_results",
    "save_targets",
    "to_detections",
    "to_targets",
]

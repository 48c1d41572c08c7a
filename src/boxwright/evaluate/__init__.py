"""Detection metrics by the protocols of COCO and VOC, from one columnar match table; numpy only, without torch."""

from boxwright.evaluate.columns import DetectionColumns, TargetColumns, nms_and_topk, to_detections, to_targets
from boxwright.evaluate.confusion import confusion_matrix
from boxwright.evaluate.error_types import ERROR_TYPES, ErrorCost, ErrorTable, error_costs, error_types
from boxwright.evaluate.intervals import Interval, ScoreIntervals, score_intervals
from boxwright.evaluate.matches import AREAS, IOU_THRESHOLDS, MatchTable, match_detections, overlapping_pairs
from boxwright.evaluate.metrics import MetricsTable, OperatingPoint, detection_metrics
from boxwright.evaluate.paired import DecidingImage, PairedComparison, PairedDifference, compare_tables
from boxwright.evaluate.reliability import Reliability, reliability
from boxwright.evaluate.results import read_results, save_results, save_targets
from boxwright.evaluate.slices import Slice, slice_metrics
from boxwright.evaluate.thresholds import Thresholds, Wish

__all__ = [
    "AREAS",
    "ERROR_TYPES",
    "IOU_THRESHOLDS",
    "DecidingImage",
    "DetectionColumns",
    "ErrorCost",
    "ErrorTable",
    "Interval",
    "MatchTable",
    "MetricsTable",
    "OperatingPoint",
    "PairedComparison",
    "PairedDifference",
    "Reliability",
    "ScoreIntervals",
    "Slice",
    "TargetColumns",
    "Thresholds",
    "Wish",
    "compare_tables",
    "confusion_matrix",
    "detection_metrics",
    "error_costs",
    "error_types",
    "match_detections",
    "nms_and_topk",
    "overlapping_pairs",
    "read_results",
    "reliability",
    "save_results",
    "save_targets",
    "score_intervals",
    "slice_metrics",
    "to_detections",
    "to_targets",
]

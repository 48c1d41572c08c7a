"""Find what is wrong with a data set before training on it."""

from boxwright.check.passes import check_dataset
from boxwright.check.report import CheckReport, Finding, SplitCount

__all__ = ["CheckReport", "Finding", "SplitCount", "check_dataset"]

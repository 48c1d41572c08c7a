"""What is wrong with a data set, before anybody trains on it."""

from boxwright.check.passes import check_dataset
from boxwright.check.report import CheckReport, Finding, SplitCount

__all__ = ["CheckReport", "Finding", "SplitCount", "check_dataset"]

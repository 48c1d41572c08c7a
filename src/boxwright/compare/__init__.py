"""Which matching, mining and loss is best on your data."""

from boxwright.compare.comparing import compare
from boxwright.compare.options import CompareOptions
from boxwright.compare.results import Arm, Comparison, RunResult

__all__ = ["Arm", "CompareOptions", "Comparison", "RunResult", "compare"]

"""Find which matching, mining and loss is best on your data."""

from boxwright.compare.comparison import compare
from boxwright.compare.plan.options import CompareOptions
from boxwright.compare.results.results import Arm, Comparison, RunResult

__all__ = ["Arm", "CompareOptions", "Comparison", "RunResult", "compare"]

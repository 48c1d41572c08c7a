"""Make the supervision visible: which object has which anchors, at what loss, and which anchors would fit better."""

from boxwright.inspect.coverage import coverage_curve
from boxwright.inspect.inputs import Inputs, training_inputs
from boxwright.inspect.inputs_page import write_inputs_page
from boxwright.inspect.inspection import Inspection, inspect_supervision
from boxwright.inspect.page import write_page
from boxwright.inspect.suggest import Suggestion, k_means, suggest_anchors
from boxwright.inspect.supervision import Supervision, examine

__all__ = [
    "Inputs",
    "Inspection",
    "Suggestion",
    "Supervision",
    "coverage_curve",
    "examine",
    "inspect_supervision",
    "k_means",
    "suggest_anchors",
    "training_inputs",
    "write_inputs_page",
    "write_page",
]

"""Training."""

from boxwright.training.engine import train
from boxwright.training.nonfinite import replay
from boxwright.training.options import RunOptions

__all__ = ["RunOptions", "replay", "train"]

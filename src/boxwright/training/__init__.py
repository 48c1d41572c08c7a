"""Training."""

from boxwright.training.engine import train
from boxwright.training.options import RunOptions

__all__ = ["RunOptions", "train"]

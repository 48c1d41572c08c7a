"""Training. The names below are imported on first use: Lightning, which few of them need, takes seconds to import."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_NAMES = {"Folds": "folds", "RunOptions": "options", "replay": "nonfinite", "train": "engine", "train_folds": "folds"}

__all__ = ["Folds", "RunOptions", "replay", "train", "train_folds"]

if TYPE_CHECKING:
    from boxwright.training.engine import train as train
    from boxwright.training.folds import Folds as Folds
    from boxwright.training.folds import train_folds as train_folds
    from boxwright.training.nonfinite import replay as replay
    from boxwright.training.options import RunOptions as RunOptions
else:

    def __getattr__(name: str) -> Any:
        if name in _NAMES:
            return getattr(import_module(f"boxwright.training.{_NAMES[name]}"), name)
        raise AttributeError(f"module 'boxwright.training' has no attribute {name!r}")

"""The run folder: the files that a training writes, and how a detector is loaded from them.

recipe.yaml and model.safetensors are enough to load a detector; nothing is unpickled.
"""

from boxwright.runs.run import Run, load

__all__ = ["Run", "load"]

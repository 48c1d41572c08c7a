"""The run folder: what a training leaves behind, and the way back to a detector.

recipe.yaml and model.safetensors are enough to load a detector; nothing is unpickled.
"""

from boxwright.runs.run import Run, load

__all__ = ["Run", "load"]

"""torchvision's detectors as boxwright's."""

from boxwright.adapters.torchvision.convert import convert

__all__ = ["convert"]

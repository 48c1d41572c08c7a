"""torchvision's detectors as boxwright's, and boxwright's supervision under torchvision's detectors."""

from boxwright.adapters.torchvision.convert import convert
from boxwright.adapters.torchvision.supervise import supervise

__all__ = ["convert", "supervise"]

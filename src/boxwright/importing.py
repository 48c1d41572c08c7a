"""torchvision's published weights as boxwright's runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection

from boxwright.adapters.torchvision import convert
from boxwright.errors import RecipeError
from boxwright.runs import Run
from boxwright.text import did_you_mean

_COCO = detection.SSD300_VGG16_Weights.COCO_V1.meta["categories"]  # 91 names by id, "N/A" for those without objects

# name -> how to build it, and the layer whose rows tell the number of columns, with the rows of a column
_MODELS: dict[str, tuple[Callable[..., nn.Module], str, int]] = {
    "ssd300_vgg16": (detection.ssd300_vgg16, "head.classification_head.module_list.0.weight", 4),
}


def import_weights(name: str, weights: str | Path, out: str | Path, classes: Sequence[str] = ()) -> Run:
    """A torchvision model's file of weights as a run folder, which predict, eval and ``bw.load`` take.

    ``name``: ssd300_vgg16. ``classes``: the names without background; by default COCO's for a model of its 91 ids, of
    which those without objects are called "unused 12" and so on, and "class 1" and so on for others. The file is never
    unpickled blindly. Raises RecipeError for another model, a file that isn't its weights, names that are too many or
    too few, and a folder that holds a run already.
    """
    if name not in _MODELS:
        raise RecipeError(f"unknown torchvision model {name!r}{did_you_mean(name, _MODELS)}")
    run = Run(Path(out))
    if run.recipe_file.exists():
        raise RecipeError(f"{run.folder} holds a run already: name another folder with --out")
    build, layer, rows = _MODELS[name]
    state = _read(Path(weights))
    if layer not in state:
        raise RecipeError(f"{weights} holds no weights of torchvision's {name}: it has no {layer}")
    columns = len(state[layer]) // rows
    model = build(weights=None, weights_backbone=None, num_classes=columns)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise RecipeError(f"{weights} holds no weights of torchvision's {name}: {str(error).splitlines()[1]}") from None
    detector = convert(model)
    detector.recipe = detector.recipe.replace(classes=_names(columns - 1, classes))
    run.keep(detector)
    return run


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a foreign file leads it into
        raise RecipeError(f"can't read weights from {path}: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise RecipeError(f"{path} holds no weights: Expected tensors by name")
    return state


def _names(count: int, classes: Sequence[str]) -> list[str]:
    if classes and len(classes) != count:
        raise RecipeError(f"Expected {count} class names but got {len(classes)}")
    if classes:
        return list(classes)
    if count == len(_COCO) - 1:
        return [f"unused {place}" if name == "N/A" else name for place, name in enumerate(_COCO)][1:]
    return [f"class {place}" for place in range(1, count + 1)]

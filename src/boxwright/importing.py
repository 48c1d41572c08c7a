"""torchvision's published weights as boxwright's runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.ops import FrozenBatchNorm2d

from boxwright._util.ownership import claim, mark_new_folder
from boxwright.adapters.torchvision import convert
from boxwright.errors import RecipeError, WriteError
from boxwright.runs import Run
from boxwright.text import did_you_mean

_COCO = detection.SSD300_VGG16_Weights.COCO_V1.meta["categories"]  # 91 names by id, "N/A" for those without objects


class _Model(NamedTuple):
    build: Callable[..., nn.Module]
    layer: str
    """Whose rows tell the number of columns."""
    rows: int
    """Of a column."""
    eps: float = 1e-5
    """Of its constant BatchNorms, as torchvision publishes it."""


_MODELS = {
    "ssd300_vgg16": _Model(detection.ssd300_vgg16, "head.classification_head.module_list.0.weight", 4),
    "retinanet_resnet50_fpn": _Model(
        detection.retinanet_resnet50_fpn, "head.classification_head.cls_logits.weight", 9, eps=0.0
    ),
    "fcos_resnet50_fpn": _Model(detection.fcos_resnet50_fpn, "head.classification_head.cls_logits.weight", 1),
    "fasterrcnn_resnet50_fpn": _Model(
        detection.fasterrcnn_resnet50_fpn, "roi_heads.box_predictor.cls_score.weight", 1, eps=0.0
    ),
}
MODELS = tuple(_MODELS)
"""Names that ``import_weights`` takes."""


def import_weights(
    name: str, weights: str | Path, out: str | Path, classes: Sequence[str] = (), *, overwrite: bool = False
) -> Run:
    """A torchvision model's file of weights as a run folder, which predict, eval and ``bw.load`` take.

    ``name``: one of ``MODELS``. ``classes``: the names without background; by default COCO's for a model of its 91 ids,
    of which those without objects are called "unused 12" and so on, and "class 1" and so on for others. The file is
    never unpickled blindly. Raises RecipeError for another model, a file that isn't its weights, and too many or too
    few names; WriteError for a folder that holds a run already, unless it is to ``overwrite`` recipe and model.
    """
    if name not in _MODELS:
        raise RecipeError(f"unknown torchvision model {name!r}{did_you_mean(name, _MODELS)}")
    run = Run(Path(out))
    if run.recipe_file.exists() and not overwrite:
        raise WriteError(f"{run.folder} holds a run already: name another folder with --out, or add --overwrite")
    claim(run.recipe_file, run.model_file, overwrite=overwrite, inputs=[Path(weights)])
    known = _MODELS[name]
    state = _read(Path(weights))
    if known.layer not in state:
        raise RecipeError(f"{weights} holds no weights of torchvision's {name}: it has no {known.layer}")
    columns = len(state[known.layer]) // known.rows
    model = known.build(weights=None, weights_backbone=None, num_classes=columns)
    if not any(key.endswith("num_batches_tracked") for key in state):
        _freeze_batch_norm(model, known.eps)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise RecipeError(f"{weights} holds no weights of torchvision's {name}: {str(error).splitlines()[1]}") from None
    detector = convert(model)
    detector.recipe = detector.recipe.replace(classes=_names(columns - 1, classes))
    mark_new_folder(run.folder, "run")
    run.keep(detector)
    return run


def _freeze_batch_norm(model: nn.Module, eps: float) -> None:
    """BatchNorms as those of torchvision's models that are built from published weights: constants, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child.num_features, eps=eps))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RecipeError(f"can't read weights from {path}: {error.strerror}") from None
    except Exception:  # torch.load raises whatever a foreign file leads it into, with advice to trust the file
        state = None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise RecipeError(f"{path} holds no weights: Expected tensors by name, as torch.save writes them")
    return state


def _names(count: int, classes: Sequence[str]) -> list[str]:
    if classes and len(classes) != count:
        raise RecipeError(f"Expected {count} class names but got {len(classes)}")
    if classes:
        return list(classes)
    if count == len(_COCO) - 1:
        return [f"unused {place}" if name == "N/A" else name for place, name in enumerate(_COCO)][1:]
    return [f"class {place}" for place in range(1, count + 1)]

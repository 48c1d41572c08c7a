"""torchvision's published weights as boxwright's runs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
from torchvision.models import detection
from torchvision.ops import FrozenBatchNorm2d

from boxwright._util.ownership import claim, mark_new_folder
from boxwright.adapters.torchvision import convert
from boxwright.errors import RecipeError, WriteError
from boxwright.runs import Run
from boxwright.text import did_you_mean

_SHOWN = 3  # names of objects in a message
_DEPTH = 3  # of keys below which tensors are looked for
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
    of which those without objects are called "unused 12" and so on, and "class 1" and so on for others. The file may be
    a state dict or a checkpoint that holds one, below any key and with any prefix to its names; it is never unpickled
    blindly. Raises RecipeError for another model, a file that isn't its weights, and too many or too few names;
    WriteError for a folder that holds a run already, unless it is to ``overwrite`` recipe and model.
    """
    if name not in _MODELS:
        raise RecipeError(f"unknown torchvision model {name!r}{did_you_mean(name, _MODELS)}")
    run = Run(Path(out))
    if run.recipe_file.exists() and not overwrite:
        raise WriteError(f"{run.folder} holds a run already: name another folder with --out, or add --overwrite")
    claim(run.recipe_file, run.model_file, run.thresholds_file, overwrite=overwrite, inputs=[Path(weights)])
    known = _MODELS[name]
    state = _state_of(_read(Path(weights)), known.layer)
    if state is None or state[known.layer].ndim == 0:
        raise RecipeError(f"{weights} holds no weights of torchvision's {name}: it has no {known.layer}")
    columns = len(state[known.layer]) // known.rows
    model = known.build(weights=None, weights_backbone=None, num_classes=columns)
    if not any(key.endswith("num_batches_tracked") for key in state):
        _freeze_batch_norm(model, known.eps)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise RecipeError(f"{weights} holds no weights of torchvision's {name}: {reason}") from None
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


def _read(path: Path) -> dict[Any, Any]:
    """A file of torch.save. Nothing is unpickled but tensors, plain values and argparse's Namespace, which holds them.

    Raises RecipeError for what can't be read, or holds anything else.
    """
    if path.exists() and not path.is_file():
        raise RecipeError(f"can't read weights from {path}: it is no file")
    try:
        with safe_globals([Namespace]):  # what torchvision's training scripts keep their options in
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RecipeError(f"can't read weights from {path}: {error.strerror}") from None
    except Exception:  # torch.load raises whatever a foreign file leads it into, with advice to trust the file
        raise RecipeError(f"{path} holds no weights: {_reason(path)}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path} holds no weights: Expected tensors by name but got {type(content).__name__}")
    return content


def _reason(path: Path) -> str:
    """Why a file can't be loaded; its objects are listed without being made."""
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # whatever a foreign file leads it into
        names = []
    if not names:
        return "Expected tensors by name, as torch.save(model.state_dict(), file) writes them"
    return (
        f"beside tensors it has objects ({', '.join(sorted(names)[:_SHOWN])}), which are never made of a file. "
        "Save the tensors alone where the model is: torch.save(model.state_dict(), file)"
    )


def _state_of(content: dict[Any, Any], layer: str, depth: int = 0) -> dict[str, Tensor] | None:
    """The tensors by torchvision's names, of which ``layer`` is one; None where there are none.

    Training scripts put them below a key, and wrappers (DistributedDataParallel, Lightning, averages) put a prefix
    before each name. Of the averaged weights and the last ones the averaged are taken.
    """
    found = next((key for key in content if f".{key}".endswith(f".{layer}")), None)
    if found is not None:
        prefix = found.removesuffix(layer)
        named = {key: value for key, value in content.items() if isinstance(key, str) and key.startswith(prefix)}
        return {key.removeprefix(prefix): value for key, value in named.items() if isinstance(value, Tensor)}
    below = sorted((key for key, value in content.items() if isinstance(value, dict)), key=_rank)
    states = (_state_of(content[key], layer, depth + 1) for key in below if depth < _DEPTH)
    return next((state for state in states if state is not None), None)


def _rank(key: Any) -> bool:
    """Averaged weights come first, all else in the file's order."""
    return "ema" not in str(key).lower()


def _names(count: int, classes: Sequence[str]) -> list[str]:
    if classes and len(classes) != count:
        raise RecipeError(f"Expected {count} class names but got {len(classes)}")
    if classes:
        return list(classes)
    if count == len(_COCO) - 1:
        return [f"unused {place}" if name == "N/A" else name for place, name in enumerate(_COCO)][1:]
    return [f"class {place}" for place in range(1, count + 1)]

"""torchvision's published weights as boxwright's runs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torchvision.models import WeightsEnum, detection
from torchvision.ops import FrozenBatchNorm2d

from boxwright._util.ownership import claim, mark_new_folder
from boxwright.adapters.torchvision import convert
from boxwright.errors import RecipeError, WriteError
from boxwright.runs import Run
from boxwright.runs.foreign import read_foreign, state_dicts
from boxwright.text import did_you_mean

_PATIENCE = 15.0  # seconds that a server may be silent
_LICENSE = "BSD-3-Clause"  # of torchvision and the weights it publishes
_COCO = detection.SSD300_VGG16_Weights.COCO_V1.meta["categories"]  # 91 names by id, "N/A" for those without objects


class _Model(NamedTuple):
    build: Callable[..., nn.Module]
    published: WeightsEnum
    layer: str
    """Whose rows tell the number of columns."""
    rows: int
    """Number of rows of a column."""
    eps: float = 1e-5
    """Epsilon of its constant BatchNorms, as torchvision publishes it."""


_MODELS = {
    "ssd300_vgg16": _Model(
        detection.ssd300_vgg16,
        detection.SSD300_VGG16_Weights.COCO_V1,
        "head.classification_head.module_list.0.weight",
        4,
    ),
    "retinanet_resnet50_fpn": _Model(
        detection.retinanet_resnet50_fpn,
        detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1,
        "head.classification_head.cls_logits.weight",
        9,
        eps=0.0,
    ),
    "fcos_resnet50_fpn": _Model(
        detection.fcos_resnet50_fpn,
        detection.FCOS_ResNet50_FPN_Weights.COCO_V1,
        "head.classification_head.cls_logits.weight",
        1,
    ),
    "fasterrcnn_resnet50_fpn": _Model(
        detection.fasterrcnn_resnet50_fpn,
        detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
        "roi_heads.box_predictor.cls_score.weight",
        1,
        eps=0.0,
    ),
}
MODELS = tuple(_MODELS)
"""Names that ``import_weights`` takes."""


def import_weights(
    name: str, weights: str | Path | None, out: str | Path, classes: Sequence[str] = (), *, overwrite: bool = False
) -> Run:
    """Make a run folder, which predict, eval and ``bw.load`` take, from the weights of a torchvision model.

    ``name``: one of ``MODELS``. ``weights``: a file, or None: torchvision's published ones, fetched. ``classes``: the
    names without background; by default COCO's for a model of its 91 ids, of which those without objects are called
    "unused 12" and so on, and "class 1" and so on for others. The file may be a state dict or a checkpoint that holds
    one, below any key and with any prefix to its names; it is never unpickled blindly. Raises RecipeError for another
    model, weights that can't be fetched, a file that isn't its weights, and too many or too few names; WriteError for a
    folder that holds a run already, unless it is to ``overwrite`` recipe and model.
    """
    if name not in _MODELS:
        raise RecipeError(f"unknown torchvision model {name!r}{did_you_mean(name, _MODELS)}")
    run = Run(Path(out))
    if run.recipe_file.exists() and not overwrite:
        raise WriteError(f"{run.folder} holds a run already: name another folder with --out, or add --overwrite")
    inputs = [] if weights is None else [Path(weights)]
    claim(run.recipe_file, run.model_file, run.thresholds_file, overwrite=overwrite, inputs=inputs)
    content = _fetch(name) if weights is None else read_foreign(Path(weights))
    source = str(weights or f"torchvision's {_MODELS[name].published}")
    detector = convert(_load(name, content, source))
    detector.recipe = detector.recipe.replace(classes=_names(len(detector.classes), classes))
    mark_new_folder(run.folder, "run")
    run.keep(detector, origin=source, license="" if weights is not None else _LICENSE)
    return run


def _load(name: str, content: Mapping[Any, Any], source: str) -> nn.Module:
    """Torchvision's model with the weights in ``content``. Raises RecipeError where there are none of it."""
    known = _MODELS[name]
    state = _state_of(content, known.layer)
    if state is None or state[known.layer].ndim == 0:
        raise RecipeError(f"{source} holds no weights of torchvision's {name}: it has no {known.layer}")
    columns = len(state[known.layer]) // known.rows
    model = known.build(weights=None, weights_backbone=None, num_classes=columns)
    if not any(key.endswith("num_batches_tracked") for key in state):
        _freeze_batch_norm(model, known.eps)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise RecipeError(f"{source} holds no weights of torchvision's {name}: {reason}") from None
    return model


def _fetch(name: str) -> Mapping[str, Any]:
    """Torchvision's published weights: from its cache, or fetched and compared with their checksum.

    Raises RecipeError where they can't be fetched, or aren't those that were published.
    """
    published = _MODELS[name].published
    try:
        with _impatient():
            state: Mapping[str, Any] = published.get_state_dict(check_hash=True, progress=False, weights_only=True)
    except Exception as error:  # whatever the network stack raises, and torch of a file that is damaged
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(
            f"can't fetch {published.url} ({reason}): where there is a network, download it, and "
            f"boxwright import torchvision {name} {Path(published.url).name} takes the file"
        ) from None
    return state


@contextmanager
def _impatient() -> Iterator[None]:
    """Set a timeout for sockets, which torch's downloads do not have."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _freeze_batch_norm(model: nn.Module, eps: float) -> None:
    """Freeze BatchNorms as in torchvision's models built from published weights: constants, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child.num_features, eps=eps))


def _state_of(content: Mapping[Any, Any], layer: str) -> dict[str, Tensor] | None:
    """Find the tensors by torchvision's names, of which ``layer`` is one; None if there are none.

    Wrappers (DistributedDataParallel, Lightning, averages) put a prefix before each name.
    """
    for state in state_dicts(content):
        found = next((key for key in state if f".{key}".endswith(f".{layer}")), None)
        if found is not None:
            prefix = found.removesuffix(layer)
            return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return None


def _names(count: int, classes: Sequence[str]) -> list[str]:
    if classes and len(classes) != count:
        raise RecipeError(f"Expected {count} class names but got {len(classes)}")
    if classes:
        return list(classes)
    if count == len(_COCO) - 1:
        return [f"unused {place}" if name == "N/A" else name for place, name in enumerate(_COCO)][1:]
    return [f"class {place}" for place in range(1, count + 1)]

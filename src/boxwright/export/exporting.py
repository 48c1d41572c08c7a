"""Export a run as one model file that needs neither torch nor boxwright, written only if its results agree."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import onnx
import torch
from torch import nn

from boxwright._util.ownership import claim, mark_new_folder
from boxwright._util.writing import write_bytes
from boxwright.errors import BoxwrightError, RecipeError
from boxwright.export.compare import Tolerance
from boxwright.export.graph import RawGraph, WholeGraph
from boxwright.export.metadata import describe, put
from boxwright.export.onnx_graph import between, to_onnx
from boxwright.export.samples import as_batch, make_samples, pictures_of
from boxwright.export.verify import Agreement, Verifier
from boxwright.models.dense import DenseDetector
from boxwright.models.detector import Detector, Score
from boxwright.runs import Run, load

NmsPlace = Literal["graph", "runtime"]
FILE = "model.onnx"
_IN_GRAPH = ("iou", "cluster_iou")  # one result
_RAW = ("all_scores", "all_boxes")
_RAW_ALONE = ("scores", "boxes")
_FOUND = ("boxes", "scores", "labels", "count")
_WITHIN, _WITHIN_HALF = Tolerance(1e-4), Tolerance(2e-2)
_SHOWN = 3  # faults in a message


class Unfaithful(BoxwrightError):
    """A model file disagrees with its run and is not written."""


@dataclass(frozen=True)
class Exported:
    """A model file, and what it was verified on."""

    file: Path
    agreement: Agreement


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    nms: NmsPlace = "graph",
    batch: int | None = None,
    half: bool = False,
    score: Score | None = None,
    pictures: Sequence[Path] = (),
    overwrite: bool = False,
) -> Exported:
    """Write model.onnx into ``out``, or the run's folder, once it agrees with the run on at least eight pictures.

    It takes pixels (B, H, W, 3) at the size of the network's input, uint8 (float32 in 0..255 of a model without
    antialias); where that is any, with sides that are multiples of 32, and what of each is ``shown`` (B, 2), rows and
    columns. With ``nms`` "graph" it gives boxes (B, M, 4) in pixels of the input, scores (B, M) falling, labels
    (B, M) and how many there are (B,); what is padded up to M = ``max_detections`` is 0, with label -1. With "runtime":
    scores (B, A, K) and boxes (B, A, 4) of all anchors. ``batch``: pictures at a time; None: any number. ``half``: the
    network computes in float16. ``score``: as ``predict`` takes it. ``pictures``: what it is tried on,
    beside a black picture and one of noise, instead of the run's validation images where they still are; where these
    are fewer than eight, made ones too.

    Raises Unfaithful where file and run differ by more than 1e-4 + 1e-4 |x| (half: 2e-2), and nothing is written then;
    RecipeError for a detector or NMS that can't be exported so; DataError and WriteError.
    """
    folder = Run.of(run)
    detector = _exportable(load(run), nms, batch)
    file = Path(out or folder.folder) / FILE
    claim(file, overwrite=overwrite, inputs=[*folder.files, *pictures])
    scores = detector.least_scores(score)
    least = list(scores) if isinstance(scores, Sequence) else [scores] * len(detector.classes)
    samples = make_samples(detector, pictures or pictures_of(folder, detector.recipe))
    verifier = Verifier(detector, samples, batch, least, _WITHIN_HALF if half else _WITHIN)
    module = _in_half(detector) if half else detector
    any_size = detector.recipe.resize == "shortest"
    inputs = as_batch([samples[place % len(samples)] for place in range(batch or 2)], any_size)
    with torch.no_grad():
        if nms == "graph":
            model = to_onnx(WholeGraph(module, least), inputs, (*_FOUND, *_RAW), dynamic=batch is None)
        else:
            model = to_onnx(RawGraph(module), inputs, _RAW_ALONE, dynamic=batch is None)
    _check(verifier, model, nms)
    put(model, describe(folder, detector, least, nms))
    mark_new_folder(file.parent, "export")
    write_bytes(file, model.SerializeToString())
    return Exported(file, verifier.agreement)


def _exportable(detector: Detector, nms: NmsPlace, batch: int | None) -> DenseDetector:
    """Prepare the detector for its graph; raises RecipeError for what cannot be exported."""
    recipe = detector.recipe
    if nms not in get_args(NmsPlace):
        raise RecipeError(f"Expected nms out of {get_args(NmsPlace)} but got {nms!r}")
    if batch is not None and batch < 1:
        raise RecipeError(f"Expected a batch of at least 1 but got {batch}")
    if not isinstance(detector, DenseDetector):
        raise RecipeError(f"{recipe.detector} has two stages, and only detectors of one can be exported so far")
    if nms == "graph" and recipe.nms not in _IN_GRAPH:
        raise RecipeError(
            f"ONNX has no operator for nms={recipe.nms}: add --nms runtime, which leaves it to the caller"
        )
    return detector.lay_out(torch.contiguous_format).requires_grad_(False)


def _in_half(detector: DenseDetector) -> DenseDetector:
    half = copy.deepcopy(detector)
    for module in half.net.half().modules():
        if isinstance(module, nn.Conv2d):  # some layers give float32 whatever they take, such as SSD's norm
            module.register_forward_pre_hook(lambda layer, inputs: inputs[0].to(layer.weight.dtype))
    return half


def _check(verifier: Verifier, model: onnx.ModelProto, nms: NmsPlace) -> None:
    """Verify the model, and keep only the outputs that users need; raises Unfaithful."""
    if nms == "runtime":
        verifier.check(model, raw=_RAW_ALONE, detections=False)
    else:
        verifier.check(model, raw=_RAW, detections=True)
        if not verifier.agreement.faults:
            verifier.check_selection(between(model, (*(each.name for each in model.graph.input), *_RAW), _FOUND), _RAW)
        del model.graph.output[len(_FOUND) :]
        if not verifier.agreement.faults:
            verifier.check(model, raw=None, detections=True, batches=1)
    faults = verifier.agreement.faults
    if faults:
        more = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
        raise Unfaithful(
            f"the file doesn't say what the run says, and isn't written: {'; '.join(faults[:_SHOWN])}{more}"
        )

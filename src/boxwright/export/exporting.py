"""A run as one model file that needs neither torch nor boxwright, written once it says what the run says."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn

from boxwright._util.ownership import claim, mark_new_folder
from boxwright._util.writing import write_bytes
from boxwright.errors import BoxwrightError, RecipeError
from boxwright.export.choosing import shortest_side
from boxwright.export.compare import Tolerance
from boxwright.export.graph import DenseGraph, Selection, WholeGraph
from boxwright.export.metadata import describe
from boxwright.export.models import MODELS, FileModel
from boxwright.export.precision import Precision, compare_precision, read_data
from boxwright.export.regions import RegionGraph
from boxwright.export.samples import as_batch, make_samples, pictures_of
from boxwright.export.verify import Agreement, Verifier
from boxwright.models.dense import DenseDetector
from boxwright.models.detector import Detector, Score
from boxwright.models.faster_rcnn import TwoStageDetector
from boxwright.runs import Run, load

NmsPlace = Literal["graph", "runtime"]
FormName = Literal["onnx", "torch"]
_IN_GRAPH = ("iou", "cluster_iou")  # one result
_RAW = ("all_scores", "all_boxes")
_RAW_ALONE = ("scores", "boxes")
_OF_REGIONS = ("regions", "region_anchors", "objectness", "first_boxes")
_FOUND = ("boxes", "scores", "labels", "count")
_WITHIN, _WITHIN_HALF = Tolerance(1e-4), Tolerance(2e-2)
_AP, _AP_HALF = 0.001, 0.01
"""That the average precision may differ by."""
_SHOWN = 3  # faults in a message


class Unfaithful(BoxwrightError):
    """A model file that doesn't say what its run says. It isn't written."""


@dataclass(frozen=True)
class Exported:
    """A model file, and what it was checked on."""

    file: Path
    agreement: Agreement
    precision: Precision | None = None
    """Where a data set was given."""


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    form: FormName = "onnx",
    nms: NmsPlace = "graph",
    batch: int | None = None,
    half: bool = False,
    score: Score | None = None,
    pictures: Sequence[Path] = (),
    data: str | Path | None = None,
    split: str = "val",
    overwrite: bool = False,
) -> Exported:
    """Write model.onnx, or model.pt2, into ``out``, or the run's folder, once it says what the run says.

    It takes pixels (B, H, W, 3) at the size of the network's input, uint8 (float32 in 0..255 of a model without
    antialias); where that is any, with sides that are multiples of 32, and what of each is ``shown`` (B, 2), rows and
    columns. With ``nms`` "graph" it gives boxes (B, M, 4) in pixels of the input, scores (B, M) falling, labels
    (B, M) and how many there are (B,); what is padded up to M = ``max_detections`` is 0, with label -1. With "runtime":
    scores (B, A, K) and boxes (B, A, 4) of all anchors; of two stages, of as many regions, with boxes (B, A, K, 4)
    where each class has its own. ``batch``: pictures at a time; None: any number. ``half``: the
    network computes in float16. ``score``: as ``predict`` takes it. ``pictures``: eight of which it is tried on,
    beside a black picture and one of noise, instead of the run's validation images where they still are; where these
    are fewer, made ones too. ``data``: a data set on whose ``split`` the AP of both is measured too, and whose images
    are the pictures where none are given.

    Raises Unfaithful where file and run differ by more than 1e-4 + 1e-4 |x| (half: 2e-2), or in AP by more than .001
    (half: .01), and nothing is written then;
    RecipeError for a detector or NMS that can't be exported so; DataError and WriteError.
    """
    folder = Run.of(run)
    detector = _exportable(load(run), form, nms, batch)
    file = Path(out or folder.folder) / MODELS[form].file
    claim(file, overwrite=overwrite, inputs=[*folder.files, *pictures])
    scores = detector.least_scores(score)
    least = list(scores) if isinstance(scores, Sequence) else [scores] * len(detector.classes)
    dataset = None if data is None else read_data(folder, detector, data, split)
    given = pictures or ([] if dataset is None else list(map(dataset.path, range(len(dataset)))))
    samples = make_samples(detector, given or pictures_of(folder, detector.recipe))
    verifier = Verifier(detector, samples, batch, least, _WITHIN_HALF if half else _WITHIN)
    any_size = detector.recipe.resize == "shortest"
    inputs = as_batch([samples[place % len(samples)] for place in range(batch or 2)], any_size)
    module, outputs = _graph(_in_half(detector) if half else detector, MODELS[form], nms, least)
    with torch.no_grad():
        model = MODELS[form].make(module, inputs, outputs, dynamic=batch is None)
    model = _checked(verifier, model, outputs)
    precision = None
    if dataset is not None:
        precision = compare_precision(detector, model, dataset, least, batch, _AP_HALF if half else _AP)
        if not precision.agrees:
            raise Unfaithful(f"the file isn't as good as the run, and isn't written: {precision.line()}")
    figures = None if precision is None else precision.figures
    content = model.to_bytes(describe(folder, detector, least, nms, figures))
    mark_new_folder(file.parent, "export")
    write_bytes(file, content)
    return Exported(file, verifier.agreement, precision)


def _exportable(detector: Detector, form: FormName, nms: NmsPlace, batch: int | None) -> Detector:
    """The detector in the layout that its graph has. Raises RecipeError for what can't be exported."""
    recipe = detector.recipe
    if form not in MODELS:
        raise RecipeError(f"Expected a form out of {tuple(MODELS)} but got {form!r}")
    if nms not in get_args(NmsPlace):
        raise RecipeError(f"Expected nms out of {get_args(NmsPlace)} but got {nms!r}")
    if batch is not None and batch < 1:
        raise RecipeError(f"Expected a batch of at least 1 but got {batch}")
    if nms == "graph" and recipe.nms not in _IN_GRAPH:
        raise RecipeError(
            f"there is no operator for nms={recipe.nms}: add --nms runtime, which leaves it to the caller"
        )
    return detector.lay_out(torch.contiguous_format).requires_grad_(False)


def _graph(
    detector: Detector, form: type[FileModel], nms: NmsPlace, least: Sequence[float]
) -> tuple[nn.Module, tuple[str, ...]]:
    """The module to export, and the names of what it gives."""
    raw: DenseGraph | RegionGraph
    of_regions: tuple[str, ...] = ()
    if isinstance(detector, TwoStageDetector):
        raw, of_regions = RegionGraph(detector, form.suppress), _OF_REGIONS
    else:
        assert isinstance(detector, DenseDetector)
        raw = DenseGraph(detector)
    if nms == "runtime":
        return raw, (*_RAW_ALONE, *of_regions)
    selection = Selection(detector.recipe, least, shortest_side(detector), form.suppress)
    return WholeGraph(raw, selection), (*_FOUND, *_RAW, *of_regions)


def _in_half(detector: Detector) -> Detector:
    half = copy.deepcopy(detector)
    for module in half.net.half().modules():
        if isinstance(module, nn.Conv2d):  # some layers give float32 whatever they take, such as SSD's norm
            module.register_forward_pre_hook(lambda layer, inputs: inputs[0].to(layer.weight.dtype))
    return half


def _checked(verifier: Verifier, model: FileModel, outputs: Sequence[str]) -> FileModel:
    """The model with those outputs alone that people want, once all are verified. Raises Unfaithful."""
    whole = outputs[: len(_FOUND)] == _FOUND
    raw = outputs[len(_FOUND) :] if whole else outputs
    verifier.check(model, raw=raw, detections=whole)
    if whole and not verifier.agreement.faults:
        verifier.check_selection(model.part_from(raw[: len(_RAW)], _FOUND), raw[: len(_RAW)])
    if not verifier.agreement.faults:
        alone = model.alone(_FOUND if whole else _RAW_ALONE)
        verifier.check(lambda inputs: model(inputs) | alone(inputs), raw=raw, detections=whole, batches=1)
    faults = verifier.agreement.faults
    if faults:
        more = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
        raise Unfaithful(
            f"the file doesn't say what the run says, and isn't written: {'; '.join(faults[:_SHOWN])}{more}"
        )
    return alone

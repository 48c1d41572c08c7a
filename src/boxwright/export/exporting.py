"""A run as a model file that needs neither torch nor boxwright, written once it says what the run says."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import onnx
import torch
from torch import nn

from boxwright._util.ownership import claim, is_ours, mark_new_folder
from boxwright._util.writing import opened_aside
from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.references import referred_files
from boxwright.errors import RecipeError
from boxwright.export.compare import Tolerance
from boxwright.export.forms import Form, Format, Graph, form_of
from boxwright.export.graph import RawGraph, WholeGraph
from boxwright.export.measure import Pictures
from boxwright.export.metadata import describe
from boxwright.export.onnx_graph import between, to_onnx
from boxwright.export.quantize import Quantized, Quantizer
from boxwright.export.samples import as_batch, make_samples, pictures_of
from boxwright.export.verify import Agreement, Verifier
from boxwright.models.dense import DenseDetector
from boxwright.models.detector import Detector, Score
from boxwright.runs import Run, load
from boxwright.runs.splits import split_file_for

NmsPlace = Literal["graph", "runtime"]
MAX_LOSS = 0.01
"""Of AP, in int8."""
_IN_GRAPH = ("iou", "cluster_iou")  # one result
_RAW = ("all_scores", "all_boxes")
_RAW_ALONE = ("scores", "boxes")
_FOUND = ("boxes", "scores", "labels", "count")
_WITHIN, _WITHIN_HALF = Tolerance(1e-4), Tolerance(2e-2)


@dataclass(frozen=True)
class Exported:
    """A model file, and what it was checked on."""

    file: Path
    """The one that programs open."""
    agreement: Agreement
    """Of the model in float."""
    int8: Quantized | None = None


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    form: Format = "onnx",
    nms: NmsPlace = "graph",
    batch: int | None = None,
    half: bool = False,
    int8: str | Path | None = None,
    max_loss: float = MAX_LOSS,
    score: Score | None = None,
    pictures: Sequence[Path] = (),
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write the model into ``out``, or the run's folder, once it agrees with the run on at least eight pictures.

    As model.onnx, or openvino/ with model.xml, model.bin and metadata.json; in int8 model-int8.onnx, or openvino-int8/.
    It takes pixels (B, H, W, 3) at the size of the network's input, uint8 (float32 in 0..255 of a model without
    antialias); where that is any, with sides that are multiples of 32, and what of each is ``shown`` (B, 2), rows and
    columns. With ``nms`` "graph" it gives boxes (B, M, 4) in pixels of the input, scores (B, M) falling, labels
    (B, M) and how many there are (B,); what is padded up to M = ``max_detections`` is 0, with label -1. With "runtime":
    scores (B, A, K) and boxes (B, A, 4) of all anchors. ``batch``: pictures at a time; None: any number. ``half``: the
    network computes in float16. ``int8``: a data set, by up to 100 of whose train images the network computes in int8,
    as far as it loses at most ``max_loss`` of AP on its val images; the model is held against the run in float then,
    and ``say`` gets a line on each trial. ``score``: as ``predict`` takes it. ``pictures``: what it is tried on,
    beside a black picture and one of noise, instead of the run's validation images where they still are; where these
    are fewer than eight, made ones too.

    Raises Unfaithful where file and run differ by more than 1e-4 + 1e-4 |x| (half: 2e-2), or int8 loses too much, and
    nothing is written then; RecipeError for a detector or NMS that can't be exported so; DataError and WriteError.
    """
    folder = Run.of(run)
    if half and int8 is not None:
        raise RecipeError("half and int8 are two ways to compute: choose one")
    detector, kind = _exportable(load(run), nms, batch), form_of(form)
    data = None if int8 is None else _read(folder, detector, int8)
    files = [Path(out or folder.folder) / path for path in kind.paths(data is not None)]
    read = () if int8 is None else referred_files(int8, reader=detector.recipe.reader_options["reader"])
    ours = is_ours(files[0])  # weights beside it have no sign of their own
    claim(*files, overwrite=overwrite or ours, inputs=chain(folder.files, pictures, read))
    scores = detector.least_scores(score)
    least = list(scores) if isinstance(scores, Sequence) else [scores] * len(detector.classes)
    samples = make_samples(detector, pictures or pictures_of(folder, detector.recipe))
    verifier = Verifier(detector, samples, batch, least, _WITHIN_HALF if half else _WITHIN)
    model = _to_onnx(_in_half(detector) if half else detector, verifier, nms)
    graph = _checked(verifier, kind, model, nms)
    content, quantized = describe(folder, detector, least, nms), None
    if data is not None:
        train, val = (Pictures(detector, part, batch or 1) for part in data)
        quantizer = Quantizer(kind, train, val, _raw(nms), max_loss, say)
        own = Verifier(detector, samples, batch, least, _WITHIN)
        quantized = quantizer.quantize(model, graph, len(_FOUND) if nms == "graph" else None, own)
        graph, content = quantized.graph, {**content, "int8": quantized.to_json()}
    _write(files, kind.files(graph, content))
    return Exported(files[0], verifier.agreement, quantized)


def _read(run: Run, detector: Detector, data: str | Path) -> list[DetectionDataset]:
    """Its train and val images, as the run parts them. Raises DataError."""
    options = detector.recipe.reader_options
    options |= {"split_file": split_file_for(run, data, reader=options["reader"])}
    return [read_dataset(data, split, classes=detector.classes, **options) for split in ("train", "val")]


def _to_onnx(module: DenseDetector, verifier: Verifier, nms: NmsPlace) -> onnx.ModelProto:
    """The graph, with scores and boxes of all anchors beside its detections."""
    samples, batch = verifier.samples, verifier.batch
    inputs = as_batch(
        [samples[place % len(samples)] for place in range(batch or 2)], module.recipe.resize == "shortest"
    )
    with torch.no_grad():
        if nms == "graph":
            return to_onnx(WholeGraph(module, verifier.least), inputs, (*_FOUND, *_RAW), dynamic=batch is None)
        return to_onnx(RawGraph(module), inputs, _RAW_ALONE, dynamic=batch is None)


def _raw(nms: NmsPlace) -> tuple[str, str]:
    """The names of scores and boxes of all anchors."""
    return _RAW if nms == "graph" else _RAW_ALONE


def _exportable(detector: Detector, nms: NmsPlace, batch: int | None) -> DenseDetector:
    """The detector in the layout that its graph has. Raises RecipeError for what can't be exported."""
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


def _checked(verifier: Verifier, form: Form, model: onnx.ModelProto, nms: NmsPlace) -> Graph:
    """The model with the outputs alone that people want, once it is verified. Raises Unfaithful."""
    graph = form.make(model)
    verifier.check(form.open(graph), raw=_raw(nms), detections=nms == "graph")
    verifier.agreement.require()
    if nms == "graph":
        part = between(model, (*(each.name for each in model.graph.input), *_RAW), _FOUND)
        verifier.check_selection(form.open(form.make(part)), _RAW)
        graph = form.cut(graph, len(_FOUND))
        verifier.check(form.open(graph), raw=(), detections=True, batches=1)
        verifier.agreement.require()
    return graph


def _write(files: Sequence[Path], contents: Sequence[bytes]) -> None:
    """All of them or none; the first, which programs open, last."""
    mark_new_folder(files[0].parent, "export")
    with ExitStack() as stack:
        for file, content in zip(files, contents, strict=True):
            stack.enter_context(opened_aside(file)).write(content)

"""Export a run as one model file that needs neither torch nor boxwright, written only if its results agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn

from boxwright._util.ownership import claim, is_ours, mark_new_folder
from boxwright._util.writing import opened_aside
from boxwright.errors import RecipeError
from boxwright.export.choosing import shortest_side
from boxwright.export.compare import Tolerance
from boxwright.export.graph import DenseGraph, Selection, WholeGraph
from boxwright.export.measure import Pictures
from boxwright.export.metadata import describe
from boxwright.export.models import MODELS, FileModel, QuantizableModel
from boxwright.export.precision import Precision, compare_precision, read_data
from boxwright.export.quantize import Quantized, Quantizer
from boxwright.export.regions import RegionGraph
from boxwright.export.samples import as_batch, make_samples, pictures_of
from boxwright.export.verify import Agreement, Unfaithful, Verifier
from boxwright.models.dense import DenseDetector
from boxwright.models.detector import Detector, Score
from boxwright.models.faster_rcnn import TwoStageDetector
from boxwright.runs import Run, load

NmsPlace = Literal["graph", "runtime"]
FormName = Literal["onnx", "openvino", "torch"]
MAX_LOSS = 0.01
"""Loss of AP that int8 may cost."""
_IN_GRAPH = ("iou", "cluster_iou")  # one result
_RAW = ("all_scores", "all_boxes")
_RAW_ALONE = ("scores", "boxes")
_OF_REGIONS = ("regions", "region_anchors", "objectness", "first_boxes")
_FOUND = ("boxes", "scores", "labels", "count")
_WITHIN, _WITHIN_HALF = Tolerance(1e-4), Tolerance(2e-2)
_AP, _AP_HALF = 0.001, 0.01
"""That the average precision may differ by."""


@dataclass(frozen=True)
class Exported:
    """A model file, and what it was verified on."""

    file: Path
    agreement: Agreement
    precision: Precision | None = None
    """AP of run and file, if a data set was given."""
    int8: Quantized | None = None


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    form: FormName = "onnx",
    nms: NmsPlace = "graph",
    batch: int | None = None,
    half: bool = False,
    int8: str | Path | None = None,
    max_loss: float = MAX_LOSS,
    score: Score | None = None,
    pictures: Sequence[Path] = (),
    data: str | Path | None = None,
    split: str = "val",
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write model.onnx, openvino/model.xml or model.pt2 into ``out``, or the run's folder, once it says what that says.

    It takes pixels (B, H, W, 3) at the size of the network's input, uint8 (float32 in 0..255 of a model without
    antialias); where that is any, with sides that are multiples of 32, and the ``valid_size`` (B, 2) of each, rows and
    columns. With ``nms`` "graph" it gives boxes (B, M, 4) in pixels of the input, scores (B, M) falling, labels
    (B, M) and how many there are (B,); what is padded up to M = ``max_detections`` is 0, with label -1. With "runtime":
    scores (B, A, K) and boxes (B, A, 4) of all anchors; of two stages, of as many regions, with boxes (B, A, K, 4)
    where each class has its own. ``batch``: pictures at a time; None: any number. ``half``: the
    network computes in float16. ``score``: as ``predict`` takes it. ``pictures``: eight of which it is tried on,
    beside a black picture and one of noise, instead of the run's validation images where they still are; where these
    are fewer, made ones too. ``data``: a data set on whose ``split`` the AP of both is measured too, and whose images
    are the pictures where none are given. ``int8``: a data set, by up to 100 of whose train images the network computes
    in int8, as far as it loses at most ``max_loss`` of AP on its val images; the model is held against the run in float
    first, it lies in the run's int8/ by default, and ``say`` gets a line on each trial.

    Raises Unfaithful where file and run differ by more than 1e-4 + 1e-4 |x| (half: 2e-2), or in AP by more than .001
    (half: .01), or int8 loses too much, and nothing is written then;
    RecipeError for a detector or NMS that can't be exported so; DataError and WriteError.
    """
    folder = Run.of(run)
    detector = _exportable(load(run), form, nms, batch)
    if int8 is not None:
        _check_int8(form, half)
    target = _folder(out or folder.folder / ("int8" if int8 else ""), form)
    files = [target / name for name in (MODELS[form].file, *MODELS[form].beside)]
    ours = is_ours(files[0])  # weights beside it have no sign of their own
    claim(*files, overwrite=overwrite or ours, inputs=[*folder.files, *pictures])
    parts = [] if int8 is None else [read_data(folder, detector, int8, part) for part in ("train", "val")]
    scores = detector.min_scores(score)
    min_scores = list(scores) if isinstance(scores, Sequence) else [scores] * len(detector.classes)
    dataset = None if data is None else read_data(folder, detector, data, split)
    given = pictures or ([] if dataset is None else list(map(dataset.path, range(len(dataset)))))
    samples = make_samples(detector, given or pictures_of(folder, detector.recipe))
    verifier = Verifier(detector, samples, batch, min_scores, _WITHIN_HALF if half else _WITHIN)
    any_size = detector.recipe.resize == "shortest"
    inputs = as_batch([samples[place % len(samples)] for place in range(batch or 2)], any_size)
    module, outputs = _graph(_traceable(detector, half), MODELS[form], nms, min_scores)
    with torch.no_grad():
        whole = MODELS[form].make(module, inputs, outputs, dynamic=batch is None)
    model = _checked(verifier, whole, outputs)
    precision = None
    if dataset is not None:
        precision = compare_precision(detector, model, dataset, min_scores, batch, _AP_HALF if half else _AP)
        if not precision.agrees:
            raise Unfaithful(f"the file isn't as good as the run, and isn't written: {precision.line()}")
    figures = None if precision is None else precision.figures
    metadata, quantized = describe(folder, detector, min_scores, nms, figures), None
    if parts:
        train, val = (Pictures(detector, part, batch or 1) for part in parts)
        raw, kept = (outputs[len(_FOUND) :], _FOUND) if nms == "graph" else (outputs, _RAW_ALONE)
        assert isinstance(whole, QuantizableModel)
        own = Verifier(detector, samples, batch, min_scores, _WITHIN)
        quantized = Quantizer(train, val, raw, kept, max_loss, say).quantize(whole, own)
        model, metadata = quantized.model, {**metadata, "int8": quantized.to_json()}
    _write(files, model.contents(metadata))
    return Exported(files[0], verifier.agreement, precision, quantized)


def _folder(out: str | Path, form: FormName) -> Path:
    """Return the folder to write into. Raises RecipeError for the name of a model file."""
    folder = Path(out)
    if folder.suffix in {Path(model.file).suffix for model in MODELS.values()} and not folder.is_dir():
        raise RecipeError(
            f"Expected a folder, in which the file is {MODELS[form].file}, but got {out}: --out {folder.parent}"
        )
    return folder


def _check_int8(form: FormName, half: bool) -> None:
    """Raise RecipeError for what can't be computed in int8."""
    if half:
        raise RecipeError("half and int8 are two ways to compute: choose one")
    if not issubclass(MODELS[form], QuantizableModel):
        raise RecipeError(f"int8 is for onnx and openvino, not for {form}")


def _write(files: Sequence[Path], contents: Sequence[bytes]) -> None:
    """Write all of them or none; the first, which programs open, last."""
    mark_new_folder(files[0].parent, "export")
    with ExitStack() as stack:
        for file, content in zip(files, contents, strict=True):
            stack.enter_context(opened_aside(file)).write(content)


def _exportable(detector: Detector, form: FormName, nms: NmsPlace, batch: int | None) -> Detector:
    """Prepare the detector for its graph's layout. Raises RecipeError if it can't be exported."""
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
    return detector.set_memory_format(torch.contiguous_format).requires_grad_(False)


def _graph(
    detector: Detector, form: type[FileModel], nms: NmsPlace, min_scores: Sequence[float]
) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the module to export, and name its outputs."""
    raw: DenseGraph | RegionGraph
    of_regions: tuple[str, ...] = ()
    if isinstance(detector, TwoStageDetector):
        raw, of_regions = RegionGraph(detector, form.suppress), _OF_REGIONS
    else:
        assert isinstance(detector, DenseDetector)
        raw = DenseGraph(detector)
    if nms == "runtime":
        return raw, (*_RAW_ALONE, *of_regions)
    selection = Selection(detector.recipe, min_scores, shortest_side(detector), form.suppress)
    return WholeGraph(raw, selection), (*_FOUND, *_RAW, *of_regions)


def _traceable(detector: Detector, half: bool) -> Detector:
    """Copy the detector in a form that is traced in half the time: norms folded, nothing that overwrites its input."""
    folded = detector.folded()
    for layer in folded.modules():
        if getattr(layer, "inplace", False):
            setattr(layer, "inplace", False)  # noqa: B010
    if half:
        folded.net.half()
    return folded


def _checked(verifier: Verifier, model: FileModel, outputs: Sequence[str]) -> FileModel:
    """Verify all outputs, and return the model with those that users need. Raises Unfaithful."""
    whole = outputs[: len(_FOUND)] == _FOUND
    raw = outputs[len(_FOUND) :] if whole else outputs
    verifier.check(model, raw=raw, detections=whole)
    if whole and not verifier.agreement.faults:
        verifier.check_selection(model.part_from(raw[: len(_RAW)], _FOUND), raw[: len(_RAW)])
    if not verifier.agreement.faults:
        alone = model.alone(_FOUND if whole else _RAW_ALONE)
        verifier.check(lambda inputs: model(inputs) | alone(inputs), raw=raw, detections=whole, batches=1)
    verifier.agreement.require()
    return alone

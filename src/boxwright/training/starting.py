"""Transfer the weights of a start to a training's detector: by name, the classes' rows by class name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from boxwright._util.printing import say
from boxwright.errors import RecipeError
from boxwright.models import Detector, build_detector
from boxwright.models.class_rows import ClassRows, carry_rows, class_rows, plain_detector
from boxwright.models.layers import norms_behind_convolutions
from boxwright.recipes import Recipe
from boxwright.runs.start import DEFAULT_START, Start, default_start
from boxwright.runs.weights import hash_of
from boxwright.text import plural
from boxwright.training.options import RunOptions

Say = Callable[[str], None]

_BACKBONE = "net.backbone."
_COUNT = "num_batches_tracked"  # of a BatchNorm, which many files lack
_NORM = ("running_mean", "running_var", "weight", "bias")
_DEEPEST = 5  # number of dots in a prefix
_SHOWN, _SHOWN_CLASSES = 3, 8  # names in a message
_OF_MAP = re.compile(r"(net\.head\.(?:laterals|merges|towers|logits|deltas)\.)(\d+)(\..+)")
_FOREIGN = "not in this network"


@dataclass
class Taken:
    """Weights that a detector took from a start."""

    start: Start
    whole: list[str] = field(default_factory=list)
    """Tensors taken completely, under our names."""
    partly: list[str] = field(default_factory=list)
    """Tensors of which the rows of some classes were taken."""
    left_out: dict[str, str] = field(default_factory=dict)
    """The start's name of a tensor -> why it was not taken."""
    made_anew: list[str] = field(default_factory=list)
    """Tensors without anything from the start."""
    kept: list[str] = field(default_factory=list)
    """Classes whose rows were transferred."""

    def to_json(self) -> dict[str, Any]:
        """Return everything, for the run's record."""
        return {
            "name": self.start.name,
            "origin": self.start.origin,
            "license": self.start.license,
            "sha256": hash_of(self.start.weights),
            "taken": self.whole,
            "taken in part": self.partly,
            "left out": self.left_out,
            "made anew": self.made_anew,
            "classes kept": self.kept,
        }

    def lines(self, classes: Sequence[str]) -> list[str]:
        """Return the lines to print. ``classes``: the detector's."""
        count = len(self.whole) + len(self.partly)
        lines = [f"start: {self.start.described}: {count} of {plural(count + len(self.made_anew), 'tensor')} taken"]
        if self.partly or self.kept:
            new = [name for name in classes if name not in self.kept]
            gone = [name for name in self.start.classes if name not in self.kept]
            parts = (("kept", self.kept), ("new", new), ("of the start left out", gone))
            lines.append(
                "classes: " + "; ".join(f"{_some(names, _SHOWN_CLASSES)} {what}" for what, names in parts if names)
            )
        by_reason = defaultdict(list)
        for name, reason in self.left_out.items():
            by_reason[reason.partition(":")[0]].append(name)
        for reason, names in by_reason.items():
            lines.append(f"left out, {reason}: {plural(len(names), 'tensor')} ({_some(names)})")
        if self.made_anew:
            lines.append(f"made anew: {plural(len(self.made_anew), 'tensor')} ({_some(self.made_anew)})")
        return lines


def begin_with(weights: Mapping[str, Tensor], detector: nn.Module) -> None:
    """Load the weights whose name and shape match the detector's; skip the rest."""
    own = detector.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    detector.load_state_dict(fitting, strict=False)


def with_default_start(options: RunOptions, console: Console) -> RunOptions:
    """Name the default start in the options of a training without recipe and start, or say how to get it."""
    start = default_start()
    if start is None:
        say(
            console,
            f"lite320 starts from ImageNet's weights. boxwright start fetch {DEFAULT_START} gets weights of COCO, and "
            "trainings that name no recipe start from them",
        )
    return replace(options, start=start)


def first_detector(recipe: Recipe, start: Start | None, say: Say) -> tuple[Detector, dict[str, Any] | None]:
    """Build the detector that a training starts with, and describe what it took from a start for the run's record."""
    if start is None:
        return build_detector(recipe), None
    detector, taken = start_detector(recipe, start)
    for line in taken.lines(detector.classes):
        say(line)
    return detector, taken.to_json()


def provenance(started: Mapping[str, Any] | None) -> dict[str, str]:
    """Return origin and license of a training's weights, from what ``Taken.to_json`` recorded of its start."""
    if started is None:
        return {"origin": "", "license": ""}
    return {"origin": ", from ".join(filter(None, (started["name"], started["origin"]))), "license": started["license"]}


def start_detector(recipe: Recipe, start: Start) -> tuple[Detector, Taken]:
    """Build a recipe's detector and load what fits from a start.

    Published backbone weights are needed only if the start does not contain the whole backbone.

    Raises:
        RecipeError: For a start of which nothing fits, or with numbers that are not finite.
    """
    before = torch.get_rng_state()
    detector = build_detector(recipe, pretrained=False)
    taken = take(start, detector)
    if recipe.pretrained and any(name.startswith(_BACKBONE) for name in taken.made_anew):
        torch.set_rng_state(before)
        detector = build_detector(recipe)
        taken = take(start, detector)
    return detector, taken


def take(start: Start, detector: Detector) -> Taken:
    """Load what fits from a start into a detector; raises RecipeError as ``start_detector`` does."""
    plain = plain_detector(detector.recipe)
    own, larger = detector.state_dict(), plain.state_dict()
    names = _align(start.weights, {**larger, **own})
    strides = detector.recipe.strides
    if start.recipe is not None and start.recipe.strides != strides and hasattr(detector.net, "coarser"):
        names = _by_stride(names, larger.keys() | own.keys(), start.weights, start.recipe.strides, strides)
    found = {ours: start.weights[theirs] for ours, theirs in names.items()}
    why = _fold(found, own, plain, {ours for ours, theirs in names.items() if _has_bias(theirs, start.weights)})
    rows = class_rows(detector, larger)
    taken, state = Taken(start), {}
    for name, value in own.items():
        given = None
        if name in found:
            given = _fitted(found[name], value, start.classes, detector.classes, rows.get(name))
        if isinstance(given, Tensor):
            state[name] = given
            whole = name not in rows or set(detector.classes) <= set(start.classes)
            (taken.whole if whole else taken.partly).append(name)
        elif not name.endswith(_COUNT):
            taken.made_anew.append(name)
        if isinstance(given, str):
            why[name] = given
    foreign = start.weights.keys() - set(names.values())
    why |= {ours: _FOREIGN for ours in found if ours not in own}
    taken.left_out = {theirs: _FOREIGN for theirs in start.weights if theirs in foreign}
    taken.left_out |= {names[ours]: reason for ours, reason in why.items() if ours in names}
    if any(name in rows for name in state):
        taken.kept = [name for name in detector.classes if name in start.classes]
    if not any(value.ndim > 1 for value in state.values()):
        raise RecipeError(
            f"nothing of {start.name} fits {detector.recipe.detector}: it has {_some(start.weights)}; the detector has "
            f"{_some(own)}"
        )
    for name, value in state.items():
        if not value.isfinite().all():
            raise RecipeError(f"can't start from {start.name}: its {names.get(name, name)} is not finite")
    detector.load_state_dict(state, strict=False)
    return taken


def _fitted(
    theirs: Tensor,
    ours: Tensor,
    their_classes: Sequence[str],
    our_classes: Sequence[str],
    rows: ClassRows | None,
) -> Tensor | str:
    """Return the replacement for ``ours``, or why there is none. ``rows``: of the classes, if it has any."""
    if ours.is_floating_point() and not theirs.is_floating_point():
        return "of whole numbers"
    other = f"of another shape: {tuple(theirs.shape)} there, {tuple(ours.shape)} here"
    if rows is None:
        return theirs.to(ours.dtype) if theirs.shape == ours.shape else other
    if not their_classes or not rows.groups:
        return "of classes whose rows aren't known"
    if not rows.others and not set(their_classes) & set(our_classes):
        return "of other classes"
    carried = carry_rows(rows, theirs, their_classes, ours, our_classes)
    return other if carried is None else carried


def _has_bias(theirs: str, weights: Mapping[str, Tensor]) -> bool:
    """Tell whether the start has a bias next to a weight."""
    return theirs.endswith("weight") and theirs.removesuffix("weight") + "bias" in weights


def _fold(found: dict[str, Tensor], own: Mapping[str, Tensor], plain: Detector, biased: Set[str]) -> dict[str, str]:
    """Fold the start's BatchNorms into its convolutions where the detector's are folded, in place.

    In the reverse case the norm cannot be recovered: the convolution is left out, with the returned reason. ``biased``:
    weights of convolutions for which the start has a bias.
    """
    why = {}
    for convolution, norm, eps in norms_behind_convolutions(plain):
        weight, bias = f"{convolution}.weight", f"{convolution}.bias"
        tensors = {leaf: found[f"{norm}.{leaf}"] for leaf in _NORM if f"{norm}.{leaf}" in found}
        if f"{norm}.running_mean" in own:
            if weight in found and weight in biased and not tensors:
                del found[weight]
                why[weight] = "folded with a BatchNorm that learns here (freeze as many stages as the start)"
        elif weight in found and len(tensors) == len(_NORM):
            mean, variance, scale, shift = (tensors[leaf] for leaf in _NORM)
            folded = fuse_conv_bn_weights(found[weight], None, mean, variance, eps, scale, shift)
            found[weight], found[bias] = (part.detach() for part in folded)
            for leaf in (*_NORM, _COUNT):
                found.pop(f"{norm}.{leaf}", None)
    return why


def _align(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, str]:
    """Map our names to the start's, under the prefixes of both that match most numbers.

    Wrappers add a prefix to each name, a backbone's own file lacks the detector's, and timm has underscores instead of
    dots in the names of some models' feature maps.
    """
    known = {_dotted(name): name for name in ours}
    given = {_dotted(name): name for name in theirs}
    best: tuple[int, dict[str, str]] = (0, {})
    for inner in _prefixes(given):
        rest = {name.removeprefix(inner): full for name, full in given.items() if name.startswith(inner)}
        for outer in _outer(known):
            pairs = {known[outer + name]: full for name, full in rest.items() if outer + name in known}
            fitting = sum(ours[name].numel() for name, full in pairs.items() if ours[name].shape == theirs[full].shape)
            if fitting > best[0]:
                best = fitting, pairs
    return best[1]


def _by_stride(
    names: Mapping[str, str], own: Set[str], given: Mapping[str, Tensor], theirs: Sequence[int], ours: Sequence[int]
) -> dict[str, str]:
    """Rename ``names``: what our head has of each map is taken from the start's map of the same stride.

    ``own``: all of our names; ``given``: the start's; ``theirs`` and ``ours``: the strides.
    """
    places = {stride: place for place, stride in enumerate(theirs)}
    moved = {name: other for name, other in names.items() if not _OF_MAP.fullmatch(name)}
    for name in sorted(own):
        if found := _OF_MAP.fullmatch(name):
            before, place, behind = found.groups()
            other = f"{before}{places.get(ours[int(place)])}{behind}"
            moved |= {name: other} if other in given else {}
    return moved


def _outer(known: Iterable[str]) -> list[str]:
    """List prefixes of our names that a start may lack: the detector's, network's, backbone's and its parts'."""
    parts = sorted({prefix for prefix in _prefixes(known) if prefix.startswith(_BACKBONE) and prefix.count(".") == 3})
    return ["", "net.", _BACKBONE, *parts]


def _prefixes(names: Iterable[str]) -> list[str]:
    """List everything before a dot of a name, the shortest first."""
    found = {""}
    for name in names:
        parts = name.split(".")[:-1][:_DEEPEST]
        found |= {".".join(parts[:count]) + "." for count in range(1, len(parts) + 1)}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def _dotted(name: str) -> str:
    return name.replace("_", ".")


def _some(names: Iterable[str], most: int = _SHOWN) -> str:
    """List the first few of some names."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")

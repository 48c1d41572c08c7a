"""The parts that a recipe names in text: ``"atss:top=9"`` is a function of the library with an option bound.

The names of each kind stand in one table below; options are checked against the function's own signature.
Nothing here imports torch before a choice is resolved, so that the command line can check a recipe at once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from functools import partial
from importlib import import_module
from typing import Any, get_type_hints

from boxwright._util.yaml_files import YamlError, parse_yaml
from boxwright.errors import RecipeError
from boxwright.text import did_you_mean
from boxwright.values import coerce, shown

# kind -> name -> where it lives; None: no such part
CHOICES: dict[str, dict[str, str | None]] = {
    "anchors": {
        "squares": "anchors:AnchorSpec.squares",
        "shapes": "anchors:AnchorSpec.shapes",
        "ssd300": "anchors:SSD300",
        "ssd300_coco": "anchors:SSD300_COCO",
        "ssd300_tf": "anchors:SSD300_TF",
        "ssd512": "anchors:SSD512",
        "tiny_441": "anchors:TINY_441",
        "retinanet": "anchors:RETINANET",
        "rpn": "anchors:RPN",
        "torchvision": "anchors:AnchorSpec.torchvision",
    },
    "matcher": {
        "atss": "matching:match_atss",
        "iou": "matching:match_iou",
        "points": "matching:match_points",
        "task_aligned": "matching:match_task_aligned",
    },
    "coder": {
        "delta": "coding:DeltaCoder",
        "distance": "coding:DistanceCoder",
        "distribution": "coding:DistributionCoder",
    },
    "miner": {
        "none": None,
        "hard_negatives": "mining:hard_negatives",
        "hard_examples": "mining:hard_examples",
        "ohem": "mining:ohem",
        "random_balanced": "mining:random_balanced",
    },
    "class_loss": {
        "cross_entropy": "losses:cross_entropy",
        "softmax_focal": "losses:softmax_focal_loss",
        "poly": "losses:poly_loss",
        "seesaw": "losses:seesaw_loss",
        "binary_cross_entropy": "losses:binary_cross_entropy",
        "sigmoid_focal": "losses:sigmoid_focal_loss",
        "quality_focal": "losses:quality_focal_loss",
        "varifocal": "losses:varifocal_loss",
        "ghm": "losses:ghm_loss",
    },
    "box_loss": {
        "smooth_l1": "losses:smooth_l1_loss",
        "l1": "losses:l1_loss",
        "l2": "losses:l2_loss",
        "balanced_l1": "losses:balanced_l1_loss",
        "focal_l1": "losses:focal_l1_loss",
        "iou": "losses:iou_loss",
        "giou": "losses:giou_loss",
        "diou": "losses:diou_loss",
        "ciou": "losses:ciou_loss",
        "eiou": "losses:eiou_loss",
        "focal_eiou": "losses:focal_eiou_loss",
        "siou": "losses:siou_loss",
        "alpha_iou": "losses:alpha_iou_loss",
        "wiou": "losses:wiou_loss",
        "mpdiou": "losses:mpdiou_loss",
        "inner_iou": "losses:inner_iou_loss",
    },
    "sampling": {"uniform": None, "repeat_factor": "data.sampling:repeat_factors"},
}

_LONGEST = 10_000
_OPTION = re.compile(r"\s*\w+\s*=")


def split_values(text: str) -> list[str]:
    """``"iou,alpha_iou:alpha=3,kind=giou"`` -> ``["iou", "alpha_iou:alpha=3,kind=giou"]``.

    A comma separates two values, except within brackets, and before an ``option=value`` that follows a part with
    options. Blank values stay.
    """
    values: list[str] = []
    for part in _split(text):
        if values and ":" in values[-1] and _OPTION.match(part):
            values[-1] += f",{part.rstrip()}"
        else:
            values.append(part.strip())
    return values


def split_choices(text: str) -> list[str]:
    """``split_values`` without the blank ones."""
    return [value for value in split_values(text) if value]


def parse_choice(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    """``"atss:top=9"`` -> ``("atss", {"top": "9"})``: the values stay text, and lists of text.

    Raises RecipeError for a name that the kind does not have, and for what can't be read.
    """
    if len(text) > _LONGEST:
        raise RecipeError(f"Expected {kind} of at most {_LONGEST:,} characters but got {shown(text)}")
    name, _, rest = text.partition(":")
    name = name.strip()
    if name not in CHOICES[kind]:
        raise RecipeError(f"unknown {kind} {shown(name)}{did_you_mean(name, CHOICES[kind])}")
    options: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in _split(rest))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise RecipeError(f"Expected {kind} as name:option=value but got {shown(text)}")
        if key in options:
            raise RecipeError(f"{kind} {shown(text)} has {shown(key)} twice")
        try:
            options[key] = parse_yaml(value)
        except YamlError:
            raise RecipeError(f"can't read {shown(item)} of {kind} {shown(text)}") from None
    return name, options


def _split(options: str) -> list[str]:
    """The text between commas that stand in no list."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(options):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append(options[start:place])
            start = place + 1
    return [*parts, options[start:]]


def resolve_choice(kind: str, text: str) -> Callable[..., Any] | None:
    """The part itself, options bound as the types that it declares.

    Raises RecipeError for an option that it does not take, and for a value of another type.
    """
    name, options = parse_choice(kind, text)
    where = CHOICES[kind][name]
    if where is None:
        return None
    module, _, attributes = where.partition(":")
    part: Any = import_module(f"boxwright.{module}")
    for attribute in attributes.split("."):
        part = getattr(part, attribute)
    if not callable(part):  # a constant: its fields that have defaults are the options
        hints = get_type_hints(type(part))
        known = [field.name for field in fields(part) if field.default is not MISSING]
        part = partial(replace, part)
    else:
        hints = get_type_hints(part.__init__ if inspect.isclass(part) else part)
        known = [p.name for p in inspect.signature(part).parameters.values() if p.default is not p.empty]
    for option in options:
        if option not in known:
            raise RecipeError(f"{kind} {name!r} has no option {shown(option)}{did_you_mean(option, known)}")
    bound = {option: coerce(f"{option} of {kind} {name}", value, hints[option]) for option, value in options.items()}
    return partial(part, **bound)

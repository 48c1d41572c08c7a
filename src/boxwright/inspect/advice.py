"""Advice, in words, on a supervision that leaves objects with few anchors."""

from __future__ import annotations

from math import ceil

import numpy as np

from boxwright.choices import parse_choice
from boxwright.inspect.coverage import WORTH_A_WORD, anchor_sides
from boxwright.inspect.suggest import Suggestion
from boxwright.inspect.supervision import MatchRule, Supervision
from boxwright.recipes import Recipe, find_detector

_BY_STRIDE = ("squares", "retinanet", "rpn")
"""Anchors whose size in pixels stays the same when the input gets larger."""
_STEP = 32  # pixels, of an input's side
_MOST = 2.0  # largest factor by which to enlarge the input at once
_LOWER = 0.1  # step of a threshold


def advice(found: Supervision, recipe: Recipe, suggestion: Suggestion) -> str:
    """Advise what to change, most urgent first, or say that no change is needed."""
    if not len(found):
        return "Look at the labels: boxwright check says what is wrong with them."
    said = [_for_unmatched(found, recipe), _for_forced(found, recipe)]
    if suggestion.setting:
        said.append("Fitted anchors cover the objects better: see Other anchors.")
    return " ".join(filter(None, said)) or "Nothing here asks for a change."


def _for_unmatched(found: Supervision, recipe: Recipe) -> str:
    none, rule = found.unmatched, MatchRule.of(recipe)
    if none.mean() < WORTH_A_WORD:
        return ""
    if rule.by_iou and rule.force is None:
        return f"Give every object its best anchor: {_iou(recipe, rule.positive, rule.negative, 'bipartite')}."
    smallest, largest = anchor_sides(found.anchors)
    side = float(np.median(found.sides[none]))
    if side < smallest:
        return f"Those without an anchor are small, {side:.0f} px in the median: {_larger(side, smallest, recipe)}."
    if side > largest:
        return f"Those without an anchor are large, {side:.0f} px in the median: take larger anchors, or another level."
    return "Look at those without an anchor below: objects that lie on each other take each other's anchors."


def _for_forced(found: Supervision, recipe: Recipe) -> str:
    if found.forced.mean() < WORTH_A_WORD:
        return ""
    smallest, _ = anchor_sides(found.anchors)
    side = float(np.median(found.sides[found.forced]))
    if side < smallest:
        what = _larger(side, smallest, recipe)
        return f"Those with a forced anchor alone are small, {side:.0f} px in the median: {what}."
    rule = MatchRule.of(recipe)
    lower = max(rule.positive - _LOWER, _LOWER)
    setting = _iou(recipe, lower, min(rule.negative, lower), str(rule.force))
    return f"A lower threshold gives those with a forced anchor alone more anchors: {setting}."


def _larger(side: float, smallest: float, recipe: Recipe) -> str:
    """Advise how to bring objects of this side up to the smallest anchor."""
    if parse_choice("anchors", recipe.anchors).name not in _BY_STRIDE:
        return "take smaller anchors"
    size = ceil(recipe.image_size * min(smallest / max(side, 1.0), _MOST) / _STEP) * _STEP
    return f"show them larger, --set image_size={size}, or take smaller anchors"


def _iou(recipe: Recipe, positive: float, negative: float, force: str) -> str:
    key = "rpn_matcher" if find_detector(recipe.detector).two_stage else "matcher"
    return f"--set {key}=iou:positive={positive:g},negative={negative:g},force={force}"

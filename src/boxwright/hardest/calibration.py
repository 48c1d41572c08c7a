"""What the data itself says of how far a detector is to be believed, class by class."""

from __future__ import annotations

import numpy as np

from boxwright.evaluate.columns import Bools, Floats

_ROUNDS = 100
_LEAST = 1e-6  # a score of 0 or 1 has no logit


def calibrated(score: Floats, right: Bools) -> Floats:
    """(n,) how probably detections of a class have a label, given their score.

    Logistic regression of ``right`` on the logit of the score (Platt 1999), with a standard normal prior on how far
    intercept and slope are from 0 and 1: without data a score means itself.
    """
    inputs = np.stack([np.ones(len(score)), _logit(score)], 1)
    prior = np.array([0.0, 1.0])
    weights = prior
    for _ in range(_ROUNDS):  # Newton's method on a strictly convex loss
        probability = _sigmoid(inputs @ weights)
        gradient = inputs.T @ (probability - right) + weights - prior
        curvature = (inputs.T * (probability * (1 - probability))) @ inputs + np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 1.0 / np.abs(step).max(initial=1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return _sigmoid(inputs @ weights)


def excess(distance: Floats) -> Floats:
    """(n,) which share of the cases at least so far away can't be mere scatter.

    Scatter is taken to be symmetric about the median: as many lie beyond a distance on the far side as on the near one.
    What is more than that is the excess, counted as false discoveries are in Barber and Candes 2015 (arXiv:1404.5609,
    eq. 1.9), with one case added to both counts. Never falls with the distance.
    """
    away = distance - np.median(distance) if len(distance) else distance
    order = np.argsort(away, kind="stable")
    ranked = away[order]
    beyond = len(ranked) - np.searchsorted(ranked, ranked, side="left")
    mirrored = np.searchsorted(ranked, -ranked, side="right")
    share = np.where(ranked > 0, np.maximum(1 - (1 + mirrored) / (1 + beyond), 0.0), 0.0)
    result = np.empty(len(away))
    result[order] = np.maximum.accumulate(share)
    return result


def _logit(score: Floats) -> Floats:
    inside = np.clip(score, _LEAST, 1 - _LEAST)
    logit: Floats = np.log(inside / (1 - inside))
    return logit


def _sigmoid(value: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(value / 2)))

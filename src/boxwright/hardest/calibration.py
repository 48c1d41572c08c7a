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
    """(n,) how probably a case is farther away than by mere scatter; distances in 0..1. Rises with the distance.

    Scatter is normal about the median, as wide as the near side shows, which gross errors don't reach. These lie
    anywhere between the median and 1, and their share is found by expectation maximisation, with one case added to both
    kinds: the mixture of MLESAC (Torr and Zisserman 2000, section 3).
    """
    if not len(distance):
        return distance
    middle = np.median(distance)
    away = distance - middle
    spread = max(float(np.sqrt(np.mean(away[away <= 0] ** 2))), _LEAST)
    scatter = np.exp(-((away / spread) ** 2) / 2) / (spread * np.sqrt(2 * np.pi))
    error = np.where(away > 0, 1 / max(1 - middle, _LEAST), 0.0)
    probability = np.zeros(len(distance))
    for _ in range(_ROUNDS):
        share = (probability.sum() + 1) / (len(distance) + 2)
        probability = share * error / (share * error + (1 - share) * scatter)
    return probability


def _logit(score: Floats) -> Floats:
    inside = np.clip(score, _LEAST, 1 - _LEAST)
    logit: Floats = np.log(inside / (1 - inside))
    return logit


def _sigmoid(value: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(value / 2)))

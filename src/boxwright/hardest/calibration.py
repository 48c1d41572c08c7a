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
    """(n,) how probably a case so far away is no mere scatter. Never falls with the distance.

    Scatter is taken to be symmetric about the median, so that the near side tells how much of it the far side has
    (after Barber and Candes 2015, arXiv:1404.5609, eq. 1.9): where a share p of the cases so far from the median is on
    the far side, 1 - (1 - p) / p of these are in excess. p is an isotonic regression; one case added to both sides at
    the end keeps it from certainty.
    """
    away = distance - np.median(distance) if len(distance) else distance
    order = np.argsort(np.abs(away), kind="stable")
    far = np.append(away[order] > 0, 0.5)
    weights = np.append(np.ones(len(order)), 2.0)
    share = np.maximum(_isotonic(far, weights)[:-1], 0.5)
    result = np.zeros(len(away))
    result[order] = np.where(far[:-1] > 0, 2 - 1 / share, 0.0)
    return result


def _isotonic(values: Floats, weights: Floats) -> Floats:
    """The rising sequence nearest to ``values`` in weighted squares, by pooling adjacent violators."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for mean, weight in zip(values.tolist(), weights.tolist(), strict=True):
        length = 1
        while blocks and blocks[-1][0] >= mean:
            before, its_weight, its_length = blocks.pop()
            mean = (before * its_weight + mean * weight) / (its_weight + weight)
            weight, length = weight + its_weight, length + its_length
        blocks.append((mean, weight, length))
    return np.repeat([mean for mean, _, _ in blocks], [length for _, _, length in blocks])


def _logit(score: Floats) -> Floats:
    inside = np.clip(score, _LEAST, 1 - _LEAST)
    logit: Floats = np.log(inside / (1 - inside))
    return logit


def _sigmoid(value: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(value / 2)))

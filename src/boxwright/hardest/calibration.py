"""How far a detector can be trusted, class by class, estimated from the data itself."""

from __future__ import annotations

import numpy as np

from boxwright.evaluate.columns import Bools, Floats

_ROUNDS = 100
_LEAST = 1e-6  # a score of 0 or 1 has no logit


def calibrated(score: Floats, right: Bools) -> Floats:
    """Estimate the probability (n,) that detections of a class have a label, given their score.

    Logistic regression of ``right`` on the logit of the score (Platt 1999), with a standard normal prior on the
    distance of intercept and slope from 0 and 1: without data a score is taken as it is.
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


def evidence_ratio(sure: Floats, usual: Floats) -> Floats:
    """Compute how much likelier a detection is on an object than beside one, (n,), from its calibrated score.

    By Bayes' rule it is the odds of the score divided by the odds ``usual`` (n,) of detections of its class.
    """
    return np.exp(_logit(sure) - _logit(usual))


def explain(ratios: Floats) -> Floats:
    """Compute how probable each of h explanations is for each of n cases, (h, n), given likelihood ratios (h, n).

    How common each explanation is, is estimated from the cases by expectation maximization (Saerens, Latinne and
    Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities"), with one case added to
    each explanation.
    """
    kinds, cases = ratios.shape
    share = np.full((kinds, 1), 1 / kinds)
    probability = np.zeros_like(ratios)
    for _ in range(_ROUNDS):
        probability = share * ratios
        probability /= probability.sum(0)
        share = (probability.sum(1, keepdims=True) + 1) / (cases + kinds)
    return probability


def excess(distance: Floats) -> Floats:
    """Estimate the probability (n,) that a distance in 0..1 is more than scatter; it rises with the distance.

    Scatter is normal about the median, its width estimated from the near side, which gross errors do not reach. Gross
    errors are uniform between the median and 1, and their share is found by expectation maximization, with one case
    added to both kinds: the mixture of MLESAC (Torr and Zisserman 2000, section 3).
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

"""How well the frozen tier ranks arms, and how many more of them it tries in an hour, against the full tier.

    python benchmarks/frozen_tier.py DATA [--minutes 3 | --steps N] [--seeds 2] [--out DIR]

Six arms, each with as many seeds in both tiers, for the same number of steps and threads: those that the baseline makes
in so many minutes of full training. Gives each arm's AP in the frozen tier and (as the peer) in the full one, Kendall's
tau between their rankings, and beside it the taus between single seeds of a tier: what the noise of the seeds alone
leaves of an agreement. The seconds of training are what `compare` notes, of the wall. A run that is finished is not
run again, so that the script can be stopped. (DATA: the blood cells, in docs/compare.md.)
"""

from __future__ import annotations

import itertools
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from turns import Row, arguments, once, run

from boxwright.compare import Comparison, compare

ARMS: list[dict[str, Any]] = [
    {"name": "recipe"},
    {"name": "ciou", "box_loss": "ciou"},
    {"name": "log iou", "box_loss": "iou:mode=log"},
    {"name": "atss top 3", "matcher": "atss:top=3"},
    {"name": "focal", "class_loss": "sigmoid_focal", "normalizer": "positives"},
    {"name": "smooth L1", "box_loss": "smooth_l1", "coder": "delta"},
]


def kendall(first: list[float], second: list[float]) -> float:
    """Tau-a: pairs in the same order less those in the other, over all pairs."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    signs = [np.sign(first[i] - first[j]) * np.sign(second[i] - second[j]) for i, j in pairs]
    return float(sum(signs) / len(pairs))


def means(comparison: Comparison) -> list[float]:
    return [comparison.spread(arm.name, "AP")[0] for arm in comparison.arms]


def by_seed(comparison: Comparison) -> list[list[float]]:
    """AP of all arms, seed by seed."""
    runs = [comparison.of_arm(arm.name) for arm in comparison.arms]
    return [[each[seed].metrics["AP"] for each in runs] for seed in range(min(map(len, runs)))]


def between_seeds(comparison: Comparison) -> float:
    return fmean(kendall(a, b) for a, b in itertools.combinations(by_seed(comparison), 2))


def seed_noise(comparison: Comparison) -> float:
    """Standard deviation over seeds, pooled over the arms."""
    return float(np.sqrt(fmean(comparison.spread(arm.name, "AP")[1] ** 2 for arm in comparison.arms)))


def steps_seconds(comparison: Comparison) -> float:
    return sum(run.seconds for run in comparison.runs)


def ranking(full: Comparison, frozen: Comparison) -> Iterator[Row]:
    for arm in full.arms:
        (ours, own), (peer, theirs) = (tier.spread(arm.name, "AP") for tier in (frozen, full))
        yield Row(f"AP, {arm.name}", ours, peer, unit="", note=f"sd over seeds {own:.4f} and {theirs:.4f}")
    yield Row("Kendall's tau of the means, frozen and full", kendall(means(full), means(frozen)), unit="")
    single = [kendall(a, b) for a in by_seed(full) for b in by_seed(frozen)]
    yield Row("tau between a seed of the one and a seed of the other, mean", fmean(single), unit="")
    yield Row("tau between seeds of a tier, mean", between_seeds(frozen), between_seeds(full), unit="")
    yield Row("sd of AP over seeds", seed_noise(frozen), seed_noise(full), unit="")


def rows(given: Namespace) -> Iterator[Row]:
    budget = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
    same: dict[str, Any] = {"arms": ARMS, "seeds": given.seeds, "threads": given.threads}
    full = compare(given.data, out=given.out / "full", **same, **budget)
    steps = full.facts["steps"]
    frozen = compare(given.data, out=given.out / "frozen", **same, steps=steps, tier="frozen")
    caches = (given.out / "frozen" / "features").glob("*/meta.json")
    features = sum(json.loads(meta.read_text())["seconds"] for meta in caches)
    yield from ranking(full, frozen)
    note = f"{len(full.runs)} runs of {steps} steps, {features:.0f} s for the features among ours"
    yield once("training", steps_seconds(frozen) + features, steps_seconds(full), "s", note)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("compare/frozen-tier"))
    run(rows, parser)

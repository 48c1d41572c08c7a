"""How well the frozen tier ranks arms, and how many more of them it tries in an hour, against the full tier.

    OMP_NUM_THREADS=1 python benchmarks/frozen_tier.py DATA [--minutes 3 | --steps N] [--seeds 2] [--out DIR]

Six arms, each with as many seeds in both tiers, for the same number of steps: those that the baseline makes in so many
minutes of full training. Prints each arm's AP in both tiers, Kendall's tau between their rankings, and beside it the
taus between single seeds of a tier: what the noise of the seeds alone leaves of an agreement. A run that is finished is
not run again, so that the script can be stopped. (DATA: the blood cells, in docs/compare.md.)
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from boxwright.compare import Comparison, compare
from boxwright.environment import environment_line

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


def report(full: Comparison, frozen: Comparison, features: float) -> None:
    print(f"\n| arm | AP, full (mean, sd over {len(by_seed(full))} seeds) | AP, frozen |\n|---|---|---|")
    for arm in full.arms:
        cells = [" ± ".join(f"{value:.4f}" for value in tier.spread(arm.name, "AP")) for tier in (full, frozen)]
        print(f"| {arm.name} | {cells[0]} | {cells[1]} |")
    print(f"\nKendall's tau of the means, full and frozen: {kendall(means(full), means(frozen)):+.2f}")
    print(f"between seeds, full: {between_seeds(full):+.2f}; frozen: {between_seeds(frozen):+.2f}")
    single = [kendall(a, b) for a in by_seed(full) for b in by_seed(frozen)]
    print(f"between a seed of the one and a seed of the other: {fmean(single):+.2f} on average")
    print(f"sd of AP over seeds: full {seed_noise(full):.4f}, frozen {seed_noise(frozen):.4f}")
    runs = len(full.runs)
    print(
        f"training: full {steps_seconds(full):.0f} s, frozen {steps_seconds(frozen):.0f} s for {runs} runs of "
        f"{full.facts['steps']} steps, and {features:.0f} s for the features: "
        f"{steps_seconds(full) / (steps_seconds(frozen) + features):.1f} times as many arms an hour"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("compare/frozen-tier"))
    given = parser.parse_args()
    print(environment_line())
    budget = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
    full = compare(given.data, arms=ARMS, seeds=given.seeds, out=given.out / "full", threads=1, **budget)
    options: dict[str, Any] = {"seeds": given.seeds, "steps": full.facts["steps"], "threads": 1, "tier": "frozen"}
    frozen = compare(given.data, arms=ARMS, out=given.out / "frozen", **options)
    caches = (given.out / "frozen" / "features").glob("*/meta.json")
    report(full, frozen, sum(json.loads(meta.read_text())["seconds"] for meta in caches))


if __name__ == "__main__":
    main()

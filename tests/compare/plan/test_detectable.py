"""The difference that can be seen: by simulation, by closed forms, and in words."""

from __future__ import annotations

from dataclasses import replace
from math import hypot, inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxwright.compare.plan import detectable
from boxwright.compare.plan.detectable import (
    Noise,
    assumed_noise,
    describe_power,
    detectable_difference,
    measured_noise,
)
from boxwright.compare.results.results import METRICS, RunResult
from boxwright.compare.results.statistics import seed_variances
from boxwright.compare.run.jobs import Job, failed, write_result
from boxwright.data import read_dataset
from comparison_builders import job, recipe
from dataset_builders import write_voc

IMAGES = 87
NOISE = Noise(0.0067, 0.0024, "assumed")


def test_it_falls_with_seeds_images_and_less_noise_and_rises_with_arms() -> None:
    by_seeds = [detectable_difference(seeds, IMAGES, 3, NOISE) for seeds in (1, 2, 3, 5, 10)]
    assert by_seeds[0] == inf
    assert by_seeds == sorted(by_seeds, reverse=True)
    assert detectable_difference(5, IMAGES, 3, replace(NOISE, seed=0.004)) < by_seeds[3]
    assert detectable_difference(5, IMAGES, 3, replace(NOISE, image=0.001)) < by_seeds[3]
    assert detectable_difference(5, IMAGES, 12, NOISE) > by_seeds[3]
    assert detectable_difference(5, IMAGES, 3, NOISE, power=0.5) < by_seeds[3]
    with pytest.raises(ValueError, match="at least 1 seed, 1 arm and 2 images but got 0, 1 and 87"):
        detectable_difference(0, IMAGES, 1, NOISE)


def test_of_many_seeds_and_one_arm_it_is_the_normal_tests() -> None:
    """(1.960 + .842) standard errors, to the half of the noise that images leave when seeds are endless."""
    for noise in (Noise(0.01, 0.0, ""), Noise(0.0, 0.004, ""), Noise(0.02, 0.004, "")):
        error = hypot(noise.seed * sqrt(2 / 400), noise.image)
        assert detectable_difference(400, 4000, 1, noise) == pytest.approx(2.802 * error, rel=0.02)


@pytest.mark.parametrize(("arms", "seeds"), [(1, 3), (4, 2), (5, 6)])
def test_variances_are_drawn_as_scores_would_give_them(arms: int, seeds: int) -> None:
    """In distribution: means, variances and the correlation of the pooled one and an arm's own."""
    scores = np.random.default_rng(1).standard_normal((20_000, arms + 1, seeds))
    pooled, own = seed_variances(scores)
    drawn = detectable._drawn_variances(np.random.default_rng(0), arms, seeds)
    expected = np.cov(pooled, own[:, 0])
    assert np.mean(drawn, axis=1) == pytest.approx([1, 1], abs=0.03)
    assert np.cov(*drawn) == pytest.approx(expected, abs=0.1 * expected.max())


def voc(folder: Path, images: dict[str, list[str]]) -> Any:
    """A data set with a box for each class that stands beside an image."""
    boxes = {
        name: [(label, 10 + 30 * place, 10, 30 + 30 * place, 40) for place, label in enumerate(labels)]
        for name, labels in images.items()
    }
    write_voc(folder, boxes, {"val": list(images)})
    return read_dataset(folder, "val")


def test_noise_is_assumed_by_the_images_of_each_class(tmp_path: Path) -> None:
    """Four images hold cats, one of them two, and one a dog: sd .16 sqrt(1 / 4 + 1 / 1) / 2 of the score."""
    dataset = voc(tmp_path, {"a": ["cat"], "b": ["cat", "cat"], "c": ["cat"], "d": ["cat", "dog"], "e": []})
    score = 0.16 * sqrt(1 / 4 + 1) / 2
    found = assumed_noise(dataset)
    assert found.image == pytest.approx(0.2 * score)
    assert found.seed == pytest.approx(hypot(0.003, 0.35 * score))
    assert "by the blood cells: other seeds move AP by 0.031" in found.source


def jobs(folder: Path, scores: Any) -> list[Job]:
    """Runs by arm and seed; a score of NaN has failed, one of None isn't there."""
    found = []
    for seed in range(len(scores[0])):
        for place, row in enumerate(scores):
            one = job(folder, folder / f"{place}-{seed}", recipe(), seed=seed, name=f"arm {place}")
            found.append(one)
            if row[seed] is None:
                continue
            one.folder.mkdir(parents=True)
            result = RunResult(one.arm, seed, dict.fromkeys(METRICS, row[seed]), {}, {}, 1.0, 1.0, 1.0, 1)
            write_result(one.result_file, result if row[seed] == row[seed] else failed(one, "broken"))
    return found


def test_finished_runs_show_their_noise(tmp_path: Path) -> None:
    scores = 0.5 + 0.01 * np.random.default_rng(0).standard_normal((3, 3))
    found = measured_noise(jobs(tmp_path, scores.tolist()), NOISE)
    assert found.seed == pytest.approx(sqrt(seed_variances(scores)[0]))
    assert found.image == NOISE.image
    assert found.source == f"measured on 9 finished runs: other seeds move AP by {found.seed:.3f}"


def test_failed_and_missing_runs_are_left_out_of_the_noise(tmp_path: Path) -> None:
    """Seeds that the baseline lacks, and arms that lack one that it has."""
    scores = [[0.5, 0.51, None], [0.52, 0.5, 0.9], [float("nan"), 0.5, 0.5], [0.49, 0.48, None]]
    assert measured_noise(jobs(tmp_path / "a", scores), NOISE) is NOISE  # of two degrees of freedom
    more = [*scores, [0.5, 0.5, None], [0.51, 0.5, 0.1]]
    found = measured_noise(jobs(tmp_path / "b", more), NOISE)
    kept = np.array([row[:2] for place, row in enumerate(more) if place != 2], dtype=float)
    assert found.seed == pytest.approx(sqrt(seed_variances(kept)[0]))
    assert "10 finished runs" in found.source


def test_without_a_finished_run_noise_is_assumed(tmp_path: Path) -> None:
    assert measured_noise(jobs(tmp_path, [[None] * 3] * 3), NOISE) is NOISE


def test_the_words_say_what_the_numbers_do(tmp_path: Path) -> None:
    dataset = voc(tmp_path, {f"image {place}": ["cat"] * 3 for place in range(20)})
    least = detectable_difference(3, 20, 5, NOISE)
    said = describe_power(3, dataset, 5, NOISE)
    assert said.startswith(
        f"with 20 validation images (60 objects) and 3 seeds a difference of about {least:.2g} AP can be seen; "
    )
    seeds, target = (float(word) for word in said.rpartition("; ")[2].replace("seeds would see", "").split())
    assert target <= least * 2 / 3
    fewer, enough = (detectable_difference(n, 20, 5, NOISE) for n in (int(seeds) // 2, int(seeds)))
    assert enough <= 1.05 * target < fewer
    assert "one seed shows no difference" in describe_power(1, dataset, 5, NOISE)
    assert "even 50 seeds wouldn't see 0.05" in describe_power(3, dataset, 5, Noise(0.006, 0.02, ""))
    assert describe_power(60, dataset, 5, NOISE).endswith("can be seen")
    assert describe_power(3, dataset, 5, Noise(0.0, 0.0, "")).endswith("a difference of about 0 AP can be seen")

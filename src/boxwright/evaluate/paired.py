"""Several detectors on the same images: differences in score, and which of them exceed chance.

Every draw of the bootstrap holds the same images for all, so that what is hard or easy about an image cancels in the
difference. A difference is judged by a t test with the bootstrap's standard error. The verdicts of one family of rows
(all classes, say) are corrected for their number by Holm's rule: at most one family in 20 contains a false verdict.

Sources: Efron 1979 (bootstrap); Holm 1979, "A simple sequentially rejective multiple test procedure".

Shape shorthand: R draws, n images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isnan, nan, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np

from boxwright.evaluate.bootstrap import (
    METRIC_IOU,
    Ranking,
    Weights,
    bootstrap_precision,
    draw_images,
    drawn_precision,
    mean_of_defined,
    metric_thresholds,
)
from boxwright.evaluate.columns import Floats, Ints
from boxwright.evaluate.error_types import Case, as_it_is, corrected_cases, error_types
from boxwright.evaluate.intervals import (
    LEVEL,
    RESAMPLES,
    images_of_classes,
    images_with_targets,
    t_chance,
    t_quantile,
    variance_of_defined,
)
from boxwright.evaluate.matches import AREAS, MatchTable
from boxwright.evaluate.metrics import MetricsTable

Verdict = Literal["better", "worse", "no detectable difference"]

_CANDIDATES = 200  # images whose part in the difference is computed, not only estimated from the draws


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A score minus the first source's; NaN where either is undefined."""

    value: float
    low: float
    """Lower end of the 95 % interval of this difference alone."""
    high: float
    p: float
    """p-value, corrected for the number of differences in its family."""
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """Return plain values, None for undefined ones."""
        return {name: None if isinstance(item, float) and isnan(item) else item for name, item in asdict(self).items()}


class DecidingImage(NamedTuple):
    """An image's part in the difference in AP, by the jackknife: all parts sum to about the difference."""

    image: int
    """Index in the data set."""
    part: float
    """The difference minus (n - 1) / n of the one without this image."""


@dataclass(frozen=True)
class PairedComparison:
    """A source compared with the first one."""

    overall: dict[str, PairedDifference]
    """AP, AP50 and AP75."""
    by_class: dict[str, PairedDifference]
    """AP of each class."""
    by_size: dict[str, PairedDifference]
    """APs, APm and APl."""
    by_error: dict[str, PairedDifference]
    """AP50 lost to each kind of error, where less is better. Empty without the IoU 0.5."""
    images: tuple[DecidingImage, ...]
    """The images with the largest part in the difference in AP, the largest first."""

    def to_json(self) -> dict[str, Any]:
        """Return the differences by family, with None for undefined values."""
        families = ("overall", "by_class", "by_size", "by_error")
        content: dict[str, Any] = {
            family: {name: found.to_json() for name, found in getattr(self, family).items()} for family in families
        }
        return {**content, "images": [{"image": image.image, "part": image.part} for image in self.images]}


class _Drawn(NamedTuple):
    """Scores of one table, (1 + R,) each: of the original images, then of the draws."""

    overall: dict[str, Floats]
    by_class: dict[str, Floats]
    by_size: dict[str, Floats]
    by_error: dict[str, Floats]


def compare_tables(
    tables: Mapping[str, MetricsTable],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    deciding: int = 10,
) -> dict[str, PairedComparison]:
    """Compare each table with the first, on the same draws of the images.

    Args:
        tables: Name -> metrics on the same images and targets, in the same order, and of the same classes.
        level: Level of the intervals and verdicts.
        resamples: Number of draws of the images.
        seed: Seed of the draws.
        deciding: How many images with the largest part in a difference to name.

    Raises:
        ValueError: If there are fewer than two tables, or their images, targets or classes differ.

    Examples:
        >>> truth = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}] * 6
        >>> good = [{"boxes": [[0, 0, 10, 10]], "scores": [0.9], "labels": [0]}] * 6
        >>> poor = [{"boxes": [[0, 0, 10, 7]], "scores": [0.9], "labels": [0]}] * 6
        >>> tables = {n: bw.evaluate.detection_metrics(d, truth, ["cat"]) for n, d in [("poor", poor), ("good", good)]}
        >>> round(bw.evaluate.compare_tables(tables, resamples=100)["good"].overall["AP"].value, 2)
        0.5
    """
    (first_name, first), *others = tables.items()
    if not others:
        raise ValueError(f"Expected two tables or more but got {list(tables)}")
    for name, table in others:
        _check_pair(first, table, f"{first_name} and {name}")
    images = len(first.matches.targets.image_rank)
    draws = np.vstack([np.ones((1, images), np.int64), draw_images(images, resamples, seed=seed)])
    base = _drawn(first, draws)
    drawn = {name: _drawn(table, draws) for name, table in others}
    with_targets = images_with_targets(first.matches)
    by_class = dict(zip(first.classes, images_of_classes(first.matches).tolist(), strict=True))

    def family(field: str, sign: int = 1) -> dict[str, dict[str, PairedDifference]]:
        """Map source -> row -> difference; the rows of each source are judged together."""
        rows = {name: _differences(getattr(each, field), getattr(base, field)) for name, each in drawn.items()}
        held = by_class if field == "by_class" else {}
        return {name: judge(found, held, with_targets, level, sign) for name, found in rows.items()}

    class_rows, size_rows, error_rows = family("by_class"), family("by_size"), family("by_error", -1)
    overall = {name: _differences(each.overall, base.overall) for name, each in drawn.items()}
    together = {
        metric: judge({name: found[metric] for name, found in overall.items()}, {}, with_targets, level)
        for metric in base.overall
    }
    return {
        name: PairedComparison(
            {metric: found[name] for metric, found in together.items()},
            class_rows[name],
            size_rows[name],
            error_rows[name],
            _deciding(first.matches, table.matches, draws, overall[name]["AP"], deciding),
        )
        for name, table in others
    }


def holm(chances: Floats) -> Floats:
    """Correct p-values (m,) for their number by Holm's rule; NaN values stay and do not count."""
    corrected = np.full(len(chances), np.nan)
    known = np.flatnonzero(~np.isnan(chances))
    order = known[np.argsort(chances[known], kind="stable")]
    corrected[order] = np.minimum(np.maximum.accumulate(chances[order] * np.arange(len(order), 0, -1)), 1.0)
    return corrected


def _check_pair(first: MetricsTable, other: MetricsTable, names: str) -> None:
    mine, theirs = first.matches.targets, other.matches.targets
    if first.classes != other.classes:
        raise ValueError(f"Expected {names} to have the same classes but got {first.classes} and {other.classes}")
    same = len(mine.image_rank) == len(theirs.image_rank) and len(mine) == len(theirs)
    if not same or not (np.array_equal(mine.image, theirs.image) and np.array_equal(mine.xywh, theirs.xywh)):
        raise ValueError(f"Expected {names} to be measured on the same images and targets")


def _drawn(table: MetricsTable, draws: Ints) -> _Drawn:
    matches = table.matches
    precision = bootstrap_precision(matches, draws)
    metrics = [name for name, iou in METRIC_IOU.items() if iou is None or matches.has_threshold(iou)]
    by_class = precision.mean(axis=2)
    sizes = [area for area in AREAS if area != "all"]
    return _Drawn(
        {m: mean_of_defined(precision[..., metric_thresholds(matches, m)].mean(axis=2)) for m in metrics},
        dict(zip(table.classes, by_class.T, strict=True)),
        {f"AP{area[0]}": mean_of_defined(bootstrap_precision(matches, draws, area).mean(axis=2)) for area in sizes},
        _drawn_costs(matches, draws) if matches.has_threshold(0.5) else {},
    )


def _drawn_costs(table: MatchTable, draws: Ints) -> dict[str, Floats]:
    """Compute the AP50 lost to each kind of error on the drawn images, (R,)."""
    errors = error_types(table)
    weights = np.ascontiguousarray(draws.T, np.int32)
    before = _drawn_ap(table, as_it_is(table, errors), weights)
    return {name: _drawn_ap(table, case, weights) - before for name, case in corrected_cases(table, errors).items()}


def _drawn_ap(table: MatchTable, case: Case, weights: Weights) -> Floats:
    """Compute the mean AP (R,) of a case; a class with targets, none left to find, has 0 as in `error_costs`."""
    order = case.order(table)
    bounds = np.searchsorted(case.label[order], np.arange(len(table.positives) + 1))
    scores = []
    for label in np.flatnonzero(table.positives[:, 0]).tolist():
        rows = order[bounds[label] : bounds[label + 1]]
        own = table.targets.label == label
        ranking = Ranking(table.image[rows], case.hit[rows, None], np.zeros((len(rows), 1), np.bool_))
        precision = drawn_precision(ranking, table.targets.image[own & case.asked], weights)[:, 0]
        there = weights[table.targets.image[own & table.counted[:, 0]]].any(axis=0)
        scores.append(np.where(there, np.nan_to_num(precision), np.nan))
    return mean_of_defined(np.array(scores).reshape(len(scores), weights.shape[1]), axis=0)


def _differences(scores: Mapping[str, Floats], base: Mapping[str, Floats]) -> dict[str, Floats]:
    return {name: values - base[name] for name, values in scores.items()}


def judge(
    rows: Mapping[str, Floats], held: Mapping[str, int], images: int, level: float, sign: int = 1
) -> dict[str, PairedDifference]:
    """Judge differences (1 + R,) by row together: each gets an interval and a verdict.

    Args:
        rows: Name -> differences: of the original images, then of the draws.
        held: Images that determine a row, if not all.
        images: Number of images.
        level: Level of the intervals and verdicts.
        sign: -1 where less is better.
    """
    found = [_t_interval(values, held.get(name, images), images, level) for name, values in rows.items()]
    corrected = holm(np.array([chance for *_, chance in found])).tolist()
    return {
        name: PairedDifference(value, low, high, p, _said(sign * value, p, level))
        for name, (value, low, high, _), p in zip(rows, found, corrected, strict=True)
    }


def _said(value: float, p: float, level: float) -> Verdict:
    if not p < 1 - level:
        return "no detectable difference"
    return "better" if value > 0 else "worse"


def _t_interval(values: Floats, held: int, images: int, level: float) -> tuple[float, float, float, float]:
    """Compute the value, both ends and the chance of a value as far from 0, uncorrected."""
    value = float(values[0])
    if held < 2 or isnan(value):
        return value, nan, nan, nan
    error = sqrt(variance_of_defined(values[1:]) * held / (held - 1))
    reach = t_quantile((1 + level) / 2, images - 1) * error
    chance = t_chance(value / error, images - 1) if error > 0 else float(value == 0)
    return value, value - reach, value + reach, chance


def _deciding(
    first: MatchTable, other: MatchTable, draws: Ints, difference: Floats, count: int
) -> tuple[DecidingImage, ...]:
    """Find the images with the largest part in the difference in AP; images without any are left out.

    The draws show the candidates: how the difference changes with the number of times an image was drawn.
    """
    images, whole = draws.shape[1], difference[0]
    away = np.where(np.isfinite(difference), difference - whole, 0.0)
    slope = away @ (draws - 1.0) / len(draws)
    likely = np.argsort(-np.abs(slope + whole / images), kind="stable")[:_CANDIDATES]
    without = np.ones((len(likely), images), np.int64)
    without[np.arange(len(likely)), likely] = 0
    left = [mean_of_defined(bootstrap_precision(table, without).mean(axis=2)) for table in (first, other)]
    part = np.nan_to_num(whole - (images - 1) / images * (left[1] - left[0]))
    order = np.argsort(-np.abs(part), kind="stable")[:count]
    return tuple(DecidingImage(int(likely[row]), float(part[row])) for row in order if abs(part[row]) > 1e-12)

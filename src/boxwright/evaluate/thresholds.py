"""The score from which a class's detections are kept: that of its best F1, or for a required precision or recall.

They are read from a validation split's match table at IoU .5. Of a curve only the points stay that no other beats in
both precision and recall: they include the best F1, and the most of one measure for any requirement on the other. A
score lies between the last detection kept and the next one, so that > and >= make no difference.

Shape shorthand: n images, N detections, P points of a curve.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Literal, NamedTuple

import numpy as np

from boxwright.errors import RecipeError
from boxwright.evaluate.columns import Bools, Floats, Ints
from boxwright.evaluate.intervals import LEVEL, Interval, ends, t_quantile
from boxwright.evaluate.matches import MatchTable

IOU = 0.5
LEAST_OBJECTS = 10
"""With fewer objects of a class in validation, the curve of all classes says more than its own."""
_LEVELS = np.arange(101) / 100
_DECIMALS = 6

Ends = tuple[float | None, float | None]
"""Both ends of a 95 % interval over images, None where unknown."""
Source = Literal["class", "all classes", "recipe"]
"""Source of a score: the class's own curve, that of all classes, or the recipe's score."""


class Wish(NamedTuple):
    """A precision or a recall that the detections of every class should have."""

    measure: Literal["precision", "recall"]
    value: float

    def __str__(self) -> str:
        return f"{self.measure} {self.value:g}"


@dataclass(frozen=True)
class Curve:
    """Points (P,) by falling score: precision falls, recall rises."""

    score: list[float]
    precision: list[float]
    recall: list[float]
    precision_interval: list[Ends]
    recall_interval: list[Ends]

    def __post_init__(self) -> None:
        """Raise ValueError for a curve without points, or columns of different lengths, as from a damaged file."""
        lengths = {len(column) for column in vars(self).values()}
        if len(lengths) > 1 or not self.score:
            raise ValueError(f"Expected columns of one length but got {sorted(lengths)}")

    def best_f1(self) -> int:
        """Return the index of the highest F1; among equal ones that of the highest score."""
        return int(np.argmax(f1_score(np.array(self.precision), np.array(self.recall))))

    def reaching(self, wish: Wish) -> int:
        """Return the index that fulfills the wish with the most of the other measure, or else comes nearest to it."""
        reached = np.flatnonzero(np.array(getattr(self, wish.measure)) >= wish.value)
        if wish.measure == "precision":
            return int(reached[-1]) if len(reached) else 0
        return int(reached[0]) if len(reached) else len(self.score) - 1


@dataclass(frozen=True)
class ClassThreshold:
    """The score of a class's best F1, and the curve from which other scores are read."""

    score: float
    """Detections above this are kept."""
    source: Source
    objects: int
    """Objects of the class in validation."""
    precision: float | None
    """Precision at that score, as are recall and F1; None unless the class has its own curve."""
    recall: float | None
    f1: float | None
    curve: Curve | None


class Expected(NamedTuple):
    """Expected precision and recall of a class's detections above the score for a wish."""

    score: float
    source: Source
    precision: float
    recall: float
    precision_interval: Ends
    recall_interval: Ends
    reached: bool
    """Whether the wish is fulfilled."""


@dataclass(frozen=True)
class Thresholds:
    """The scores from which detections are kept, class by class, and the validation that they come from."""

    split: str
    """The split measured; empty if none was."""
    images: int
    all_classes: ClassThreshold
    classes: dict[str, ClassThreshold]
    """Thresholds by class name, in label order."""

    @classmethod
    def of(cls, table: MatchTable, classes: Sequence[str], *, split: str, default: float) -> Thresholds:
        """Measure the scores on a split, from its match table.

        A class with fewer than `LEAST_OBJECTS` objects uses the curve of all classes; if all classes together have
        fewer, every class uses ``default``.

        Args:
            table: Matches of the split.
            classes: (K,) names in label order.
            split: Name of the split.
            default: The recipe's score.

        Raises:
            ValueError: If the table does not have IoU .5.
        """
        instead: tuple[float, Source] = (default, "recipe")
        together = _threshold(table, range(len(classes)), "all classes", instead)
        if together.curve is not None:
            instead = (together.score, "all classes")
        own = {name: _threshold(table, [label], "class", instead) for label, name in enumerate(classes)}
        return cls(split, len(table.targets.image_rank), together, own)

    @classmethod
    def unmeasured(cls, classes: Sequence[str], default: float) -> Thresholds:
        """Use the recipe's score for every class, for weights that were never validated."""
        none = ClassThreshold(default, "recipe", 0, None, None, None, None)
        return cls("", 0, none, dict.fromkeys(classes, none))

    @property
    def scores(self) -> list[float]:
        """The scores (K,) in label order."""
        return [each.score for each in self.classes.values()]

    def expected(self, wish: Wish) -> dict[str, Expected]:
        """Find by class the score that fulfills a wish with the most of the other measure, or comes nearest to it.

        A class without its own curve uses that of all classes.

        Raises:
            ValueError: If that is missing too.
        """
        return {name: self._expected(each, wish) for name, each in self.classes.items()}

    def _expected(self, each: ClassThreshold, wish: Wish) -> Expected:
        curve = each.curve or self.all_classes.curve
        if curve is None:
            raise ValueError(f"Expected a validation for {wish} but got none with {LEAST_OBJECTS} objects")
        place = curve.reaching(wish)
        precision, recall = curve.precision[place], curve.recall[place]
        intervals = curve.precision_interval[place], curve.recall_interval[place]
        reached = getattr(curve, wish.measure)[place] >= wish.value
        source: Source = "class" if each.curve else "all classes"
        return Expected(curve.score[place], source, precision, recall, *intervals, reached)


def read_wish(text: str) -> Wish:
    """Parse ``precision=0.9`` or ``recall=0.8``; raises ValueError for any other text."""
    measure, _, value = text.partition("=")
    number = float(value) if re.fullmatch(r"[0-9]*\.?[0-9]+", value) else -1.0
    if measure not in ("precision", "recall") or not 0 < number <= 1:
        raise ValueError(f"Expected precision=P or recall=R, above 0 and up to 1, but got {text!r}")
    return Wish(measure, number)  # type: ignore[arg-type]


def min_scores(score: float | str | Sequence[float], thresholds: Thresholds | None) -> float | Sequence[float]:
    """Return score thresholds: a score or (K,) by class as given, or (K,) for ``precision=P`` or ``recall=R``.

    Raises ValueError for another text, RecipeError where no validation told what these are.
    """
    if not isinstance(score, str):
        return score
    wish = read_wish(score)
    if thresholds is None or thresholds.all_classes.curve is None:
        raise RecipeError(
            f"{wish} needs a validation, and this model has "
            + ("none" if thresholds is None or not thresholds.images else "one with too few objects")
            + ": boxwright eval RUN DATA --split val --save-thresholds makes one"
        )
    return [each.score for each in thresholds.expected(wish).values()]


def f1_score(precision: Floats, recall: Floats) -> Floats:
    """Compute 2PR / (P + R), 0 where both are 0."""
    total = precision + recall
    mean: Floats = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return mean


def _threshold(
    table: MatchTable, labels: Iterable[int], source: Source, instead: tuple[float, Source]
) -> ClassThreshold:
    """Find the threshold of some classes together; ``instead`` if they have too few objects or none was found."""
    chosen = np.zeros(len(table.positives), np.bool_)
    chosen[list(labels)] = True
    objects = int(table.positives[chosen, 0].sum())
    curve = _curve(table, chosen) if objects >= LEAST_OBJECTS else None
    if curve is None:
        return ClassThreshold(*instead, objects, None, None, None, None)
    best = curve.best_f1()
    precision, recall = curve.precision[best], curve.recall[best]
    greatest = round(float(f1_score(np.array(precision), np.array(recall))), _DECIMALS)
    return ClassThreshold(curve.score[best], source, objects, precision, recall, greatest, curve)


def _curve(table: MatchTable, chosen: Bools) -> Curve | None:
    """Compute the best points, about a hundred, of the classes ``chosen`` (K,); None if no object is found."""
    right = table.right(IOU)
    rows = np.flatnonzero((right | table.wrong(IOU)) & chosen[table.label])
    rows = rows[np.argsort(-table.score[rows], kind="stable")]
    asked = table.targets.image[table.counted[:, 0] & chosen[table.targets.label]]
    score = table.score[rows]
    last = _best_points(right[rows], score, len(asked))
    if not len(last):
        return None
    cuts = [between(*pair) for pair in zip(np.append(score, 0.0)[last + 1].tolist(), score[last].tolist(), strict=True)]
    rows = rows[: last[-1] + 1]
    hit, image = right[rows], table.image[rows]
    point = np.searchsorted(last, np.arange(len(rows)))  # the first that keeps the row
    shape = (len(last), len(table.targets.image_rank))
    hits, shown = _sums(point[hit], image[hit], shape), _sums(point, image, shape)
    objects = np.bincount(asked, minlength=shape[1])[None]
    precision, precision_intervals = _shares(hits, shown)
    recall, recall_intervals = _shares(hits, objects)
    return Curve(cuts, precision, recall, precision_intervals, recall_intervals)


def _best_points(right: Bools, score: Floats, objects: int) -> Ints:
    """Find the last detections (P,) of the points that none beats in precision and recall, of (N,) by falling score.

    Of several between two hundredths of recall only the first stays, plus always the best F1.
    """
    last = np.flatnonzero(np.diff(score, append=-np.inf))  # a threshold cannot separate equal scores
    found = np.cumsum(right)[last]
    precision, recall = found / (last + 1), found / objects
    later = np.maximum.accumulate(np.append(precision, 0.0)[::-1])[::-1][1:]
    best = precision > later
    last, precision, recall = last[best], precision[best], recall[best]
    if not len(last):
        return last
    reached = np.searchsorted(recall, _LEVELS[recall[-1] >= _LEVELS])
    kept: Ints = np.unique([*reached, np.argmax(f1_score(precision, recall)), len(last) - 1])
    return last[kept]


def between(low: float, high: float) -> float:
    """Find the number with the fewest decimals, at least two, between two numbers and nearest to their middle."""
    middle = (low + high) / 2
    rounded = (round(middle, decimals) for decimals in range(2, 17))
    return next((number for number in rounded if low < number < high), middle)


def _sums(point: Ints, image: Ints, shape: tuple[int, int]) -> Ints:
    """Count the detections of each image that each point keeps, (P, n), from each detection's first point and image."""
    counts = np.bincount(point * shape[1] + image, minlength=shape[0] * shape[1]).reshape(shape)
    sums: Ints = counts.cumsum(axis=0)
    return sums


def _shares(hits: Ints, of: Ints) -> tuple[list[float], list[Ends]]:
    """Compute the share (P,) that ``hits`` (P, n) are of all (P, n) or (1, n), with its interval.

    The variance over images is the bootstrap's to first order, in closed form: the infinitesimal jackknife.
    Source: Efron 1982, "The jackknife, the bootstrap and other resampling plans", section 6.
    """
    total = of.sum(axis=1)
    share = hits.sum(axis=1) / total
    images = np.count_nonzero(of, axis=1)
    squares = ((hits - share[:, None] * of) ** 2).sum(axis=1) / total**2
    columns = (share, total, squares * images / np.maximum(images - 1, 1), images)
    rows = zip(*(np.broadcast_to(column, share.shape).tolist() for column in columns), strict=True)
    return share.round(_DECIMALS).tolist(), [_rounded(share_interval(*row)) for row in rows]


def share_interval(share: float, count: float, variance: float, images: int) -> Interval:
    """Compute Wilson's interval of a share of ``count`` boxes, for the effective number of independent boxes.

    Boxes of one image are alike: a ``variance``, over the images, corresponds to fewer independent boxes. If the share
    does not vary, 0 or 1, all boxes count. NaN if only one image has any. Source: Korn & Graubard 1998, "Confidence
    intervals for proportions with small expected number of positive counts estimated from survey data", with Wilson's
    interval in place of Clopper and Pearson's.
    """
    if images < 2:
        return Interval(nan, nan)
    independent = min(count, share * (1 - share) / variance) if variance > 0 else count
    spread = t_quantile((1 + LEVEL) / 2, images - 1) ** 2 / independent
    center = (share + spread / 2) / (1 + spread)
    reach = sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return Interval(min(max(0.0, center - reach), share), max(min(1.0, center + reach), share))


def _rounded(interval: Interval) -> Ends:
    low, high = (None if end is None else round(end, _DECIMALS) for end in ends(interval))
    return low, high

"""The score from which a class's detections are kept: that of its best F1, or the one for a precision or a recall.

Read off a validation split's match table at IoU .5. Of a curve those points stay that no other beats in both precision
and recall: the best F1 is among them, and so is whatever can be had of one for a wish about the other. A score lies
between the last detection that is kept and the next, where > and >= say the same.

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
"""Of a class with fewer in validation the curve of all classes tells more than its own."""
_LEVELS = np.arange(101) / 100
_DECIMALS = 6

Ends = tuple[float | None, float | None]
"""Both ends of a 95 % interval over images, None where they aren't known."""
Source = Literal["class", "all classes", "recipe"]
"""What a score comes from: the class's own curve, that of all classes, or the recipe's score."""


class Wish(NamedTuple):
    """A precision or a recall that the detections of every class are to have."""

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
        """Raise ValueError for a curve without points, and columns of different lengths, as of a damaged file."""
        lengths = {len(column) for column in vars(self).values()}
        if len(lengths) > 1 or not self.score:
            raise ValueError(f"Expected columns of one length but got {sorted(lengths)}")

    def best_f1(self) -> int:
        """The place of the greatest F1; of equal ones the highest score."""
        return int(np.argmax(f1_score(np.array(self.precision), np.array(self.recall))))

    def reaching(self, wish: Wish) -> int:
        """The place where the wish is fulfilled with the most of the other measure; if nowhere, where it nearly is."""
        reached = np.flatnonzero(np.array(getattr(self, wish.measure)) >= wish.value)
        if wish.measure == "precision":
            return int(reached[-1]) if len(reached) else 0
        return int(reached[0]) if len(reached) else len(self.score) - 1


@dataclass(frozen=True)
class ClassThreshold:
    """The score of a class's best F1, and the curve that other scores are read off."""

    score: float
    """Detections above it are kept."""
    source: Source
    objects: int
    """Of the class in validation."""
    precision: float | None
    """At that score, as are recall and F1; None unless the class has a curve of its own."""
    recall: float | None
    f1: float | None
    curve: Curve | None


class Expected(NamedTuple):
    """What to expect of a class's detections above the score for a wish."""

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
    """The scores from which detections are kept, class by class, and the validation that says so."""

    split: str
    """That was measured; empty where none was."""
    images: int
    all_classes: ClassThreshold
    classes: dict[str, ClassThreshold]
    """By name, in label order."""

    @classmethod
    def of(cls, table: MatchTable, classes: Sequence[str], *, split: str, default: float) -> Thresholds:
        """Measure them on a split, from its match table.

        A class of fewer than `LEAST_OBJECTS` objects goes by the curve of all classes, and where there are fewer of all
        classes together, every class by ``default``.

        Args:
            classes: (K,) names in label order.
            default: the recipe's score.

        Raises:
            ValueError: a table without IoU .5.
        """
        instead: tuple[float, Source] = (default, "recipe")
        together = _threshold(table, range(len(classes)), "all classes", instead)
        if together.curve is not None:
            instead = (together.score, "all classes")
        own = {name: _threshold(table, [label], "class", instead) for label, name in enumerate(classes)}
        return cls(split, len(table.targets.image_rank), together, own)

    @classmethod
    def unmeasured(cls, classes: Sequence[str], default: float) -> Thresholds:
        """The recipe's score for every class, where weights were never validated."""
        none = ClassThreshold(default, "recipe", 0, None, None, None, None)
        return cls("", 0, none, dict.fromkeys(classes, none))

    @property
    def scores(self) -> list[float]:
        """(K,) in label order."""
        return [each.score for each in self.classes.values()]

    def expected(self, wish: Wish) -> dict[str, Expected]:
        """By class the score that fulfils a wish with the most of the other measure, or comes nearest to it.

        A class without a curve of its own goes by that of all classes. Raises ValueError where these have none either.
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
    """The wish that ``precision=0.9`` or ``recall=0.8`` is. Raises ValueError for another text."""
    measure, _, value = text.partition("=")
    number = float(value) if re.fullmatch(r"[0-9]*\.?[0-9]+", value) else -1.0
    if measure not in ("precision", "recall") or not 0 < number <= 1:
        raise ValueError(f"Expected precision=P or recall=R, above 0 and up to 1, but got {text!r}")
    return Wish(measure, number)  # type: ignore[arg-type]


def least_scores(score: float | str | Sequence[float], thresholds: Thresholds | None) -> float | Sequence[float]:
    """A score for all classes or (K,) by class as it is, or (K,) what ``precision=P`` or ``recall=R`` takes.

    Raises ValueError for another text, RecipeError where no validation told what these are.
    """
    if not isinstance(score, str):
        return score
    wish = read_wish(score)
    if thresholds is None or thresholds.all_classes.curve is None:
        raise RecipeError(
            f"{wish} is read off a validation, of which this model has "
            + ("none" if thresholds is None or not thresholds.images else "too few objects")
            + ": boxwright eval RUN DATA --split val --save-thresholds keeps one"
        )
    return [each.score for each in thresholds.expected(wish).values()]


def f1_score(precision: Floats, recall: Floats) -> Floats:
    """2PR / (P + R), 0 where both are 0."""
    total = precision + recall
    mean: Floats = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return mean


def _threshold(
    table: MatchTable, labels: Iterable[int], source: Source, instead: tuple[float, Source]
) -> ClassThreshold:
    """Of some classes together; ``instead`` where they have too few objects, or none of these was found."""
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
    """The best points of the classes ``chosen`` (K,), a hundred or so; None where none of their objects is found."""
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
    """(P,) the last detections of the points that no other beats in precision and recall, of (N,) by falling score.

    Of more than one between two hundredths of recall the first stays, and always the best F1.
    """
    last = np.flatnonzero(np.diff(score, append=-np.inf))  # equal scores can't be told apart
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
    """The number of the fewest decimals, two at least, that is nearest to the middle of two and between them."""
    middle = (low + high) / 2
    rounded = (round(middle, decimals) for decimals in range(2, 17))
    return next((number for number in rounded if low < number < high), middle)


def _sums(point: Ints, image: Ints, shape: tuple[int, int]) -> Ints:
    """(P, n) detections of each image that each point keeps, from the first point and the image of each detection."""
    counts = np.bincount(point * shape[1] + image, minlength=shape[0] * shape[1]).reshape(shape)
    sums: Ints = counts.cumsum(axis=0)
    return sums


def _shares(hits: Ints, of: Ints) -> tuple[list[float], list[Ends]]:
    """The share (P,) that ``hits`` (P, n) are of all (P, n) or (1, n), with its interval.

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
    """Wilson's interval of a share of ``count`` boxes, as of so many as would vary by chance alone as it does.

    The boxes of an image are alike: ``variance``, over the images, is that of fewer independent ones. Of a share that
    doesn't vary, 0 or 1, all count. NaN where one image alone has any.
    Source: Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", with Wilson's interval in place of Clopper and Pearson's.
    """
    if images < 2:
        return Interval(nan, nan)
    independent = min(count, share * (1 - share) / variance) if variance > 0 else count
    spread = t_quantile((1 + LEVEL) / 2, images - 1) ** 2 / independent
    centre = (share + spread / 2) / (1 + spread)
    reach = sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return Interval(min(max(0.0, centre - reach), share), max(min(1.0, centre + reach), share))


def _rounded(interval: Interval) -> Ends:
    low, high = (None if end is None else round(end, _DECIMALS) for end in ends(interval))
    return low, high

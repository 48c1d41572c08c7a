"""What each object of a data set gets from a recipe's anchors and matcher, before any training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxwright.anchors import Anchors
from boxwright.choices import parse_choice, resolve_choice
from boxwright.data import DetectionDataset
from boxwright.data.loading import pad_targets
from boxwright.errors import DataError, RecipeError
from boxwright.matching import best_anchors
from boxwright.parts import matcher_info
from boxwright.recipes import Recipe
from boxwright.recipes.objects import frame_of, in_input, sides_of
from boxwright.types import Matches, Targets

_CHUNK = 1 << 21  # anchors x images matched at once: about 30 MB

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Supervision:
    """Anchors that the n objects of a data set get; crowd and difficult boxes do not count as objects."""

    anchors: Anchors
    image: NDArray[np.int64]
    """(n,) index of the object's image in the data set."""
    row: NDArray[np.int64]
    """(n,) its row among the boxes of the data set."""
    label: NDArray[np.int64]
    boxes: NDArray[np.float32]
    """(n, 4) xyxy, pixels of the network's input: after the resize, without augmentation."""
    best_iou: NDArray[np.float32]
    """(n,) IoU with the anchor that overlaps it most."""
    positives: NDArray[np.int64]
    """(n, L) how many anchors of each level answer for it."""
    forced: NDArray[np.bool_]
    """(n,) whether all of these are below the matcher's threshold and positive only by its force rule."""
    ignored: int
    """Number of crowd and difficult boxes."""
    unread: tuple[str, ...] = ()
    """Images whose size is neither annotated nor readable."""
    matched: int = 0
    """Number of anchors matched, over all images."""
    left_aside: int = 0
    """Number of ignored anchors, neither positive nor negative."""

    def __len__(self) -> int:
        return len(self.image)

    @property
    def sides(self) -> NDArray[np.float64]:
        """(n,) sqrt(width x height), pixels of the input."""
        return sides_of(self.boxes)

    @property
    def unmatched(self) -> NDArray[np.bool_]:
        """(n,) whether no anchor answers for it."""
        return np.asarray(self.positives.sum(1) == 0)


@dataclass(frozen=True)
class MatchRule:
    """A recipe's matcher and what is known about it in advance."""

    match: Callable[..., Matches]
    by_iou: bool
    """Whether it uses thresholds on the anchors' IoU and a force rule; if not, states are as the matcher gives them."""
    positive: float = 0.5
    negative: float = 0.5
    strict: bool = False
    force: str | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> MatchRule:
        """Read the rule of a recipe; raises RecipeError for a matcher that depends on predictions."""
        match: Any = resolve_choice("matcher", recipe.matcher)
        if "predictions" in matcher_info(match).needs:
            raise RecipeError(f"inspect can't show matcher {recipe.matcher!r}: its matches change with each prediction")
        if parse_choice("matcher", recipe.matcher)[0] != "iou":
            return cls(match, by_iou=False)
        bound = {name: p.default for name, p in inspect.signature(match).parameters.items()}
        return cls(match, True, bound["positive"], bound["negative"], bound["strict"], bound["force"])

    def reached(self, iou: Tensor) -> Tensor:
        """Tell whether anchors of this IoU are positive without being forced; all are if another rule chose them."""
        if not self.by_iou:
            return torch.ones_like(iou, dtype=torch.bool)
        return iou > self.positive if self.strict else iou >= self.positive


def examine(
    dataset: DetectionDataset,
    recipe: Recipe,
    anchors: Anchors,
    advance: Advance = lambda done, total: None,
) -> Supervision:
    """Match the whole data set, a few images at a time, without decoding any image.

    Raises:
        RecipeError: For a matcher that depends on predictions, and for options that it refuses.
    """
    rule = MatchRule.of(recipe)
    step = max(1, _CHUNK // len(anchors))
    parts: list[Supervision] = []
    for start in range(0, len(dataset), step):
        places = range(start, min(start + step, len(dataset)))
        parts.append(_examine_some(dataset, recipe, anchors, rule, places))
        advance(places.stop, len(dataset))
    return _joined(parts, anchors)


def _examine_some(
    dataset: DetectionDataset, recipe: Recipe, anchors: Anchors, rule: MatchRule, places: range
) -> Supervision:
    images, rows, owners, unread = [], [], [], []
    for place in places:
        boxes, labels, ignore = dataset.supervised(place)
        try:
            frame = frame_of(dataset, place, recipe)
        except DataError:
            unread.append(dataset.name(place))
            continue
        moved, kept = in_input(boxes, frame)
        images.append((moved, labels[kept], ignore[kept]))
        rows.append(dataset.offsets[place] + kept)
        owners.append(np.full(len(kept), place))
    if not images:
        return _joined([], anchors, tuple(unread))
    targets = pad_targets(images)
    try:
        matches = rule.match(anchors, targets.boxes, targets.labels, ignore=targets.ignore)
    except ValueError as error:
        raise RecipeError(f"matcher {recipe.matcher!r}: {error}") from None
    positives, own = _counts(matches, targets, anchors, rule)
    best, _ = best_anchors(anchors, targets.boxes, targets.labels, targets.ignore)
    given = targets.labels >= 0
    real = given & ~targets.ignore
    normal = real[given].numpy()
    return Supervision(
        anchors=anchors,
        image=np.concatenate(owners)[normal],
        row=np.concatenate(rows)[normal],
        label=targets.labels[real].numpy(),
        boxes=targets.boxes[real].numpy(),
        best_iou=best[real].numpy(),
        positives=positives[real].numpy(),
        forced=((positives.sum(-1) > 0) & (own == 0))[real].numpy(),
        ignored=int(targets.ignore.sum()),
        unread=tuple(unread),
        matched=matches.state.numel(),
        left_aside=int((matches.state < 0).sum()),
    )


def _counts(matches: Matches, targets: Targets, anchors: Anchors, rule: MatchRule) -> tuple[Tensor, Tensor]:
    """Count each level's anchors that answer for each target, (B, G, L), and those not forced, (B, G)."""
    images, most = targets.labels.shape
    image, anchor = (matches.state == 1).nonzero(as_tuple=True)
    owner = image * most + matches.gt_index[image, anchor]
    levels = len(anchors.levels)
    place = owner * levels + level_of(anchors)[anchor]
    positives = torch.bincount(place, minlength=images * most * levels).view(images, most, levels)
    own = torch.bincount(owner[rule.reached(matches.iou[image, anchor])], minlength=images * most)
    return positives, own.view(images, most)


def level_of(anchors: Anchors) -> Tensor:
    """Return the level of each anchor, (A,)."""
    counts = torch.tensor([level.count for level in anchors.levels])
    return torch.arange(len(counts)).repeat_interleave(counts)


def _joined(parts: list[Supervision], anchors: Anchors, unread: tuple[str, ...] = ()) -> Supervision:
    def join(name: str, dtype: Any, *shape: int) -> Any:
        return np.concatenate([np.zeros((0, *shape), dtype), *(getattr(part, name) for part in parts)])

    return Supervision(
        anchors=anchors,
        image=join("image", np.int64),
        row=join("row", np.int64),
        label=join("label", np.int64),
        boxes=join("boxes", np.float32, 4),
        best_iou=join("best_iou", np.float32),
        positives=join("positives", np.int64, len(anchors.levels)),
        forced=join("forced", np.bool_),
        ignored=sum(part.ignored for part in parts),
        unread=unread + tuple(name for part in parts for name in part.unread),
        matched=sum(part.matched for part in parts),
        left_aside=sum(part.left_aside for part in parts),
    )

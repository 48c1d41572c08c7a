"""Images anchor by anchor: which anchors are positive, ignored or background, and what each costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from boxwright.data import DetectionDataset
from boxwright.data.decoded import Decoded
from boxwright.data.loading import Sample, collate
from boxwright.data.transforms import Augmentation, InputSize, resample
from boxwright.errors import DataError
from boxwright.inspect.losses import LEAST_IOU, AnchorCosts, Mining, Roles, Trained, hardest
from boxwright.inspect.supervision import Advance, MatchRule, Supervision
from boxwright.matching import best_anchors, match_iou
from boxwright.recipes import Recipe
from boxwright.types import Targets

MOST_RATIO = 6.0
"""Hard negatives per positive for which enough anchors are shown, at the recipe's own thresholds."""
MOST_NEAR = 3000
"""Most anchors of an image that are shown for their overlap; those with the highest overlap are kept."""
_LEAST_NEGATIVES = 100
_MOST_TRIED = 500  # images passed through the network to find those with the highest loss
_MOST_PIXELS = 640  # pixels of a picture's longer side
_NEVER = 2.0  # an IoU that no anchor reaches


@dataclass(frozen=True)
class Example:
    """One image without augmentation, with the n of its anchors that overlap an object or are hard."""

    place: int
    """Index in the data set."""
    name: str
    picture: NDArray[np.uint8]
    """(h, w, 3) picture for display; the input is stretched over it."""
    boxes: NDArray[np.float32]
    """(g, 4) pixels of the input."""
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    best_iou: NDArray[np.float32]
    """(g,) -1 for ignored boxes, which do not count as objects."""
    positives: NDArray[np.int64]
    """(g,) number of anchors that answer for it."""
    anchor: Tensor
    """(n,) int64, rising."""
    roles: Roles
    """Roles of these n anchors."""
    least: float
    """All anchors that overlap an object by at least this are among the n."""
    costs: AnchorCosts | None = None
    """Costs of these n anchors; None without a run."""
    hardest_left: float = -float("inf")
    """The highest background loss of a negative that is not among the n; -inf if there is none."""
    total: float = 0.0
    """The image's loss, normalized as for a batch of this image alone."""


class Examiner:
    """Shows images of a data set as a recipe supervises them, with the losses of a trained detector if given."""

    def __init__(
        self, dataset: DetectionDataset, recipe: Recipe, found: Supervision, trained: Trained | None = None
    ) -> None:
        self.dataset, self.recipe, self.found, self.trained = dataset, recipe, found, trained
        self.rule = MatchRule.of(recipe)

    def choose(self, count: int, advance: Advance) -> list[int]:
        """Choose the indices of ``count`` images: those with the most objects without an anchor, then by falling loss.

        Losses are computed for at most 500 images spread over the data set; without a run the images with the worst
        best IoU are chosen.
        """
        total = len(self.dataset)
        unmatched = np.bincount(self.found.image[self.found.unmatched], minlength=total)
        if self.trained is None:
            rank = np.ones(total)
            np.minimum.at(rank, self.found.image, self.found.best_iou)
        else:
            rank = np.full(total, np.inf)
            spread = np.linspace(0, total - 1, min(_MOST_TRIED, total)).round().astype(int).tolist()
            for done, place in enumerate(spread):
                rank[place] = -self._loss(place, self.trained)
                advance(done + 1, len(spread))
        return [int(place) for place in np.lexsort((rank, -unmatched))[:count]]

    def show(self, places: Iterable[int]) -> list[Example]:
        """Show the images that can be decoded."""
        shown = []
        for place in places:
            try:
                shown.append(self._show(place, self._decode(place)))
            except DataError:
                continue
        return shown

    def _loss(self, place: int, trained: Trained) -> float:
        """Compute an image's loss; -inf if it cannot be decoded."""
        try:
            return trained.total(trained.see(self._sample(place, self._decode(place))))
        except DataError:
            return -np.inf

    def _decode(self, place: int) -> Decoded:
        return self.dataset.decode_reduced(place, self.recipe.reduction())

    def _sample(self, place: int, image: Decoded) -> Sample:
        """Prepare the network's input as in validation."""
        boxes, labels, ignore = self.dataset.supervised(place)
        view = Augmentation("none", "none")
        shown, moved, kept = view(image, boxes, self.recipe.input_size, np.random.default_rng(0))
        return Sample(shown, moved, labels[kept], ignore[kept], place, image.size)

    def _show(self, place: int, image: Decoded) -> Example:
        sample = self._sample(place, image)
        targets = collate([sample]).targets
        roles = self._roles(targets)
        least = self._least(roles)
        wanted = roles.fixed | (roles.iou >= least) | (roles.state == 1)
        costs, left, total = None, -float("inf"), 0.0
        if self.trained is not None:
            seen = self.trained.see(sample)
            costs, total = self.trained.costs(seen, roles), self.trained.total(seen)
            most = int(MOST_RATIO * int((roles.state == 1).sum()))
            count = max(_LEAST_NEGATIVES, Mining.of(self.recipe).least, most)
            hard, left = hardest(costs.background, ~(wanted | roles.covered), count)
            wanted = wanted.index_fill(0, hard, True)
        kept = wanted.nonzero().squeeze(1)
        best_iou, _ = best_anchors(self.found.anchors, *targets)
        positives = torch.bincount(roles.target[roles.state == 1], minlength=len(sample.labels))
        return Example(
            place,
            self.dataset.name(place),
            _picture(image, self.recipe),
            sample.boxes,
            sample.labels,
            sample.ignore,
            best_iou[0].numpy(),
            positives.numpy(),
            kept,
            roles.at(kept),
            least,
            costs and costs.at(kept),
            left,
            total,
        )

    def _least(self, roles: Roles) -> float:
        """Return the IoU from which on anchors are shown, never above the recipe's own thresholds."""
        near = roles.iou[roles.iou >= LEAST_IOU]
        if len(near) <= MOST_NEAR:
            return LEAST_IOU
        highest = float(near.topk(MOST_NEAR).values[-1])
        return max(min(highest, self.rule.negative), LEAST_IOU) if self.rule.by_iou else highest

    def _roles(self, targets: Targets) -> Roles:
        anchors, given = self.found.anchors, (targets.boxes, targets.labels)
        own = fixed = self.rule.match(anchors, *given, ignore=targets.ignore)
        if self.rule.by_iou:  # the force rule takes the same anchors at any threshold
            fixed = self.rule.match(anchors, *given, ignore=targets.ignore, positive=_NEVER, negative=_NEVER)
        near = match_iou(anchors, *given, ignore=targets.ignore, positive=_NEVER, negative=LEAST_IOU, force=None)
        always = fixed.state == 1
        return Roles(
            target=torch.where(always, fixed.gt_index, near.gt_index)[0],
            iou=torch.where(always, fixed.iou, near.iou)[0],
            fixed=always[0],
            covered=(fixed.state < 0)[0],
            state=own.state[0],
        )


def _picture(image: Decoded, recipe: Recipe) -> NDArray[np.uint8]:
    """Resize to at most 640 px a side, keeping the aspect ratio or padded as the input is."""
    if recipe.resize == "pad":
        return resample(image, InputSize(_MOST_PIXELS, "pad").whole(*image.size))
    picture = Image.fromarray(image.pixels)
    picture.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    return np.asarray(picture)

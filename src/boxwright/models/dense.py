"""Dense detectors: a network that scores K classes and codes a box at every anchor."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.models.detector import EVALUATION_SCORE, Detector
from boxwright.models.selection import best_pairs, class_scores, keep_best, limits
from boxwright.nms import NmsKind
from boxwright.types import DenseOutputs, Detections


class DenseDetector(Detector):
    """``net`` gives logits (B, A, K'), deltas (B, A, D), and centre-ness (B, A) where it says so."""

    def forward(self, images: Tensor, shown: Tensor | None = None) -> DenseOutputs:
        """Normalised input (B, 3, H, W) -> logits (B, A, K or K + 1), deltas (B, A, D), centreness (B, A) or None.

        What is ``shown`` makes no difference.
        """
        return DenseOutputs(*self.net(images))

    @torch.no_grad()
    def detect(
        self,
        outputs: DenseOutputs,
        *,
        size: tuple[int, int] | None = None,
        shown: Tensor | None = None,
        score: float = EVALUATION_SCORE,
        nms: NmsKind | None = None,
    ) -> list[Detections]:
        """Raw outputs of inputs of ``size`` (H, W; None: the recipe's square) -> the detections of each input, in its
        pixels, within what is ``shown``, of a score above ``score``.

        With centre-ness a score is the geometric mean of it and the class's: the order is that of FCOS's product
        (arXiv:1904.01355, section 3.3), the scale that of a score alone.
        """
        size = size or (self.recipe.image_size, self.recipe.image_size)
        anchors = self.anchors_of(size)
        maps = [level.count for level in anchors.levels]
        scores = class_scores(outputs.logits, self.softmax)
        if outputs.centreness is not None:
            scores = (scores * outputs.centreness.float().sigmoid().unsqueeze(-1)).sqrt()
        found = []
        for image, limit in enumerate(limits(shown, size, len(scores))):
            best, anchor, labels = best_pairs(scores[image], score, self.recipe, maps)
            boxes = self.coder.decode(anchors.boxes[anchor], outputs.deltas[image, anchor].float())
            found.append(keep_best(boxes, best, labels, limit, score, self.recipe, nms))
        return found

"""Dense detectors: networks that predict K class scores and an encoded box at every anchor."""

from __future__ import annotations

from torch import Tensor

from boxwright.models.detector import Detector
from boxwright.models.selection import best_pairs, class_scores, limits, nms_and_topk
from boxwright.nms import NmsKind
from boxwright.types import DenseOutputs, Detections


class DenseDetector(Detector):
    """Detector whose ``net`` returns logits (B, A, K'), deltas (B, A, D), and optionally centerness (B, A).

    With centerness a score is the geometric mean of it and the class's: the order is that of FCOS's product
    (arXiv:1904.01355, section 3.3), the scale that of a single score.
    """

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> DenseOutputs:
        """Compute logits (B, A, K or K + 1), deltas (B, A, D) and centerness (B, A) or None from input (B, 3, H, W).

        ``valid_size`` has no effect.
        """
        return DenseOutputs(*self.net(images))

    def scores(self, outputs: DenseOutputs) -> Tensor:
        """Compute scores (B, A, K) in 0..1, float32, from raw outputs."""
        scores = class_scores(outputs.logits, self.softmax)
        if outputs.centerness is None:
            return scores
        return (scores * outputs.centerness.float().sigmoid().unsqueeze(-1)).sqrt()

    def _detect(
        self, outputs: DenseOutputs, size: tuple[int, int], valid_size: Tensor | None, score: float, nms: NmsKind | None
    ) -> list[Detections]:
        anchors = self.anchors_of(size)
        maps = [level.count for level in anchors.levels]
        scores = self.scores(outputs)
        found = []
        for image, limit in enumerate(limits(valid_size, size, len(scores))):
            best, anchor, labels = best_pairs(scores[image], score, self.recipe, maps)
            boxes = self.coder.decode(anchors.boxes[anchor], outputs.deltas[image, anchor].float())
            found.append(nms_and_topk(boxes, best, labels, limit, score, self.recipe, nms))
        return found

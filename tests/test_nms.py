import pytest
import torch

from boxwright.nms import batched_nms


@pytest.mark.parametrize("kind", ["iou", "diou"])
def test_keeps_by_falling_score_within_classes(kind):
    boxes = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]]
    )
    scores = torch.tensor([0.5, 0.9, 0.4, 0.95])
    assert batched_nms(boxes, scores, torch.tensor([0, 0, 1, 0]), 0.5, kind).tolist() == [3, 1, 2]
    assert batched_nms(boxes[:0], scores[:0], scores[:0].long(), 0.5, kind).tolist() == []

import pytest
import torch

from boxwright.boxes import box_area, box_iou, clip_boxes, convert_boxes, paired_iou

KINDS = ["iou", "giou", "diou", "ciou"]


def test_closed_forms():
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    b = torch.tensor([[1.0, 0.0, 3.0, 2.0]])
    # intersection 2, union 6, enclosing 3 x 2 = 6, centres 1 apart, diagonal^2 = 13, same aspect
    assert paired_iou(a, b).item() == pytest.approx(1 / 3)
    assert paired_iou(a, b, "giou").item() == pytest.approx(1 / 3)
    assert paired_iou(a, b, "diou").item() == pytest.approx(1 / 3 - 1 / 13)
    assert paired_iou(a, b, "ciou").item() == pytest.approx(1 / 3 - 1 / 13)
    assert box_area(torch.tensor([1.0, 2.0, 4.0, 7.0])).item() == 15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (5, 3), (1, 4), (0, 4), (4, 0)])
def test_matrix_is_rows_first_and_equals_pairs(kind, rows, columns):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(rows + columns, 2, generator=generator) * 10
    boxes = torch.cat([corners, corners + torch.rand(rows + columns, 2, generator=generator) * 10], dim=1)
    targets, anchors = boxes[:rows], boxes[rows:]
    matrix = box_iou(targets, anchors, kind)
    assert matrix.shape == (rows, columns)
    for i in range(rows):
        for j in range(columns):
            assert matrix[i, j] == paired_iou(targets[i], anchors[j], kind)
    assert torch.equal(box_iou(targets[None].expand(2, -1, -1), anchors, kind)[1], matrix)


@pytest.mark.parametrize("source", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("target", ["xyxy", "xywh", "cxcywh"])
def test_conversions(source, target):
    forms = {"xyxy": [2.0, 4.0, 8.0, 6.0], "xywh": [2.0, 4.0, 6.0, 2.0], "cxcywh": [5.0, 5.0, 6.0, 2.0]}
    assert convert_boxes(torch.tensor(forms[source]), source, target).tolist() == forms[target]


def test_clip():
    boxes = torch.tensor([[-5.0, -6.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]])
    assert clip_boxes(boxes, (20, 10)).tolist() == [[0, 0, 10, 20], [1, 2, 3, 4]]

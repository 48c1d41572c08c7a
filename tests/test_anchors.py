from boxwright.anchors import AnchorSpec, make_anchors


def test_squares_lie_in_the_middle_of_every_cell():
    anchors = make_anchors(AnchorSpec.squares(strides=(8, 16), scale=4.0), (20, 33))
    assert [level.grid for level in anchors.levels] == [(3, 5), (2, 3)]
    assert len(anchors) == 15 + 6
    assert anchors.boxes[0].tolist() == [4 - 16, 4 - 16, 4 + 16, 4 + 16]
    assert anchors.boxes[1].tolist() == [12 - 16, 4 - 16, 12 + 16, 4 + 16]  # columns before rows
    assert anchors.boxes[15].tolist() == [8 - 32, 8 - 32, 8 + 32, 8 + 32]
    assert anchors.levels[1].shapes.tolist() == [[64, 64]]

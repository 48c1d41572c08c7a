"""Drawn boxes: where the ink lies, which colour it has, and that labels stay in the picture and off each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from boxwright import drawing

GREY = np.full((200, 300, 3), 128, np.uint8)


def tags(monkeypatch: pytest.MonkeyPatch, *arguments, **named) -> list[tuple[int, int, int, int]]:
    """The rectangles that the labels took, while drawing."""
    seen: list[list] = []
    label = drawing._label

    def spy(draw, text, place, colour, pen, taken):
        label(draw, text, place, colour, pen, taken)
        seen.append(taken)

    monkeypatch.setattr(drawing, "_label", spy)
    drawing.draw_detections(*arguments, **named)
    return seen[-1] if seen else []


def test_frame_is_on_the_box_and_the_image_is_left_alone() -> None:
    before = GREY.copy()
    picture = np.asarray(drawing.draw_detections(GREY, [[50, 60, 150, 140]], [2], [0.9], ["a", "b", "c"]))
    colour = drawing.class_colour(2)
    for y, x in ((60, 149), (139, 50), (139, 149), (100, 50), (100, 149), (139, 100)):
        assert tuple(picture[y, x]) == colour
    assert tuple(picture[100, 100]) == (128, 128, 128)
    changed = (picture != GREY).any(axis=-1)
    assert not changed[142:].any()
    assert not changed[:, :48].any()
    np.testing.assert_array_equal(GREY, before)


def test_targets_are_dashed_and_below() -> None:
    box = [[50.0, 60.0, 150.0, 140.0]]
    alone = np.asarray(drawing.draw_detections(GREY, np.zeros((0, 4)), [], [], ["a"], targets=box))
    edge = {tuple(pixel) for pixel in alone[60, 50:150]}
    assert edge == {drawing._DARK, drawing._LIGHT}
    both = np.asarray(drawing.draw_detections(GREY, box, [0], [0.5], ["a"], targets=box))
    assert tuple(both[139, 100]) == drawing.class_colour(0)


def test_scores_are_optional_and_change_the_text() -> None:
    with_score = np.asarray(drawing.draw_detections(GREY, [[50, 60, 150, 140]], [0], [0.5], ["a"]))
    without = np.asarray(drawing.draw_detections(GREY, [[50, 60, 150, 140]], [0], None, ["a"]))
    assert (with_score != without).any()


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (32, 32), (1500, 2000)])
def test_any_size_of_image(size: tuple[int, int]) -> None:
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    picture = drawing.draw_detections(image, [[0, 0, width, height]], [0], [0.25], ["a rather long class name"])
    assert picture.size == (width, height)


def test_text_grows_with_the_image() -> None:
    small, large = (drawing._pen(Image.new("RGB", (side, side))) for side in (320, 3200))
    assert large.width > 4 * small.width
    assert large.font.size > 4 * small.font.size


corner = st.floats(-50, 350)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(corner, corner, corner, corner), max_size=12))
def test_labels_stay_inside_whatever_the_boxes(boxes: list[tuple[float, ...]]) -> None:
    """Boxes partly or wholly outside, inverted or empty are drawn as far as they can be seen."""
    with pytest.MonkeyPatch.context() as patch:
        scores = np.linspace(1, 0, len(boxes))
        taken = tags(patch, GREY, np.array(boxes).reshape(-1, 4), [0] * len(boxes), scores, ["class"])
    for x1, y1, x2, y2 in taken:
        assert 0 <= x1 < x2 <= 300
        assert 0 <= y1 < y2 <= 200


def test_labels_do_not_cover_each_other_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [[60, 60, 200, 150], [60, 60, 200, 152], [61, 60, 201, 150]]
    taken = tags(monkeypatch, GREY, boxes, [0, 1, 2], [0.9, 0.8, 0.7], ["first", "second", "third"])
    assert len(taken) == 3
    for i, one in enumerate(taken):
        assert all(drawing._intersection(one, other) == 0 for other in taken[:i])


def test_the_lower_scored_label_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [[100, 100, 106, 106]] * 12
    scores = np.linspace(0.1, 0.9, 12)
    texts: list[str] = []
    write = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, xy, text, **k: (texts.append(text), write(self, xy, text, **k))
    )
    drawing.draw_detections(GREY, boxes, [0] * 12, scores, ["cell"])
    assert 1 < len(texts) < 12
    assert texts[0] == "cell  0.90"
    assert "cell  0.10" not in texts


def test_colours_are_stable_and_distinct() -> None:
    colours = [drawing.class_colour(label) for label in range(30)]
    assert colours == [drawing.class_colour(label) for label in range(30)]
    assert len(set(colours)) == 30
    first = np.array(colours[:10], dtype=float)
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1) + 1e9 * np.eye(10)
    assert apart.min() > 60


@pytest.mark.parametrize("label", range(60))
def test_text_contrast_meets_wcag_aa(label: int) -> None:
    colour = drawing.class_colour(label)
    low, high = sorted((drawing._luminance(colour), drawing._luminance(drawing.text_colour(colour))))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_luminance_of_known_colours() -> None:
    assert drawing._luminance((255, 255, 255)) == pytest.approx(1)
    assert drawing._luminance((0, 0, 0)) == 0
    assert drawing._luminance((255, 0, 0)) == pytest.approx(0.2126)


def test_contact_sheet_keeps_aspect_and_order() -> None:
    images = [
        Image.new("RGB", size, colour) for size, colour in (((40, 20), "red"), ((20, 40), "lime"), ((9, 9), "blue"))
    ]
    sheet = np.asarray(drawing.contact_sheet(images, 2, cell=80))
    assert sheet.shape == (4 + 80 + 4 + 80 + 4, 4 + 80 + 4 + 80 + 4, 3)
    pure = {(255, 0, 0): 80 * 40, (0, 255, 0): 40 * 80, (0, 0, 255): 80 * 80}
    for colour, count in pure.items():
        assert (sheet == colour).all(axis=-1).sum() == count
    assert tuple(sheet[44, 44]) == (255, 0, 0)
    assert tuple(sheet[44, 128]) == (0, 255, 0)
    assert tuple(sheet[128, 44]) == (0, 0, 255)


@pytest.mark.parametrize(
    ("image", "boxes", "labels", "scores"),
    [
        (GREY[..., 0], [], [], []),
        (GREY.astype(np.float32), [], [], []),
        (GREY, [[0, 0, 5, 5]], [0, 1], [0.5]),
        (GREY, [[0, 0, 5, 5]], [0], [0.5, 0.6]),
        (GREY, [[0, 0, 5, 5]], [2], [0.5]),
        (GREY, [[0, 0, 5, 5]], [-1], [0.5]),
    ],
)
def test_bad_input(image, boxes, labels, scores) -> None:
    with pytest.raises(ValueError, match="Expected"):
        drawing.draw_detections(image, boxes, labels, scores, ["a", "b"])


def test_contact_sheet_of_nothing() -> None:
    with pytest.raises(ValueError, match="0 images"):
        drawing.contact_sheet([], 3)


@pytest.mark.parametrize("name", ["\udce9", "a\0b\x1b[31m", "two\nlines", "x" * 100_000, "", "猫\u202e"])
def test_names_of_any_kind_make_one_short_label(name: str) -> None:
    image = np.zeros((300, 400, 3), np.uint8)

    def height(text: str) -> int:
        drawn = np.asarray(drawing.draw_detections(image, [[50, 100, 350, 250]], [0], None, [text]))
        return 100 - int(drawn.any((1, 2)).argmax())

    assert height(name) < 1.5 * height("x")
    assert len(drawing._shown(name)) <= 60

"""Drawn boxes: where the ink lies, which color it has, and that labels stay in the picture and off each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from boxwright import drawing

GREY = np.full((400, 600, 3), 128, np.uint8)


def tags(monkeypatch: pytest.MonkeyPatch, *arguments, **named) -> list[tuple[int, int, int, int]]:
    """The rectangles that the labels took, while drawing."""
    seen: list[tuple[int, int, int, int]] = []
    write = drawing._write

    def spy(draw, tag, spot, color, pen):
        seen.append(spot)
        write(draw, tag, spot, color, pen)

    monkeypatch.setattr(drawing, "_write", spy)
    drawing.draw_detections(*arguments, **named)
    return seen


def shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def test_frame_is_on_the_box_and_the_image_is_left_alone() -> None:
    before = GREY.copy()
    picture = np.asarray(drawing.draw_detections(GREY, [[50, 60, 150, 140]], [2], [0.9], ["a", "b", "c"]))
    color = drawing.class_color(2)
    for y, x in ((60, 149), (139, 50), (139, 149), (100, 50), (100, 149), (139, 100)):
        assert tuple(picture[y, x]) == color
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
    assert tuple(both[139, 100]) == drawing.class_color(0)


def test_scores_are_optional_and_change_the_text() -> None:
    with_score = np.asarray(drawing.draw_detections(GREY, [[50, 60, 150, 140]], [0], [0.5], ["a"]))
    without = np.asarray(drawing.draw_detections(GREY, [[50, 60, 150, 140]], [0], None, ["a"]))
    assert (with_score != without).any()


@pytest.mark.parametrize(
    ("size", "factor"),
    [((1, 1), 400), ((8, 300), 2), ((32, 32), 13), ((399, 200), 2), ((400, 9), 1), ((1500, 2000), 1)],
)
def test_small_images_are_enlarged_and_boxes_with_them(size: tuple[int, int], factor: int) -> None:
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    picture = drawing.draw_detections(image, [[0, 0, 1, 1]], [2], None, ["", "", "x"])
    assert picture.width == factor * width
    assert factor * height <= picture.height <= factor * height + 60, "a strip for the label at most"


def test_boxes_are_enlarged_with_the_image() -> None:
    image = np.zeros((100, 80, 3), np.uint8)
    picture = np.asarray(drawing.draw_detections(image, [[10, 20, 50, 60]], [0], None, ["a"]))
    blue = (picture == drawing.class_color(0)).all(-1)
    assert picture.shape == (400, 320, 3)
    assert blue[80:240, 40].all()
    assert blue[80:240, 199].all()
    assert blue[239, 40:200].all()
    assert not blue[82:238, 42:198].any()


def test_a_box_that_fills_the_picture_has_its_label_in_a_strip_above(monkeypatch: pytest.MonkeyPatch) -> None:
    spots = tags(monkeypatch, GREY, [[0, 0, 600, 400], [100, 100, 200, 200]], [0, 0], [0.9, 0.8], ["class"])
    picture = drawing.draw_detections(GREY, [[0, 0, 600, 400]], [0], [0.9], ["class"])
    strip = picture.height - 400
    assert spots[0] == (0, 0, spots[0][2], strip)
    assert 10 < strip < 40
    assert spots[1][1] > strip + 50, "where there is room a label stays beside its box"
    assert drawing.draw_detections(GREY, [[0, 20, 600, 400]], [0], [0.9], ["class"]).height == 400


def test_of_boxes_of_one_class_on_one_object_the_best_is_drawn() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [0, 0, 10, 4.9], [20, 20, 20, 20], [20, 20, 20, 20]]
    labels, scores = [0, 0, 1, 0, 0, 0], [0.5, 0.9, 0.4, 0.8, 0.1, 0.2]
    assert drawing.distinct(boxes, labels, scores).tolist() == [1, 2, 5, 4]
    a = np.asarray(drawing.draw_detections(GREY, [[50, 60, 150, 140]], [0], [0.9], ["a"]))
    twice = [[50, 60, 150, 140], [52, 60, 152, 140]]
    np.testing.assert_array_equal(a, np.asarray(drawing.draw_detections(GREY, twice, [0, 0], [0.9, 0.5], ["a"])))
    both = np.asarray(drawing.draw_detections(GREY, twice, [0, 0], None, ["a"]))
    assert (both != np.asarray(drawing.draw_detections(GREY, twice[:1], [0], None, ["a"]))).any(), "truth is all drawn"


def test_text_grows_with_the_image() -> None:
    small, large = (drawing._pen(Image.new("RGB", (side, side))) for side in (320, 3200))
    assert large.width > 4 * small.width
    assert large.font.size > 4 * small.font.size


corner = st.floats(-50, 650)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(corner, corner, corner, corner), max_size=12))
def test_labels_stay_inside_and_off_their_box_whatever_the_boxes(boxes: list[tuple[float, ...]]) -> None:
    """Boxes partly or wholly outside, inverted or empty are drawn as far as they can be seen."""
    with pytest.MonkeyPatch.context() as patch:
        drawn: list[tuple[int, int, int, int]] = []
        outline = drawing._outline
        patch.setattr(
            drawing, "_outline", lambda draw, place, *rest: (drawn.append(place), outline(draw, place, *rest))
        )
        taken = tags(patch, GREY, np.array(boxes).reshape(-1, 4), list(range(len(boxes))), None, ["class"] * 12)
    for x1, y1, x2, y2 in taken:
        assert 0 <= x1 < x2 <= 600
        assert 0 <= y1 < y2 <= 440
    if len(taken) == len(drawn):
        assert all(shared(tag, box) == 0 for tag, box in zip(taken, reversed(drawn), strict=True))


def test_labels_do_not_cover_each_other_or_other_boxes_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [[60, 60, 200, 150]] * 3
    taken = tags(monkeypatch, GREY, boxes, [0, 1, 2], [0.9, 0.8, 0.7], ["first", "second", "third"])
    assert len(taken) == 3
    for i, one in enumerate(taken):
        assert all(shared(one, other) == 0 for other in [*taken[:i], *boxes])


def test_the_lower_scored_label_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [[100, 100, 106, 106]] * 12
    scores = np.linspace(0.1, 0.9, 12)
    texts: list[str] = []
    write = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, xy, text, **k: (texts.append(text), write(self, xy, text, **k))
    )
    drawing.draw_detections(GREY, boxes, list(range(12)), scores, ["cell"] * 12)
    assert 1 < len(texts) < 12
    assert texts[0] == "cell  0.90"
    assert "cell  0.10" not in texts


def test_colors_are_stable_and_distinct() -> None:
    colors = [drawing.class_color(label) for label in range(30)]
    assert colors == [drawing.class_color(label) for label in range(30)]
    assert len(set(colors)) == 30
    first = np.array(colors[:10], dtype=float)
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1) + 1e9 * np.eye(10)
    assert apart.min() > 60


@pytest.mark.parametrize("label", range(60))
def test_text_contrast_meets_wcag_aa(label: int) -> None:
    color = drawing.class_color(label)
    low, high = sorted((drawing._luminance(color), drawing._luminance(drawing.text_color(color))))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_luminance_of_known_colors() -> None:
    assert drawing._luminance((255, 255, 255)) == pytest.approx(1)
    assert drawing._luminance((0, 0, 0)) == 0
    assert drawing._luminance((255, 0, 0)) == pytest.approx(0.2126)


def test_contact_sheet_keeps_aspect_and_order() -> None:
    images = [
        Image.new("RGB", size, color) for size, color in (((40, 20), "red"), ((20, 40), "lime"), ((9, 9), "blue"))
    ]
    sheet = np.asarray(drawing.contact_sheet(images, 2, cell=80))
    assert sheet.shape == (4 + 80 + 4 + 80 + 4, 4 + 80 + 4 + 80 + 4, 3)
    pure = {(255, 0, 0): 80 * 40, (0, 255, 0): 40 * 80, (0, 0, 255): 80 * 80}
    for color, count in pure.items():
        assert (sheet == color).all(axis=-1).sum() == count
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


def test_boxes_have_the_colors_that_they_are_given() -> None:
    boxes = [[50, 60, 150, 140], [250, 60, 350, 140]]
    picture = np.asarray(drawing.draw_detections(GREY, boxes, [0, 0], None, ["a"], colors=[(255, 0, 0), (0, 255, 0)]))
    assert tuple(picture[139, 149]) == (255, 0, 0)
    assert tuple(picture[139, 349]) == (0, 255, 0)

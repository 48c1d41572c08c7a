from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from boxwright.data.upright import orientation, turn, turn_back, turn_boxes


@pytest.mark.parametrize("turned", range(1, 9))
def test_pixels_turn_as_pillow_turns_them(turned: int) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = turned
    upright = turn(stored, turned)
    np.testing.assert_array_equal(upright, np.asarray(ImageOps.exif_transpose(image)))
    np.testing.assert_array_equal(turn_back(upright, turned), stored)
    assert upright.flags.c_contiguous


@given(turned=st.integers(1, 8), x=st.integers(0, 4), y=st.integers(0, 6), w=st.integers(1, 4), h=st.integers(1, 6))
def test_boxes_turn_with_the_pixels_in_them(turned: int, x: int, y: int, w: int, h: int) -> None:
    stored = np.zeros((13, 9), np.uint8)
    stored[y : y + h, x : x + w] = 1
    box = np.array([[x, y, x + w, y + h]], np.float64)
    moved = turn_boxes(box, np.array([turned]), np.array([[13, 9]]))[0].astype(int)
    rows, columns = np.nonzero(turn(stored, turned))
    assert moved.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_an_inverted_box_stays_inverted() -> None:
    for turned in range(1, 9):
        x1, y1, x2, y2 = turn_boxes(np.array([[5.0, 1, 2, 4]]), np.array([turned]), np.array([[13, 9]]))[0]
        assert (x2 < x1) != (y2 < y1)


@pytest.mark.parametrize("written", [0, 9, 65537, -1, "6", b"6", (6, 1), (6,), None, 2.5, float("nan"), [6]])
def test_what_is_no_orientation_is_upright(written: object) -> None:
    assert orientation(written) == 1

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from boxwright.data.depth import extent, sample, span, to_eight_bits


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (0, 65535, np.uint16),
        (0, 4095, np.uint16),  # 12 bits in 16
        (7000, 7300, np.uint16),
        (-1000, 3000, np.int16),  # Hounsfield
        (-1000, 3000, np.int32),
        (290.0, 310.5, np.float32),  # kelvin
        (0.0, 1.0, np.float32),
        (-1e-4, 1e-4, np.float32),
    ],
)
def test_no_level_is_lost_wherever_the_values_lie(low: float, high: float, kind: type) -> None:
    ramp = np.linspace(low, high, 96)[None].repeat(64, 0).astype(kind)
    eight = to_eight_bits(ramp, None)
    assert eight.shape == (64, 96, 3)
    assert (eight[0, 0, 0], eight[0, -1, 2]) == (0, 255)
    assert len(np.unique(eight)) == 96
    assert (np.diff(eight[0, :, 0].astype(int)) > 0).all()


def test_given_limits_cut_what_is_beyond() -> None:
    values = np.array([[-5.0, 0, 51, 100, 900, np.nan, np.inf, -np.inf]])
    assert to_eight_bits(values, (0.0, 100.0))[0, :, 0].tolist() == [0, 0, 130, 255, 255, 0, 255, 0]


def test_hot_pixels_and_dead_ones_do_not_hide_the_rest() -> None:
    ramp = np.linspace(0, 4095, 96)[None].repeat(64, 0).astype(np.uint16)
    ramp[3, 5], ramp[60, 90] = 65535, 0
    assert len(np.unique(to_eight_bits(ramp, None))) >= 96


def test_a_thing_smaller_than_the_tails_is_still_seen() -> None:
    dark = np.full((200, 200), 100, np.uint16)
    dark[50:54, 60:64] = 140
    assert to_eight_bits(dark, None)[51, 61].tolist() == [255] * 3
    assert to_eight_bits(dark, None)[0, 0].tolist() == [0] * 3


def test_equal_values_and_none_at_all_are_black() -> None:
    for values in (np.full((4, 5), 200, np.uint16), np.full((4, 5), np.nan), np.zeros((0, 5), np.uint16)):
        assert span(values) is None
        eight = to_eight_bits(values, None)
        assert eight.shape == (*values.shape, 3)
        assert not eight.any()
    assert extent(np.full((4, 5), np.nan)) == (0.0, 0.0)


def test_colors_share_one_range_and_alpha_is_dropped() -> None:
    colors = np.zeros((2, 2, 4), np.uint16)
    colors[0, 0] = (1000, 500, 0, 65535)
    assert to_eight_bits(colors, None)[0, 0].tolist() == [255, 128, 0]
    gray = np.array([[0, 10], [20, 30]], np.uint16)
    np.testing.assert_array_equal(to_eight_bits(gray[..., None], None), to_eight_bits(gray, None))


@given(arrays.arrays(np.float32, (6, 5), elements=st.floats(width=32)))
def test_any_floats_become_eight_bits_in_their_order(values: np.ndarray) -> None:
    eight = to_eight_bits(values, None)[..., 0].ravel()
    known = np.isfinite(values.ravel())
    order = np.argsort(values.ravel()[known], kind="stable")
    assert (np.diff(eight[known][order].astype(int)) >= 0).all()


def test_a_sample_of_a_large_image_is_small() -> None:
    assert 30_000 < sample(np.zeros((3000, 2000), np.uint16), 40_000).size < 60_000

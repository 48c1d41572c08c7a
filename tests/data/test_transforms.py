"""Augmentation: boxes go where their pixels go, and nothing about a box can stop a training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from boxwright.data.decoded import Decoded
from boxwright.data.transforms import FILL, Augmentation, Frame, InputSize, Resize, keep_visible, resample

SIZE = 64


def marked_image(height: int, width: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Black, with a white rectangle."""
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


def bright_box(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where the image is white."""
    rows, columns = np.nonzero(image[..., 0] > 180)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)


@pytest.mark.parametrize("kind", ["none", "light"])
@pytest.mark.parametrize("resize", ["squash", "pad", "shortest"])
@pytest.mark.parametrize("seed", range(12))
def test_boxes_follow_the_pixels(kind: str, resize: Resize, seed: int) -> None:
    box = (40, 30, 90, 70)
    augmentation = Augmentation(kind, "both" if kind == "light" else "none")  # type: ignore[arg-type]
    image, boxes, kept = augmentation(
        Decoded.whole(marked_image(120, 160, box)),
        np.array([box], np.float32),
        InputSize(128, resize),
        np.random.default_rng(seed),
    )
    assert kept.tolist() == [0]
    np.testing.assert_allclose(boxes[0], bright_box(image), atol=1.6)


def test_the_shorter_side_is_given_and_the_longer_limited() -> None:
    size = InputSize(800, "shortest", 1333)
    assert size.whole(480, 640).size == (800, 1066)
    assert size.whole(640, 480).size == (1066, 800)
    assert size.whole(400, 1000).size == (533, 1333)  # 800 x 2000 would be too long
    assert size.whole(1, 5000).size == (1, 1333)


def test_frame_maps_there_and_back() -> None:
    frame = InputSize(SIZE, "pad").whole(100, 200)
    boxes = np.array([[0, 0, 200, 100], [50, 20, 60, 90]], np.float32)
    np.testing.assert_allclose(frame.to_input(boxes)[0], [0, SIZE / 4, SIZE, 3 * SIZE / 4])
    np.testing.assert_allclose(frame.to_image(frame.to_input(boxes)), boxes, atol=1e-4)


def test_mirroring_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    mirrored = resample(Decoded.whole(image), Frame(0, 0, SIZE, SIZE, (SIZE, SIZE), mirror_x=True))
    np.testing.assert_array_equal(mirrored, image[:, ::-1])
    boxes = Frame(0, 0, SIZE, SIZE, (SIZE, SIZE), mirror_x=True).to_input(np.array([[1, 2, 10, 20]], np.float32))
    np.testing.assert_array_equal(boxes, [[SIZE - 10, 2, SIZE - 1, 20]])


def test_outside_of_the_image_is_gray() -> None:
    out = resample(Decoded.whole(np.zeros((SIZE, SIZE, 3), np.uint8)), Frame(-SIZE, 0, SIZE, SIZE, (SIZE, SIZE)))
    assert (out[:, : SIZE // 2] == FILL).all()
    assert (out[:, SIZE // 2 :] == 0).all()


def test_a_frame_wholly_outside_is_all_gray() -> None:
    assert (
        resample(Decoded.whole(np.zeros((8, 8, 3), np.uint8)), Frame(100, 100, 120, 120, (SIZE, SIZE))) == FILL
    ).all()


def test_hidden_boxes_go_and_their_labels_with_them() -> None:
    boxes = np.array([[-90, 0, 10, 50], [0, 0, 20, 20], [63, 0, 90, 64], [np.nan, 0, 5, 5]], np.float32)
    clipped, kept = keep_visible(boxes, (SIZE, SIZE))
    assert kept.tolist() == [1]
    np.testing.assert_array_equal(clipped, [[0, 0, 20, 20]])
    assert keep_visible(boxes, (SIZE, SIZE), drop_hidden=False)[1].tolist() == [0, 1, 2]
    a_quarter_and_a_third = np.array([[-75, 0, 25, 50], [-65, 0, 35, 50]], np.float32)
    assert keep_visible(a_quarter_and_a_third, (SIZE, SIZE))[1].tolist() == [1]


numbers = st.floats(-1e6, 1e6, width=32) | st.sampled_from([float("nan"), float("inf"), 0.0])


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=4),
    kind=st.sampled_from(["none", "light", "ssd"]),
    seed=st.integers(0, 1000),
    shape=st.sampled_from([(1, 1), (3, 200), (50, 40)]),
)
def test_odd_boxes_never_raise(boxes: list[tuple[float, ...]], kind: str, seed: int, shape: tuple[int, int]) -> None:
    image = Decoded.whole(np.zeros((*shape, 3), np.uint8))
    array = np.array(boxes, np.float32).reshape(-1, 4)
    shown, moved, kept = Augmentation(kind, "both")(image, array, InputSize(32), np.random.default_rng(seed))  # type: ignore[arg-type]
    assert shown.shape == (32, 32, 3)
    assert len(moved) == len(kept)
    assert np.isfinite(moved).all()
    assert ((moved >= 0) & (moved <= 32)).all()
    assert (moved[:, 2:] > moved[:, :2]).all()


def test_ssd_crops_keep_a_box_and_zoom_out_shrinks() -> None:
    box = np.array([[40, 30, 90, 70]], np.float32)
    image = Decoded.whole(marked_image(120, 160, (40, 30, 90, 70)))
    areas = []
    for seed in range(60):
        _, moved, kept = Augmentation("ssd", "none")(image, box, InputSize(SIZE), np.random.default_rng(seed))
        if len(kept):
            areas.append(float((moved[0, 2:] - moved[0, :2]).prod()))
    whole = 50 * 40 / (160 * 120) * SIZE**2
    assert len(areas) >= 50
    assert min(areas) < whole / 4
    assert max(areas) > whole * 2

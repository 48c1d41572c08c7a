"""The detector: shapes, what predict takes, and boxes in pixels of the image that was given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import boxwright as bw
from boxwright.data import decode_image
from boxwright.data.inputs import as_rgb
from boxwright.errors import DataError, RecipeError
from boxwright.models import DenseDetector
from boxwright.types import DenseOutputs


@pytest.fixture(scope="module")
def detector() -> DenseDetector:
    torch.manual_seed(0)
    return bw.create_detector("lite320", 3, image_size=96, pretrained=False, freeze=0, width=32).eval()


def test_forward_gives_one_row_an_anchor(detector: DenseDetector) -> None:
    outputs = detector(torch.zeros(2, 3, 96, 96))
    anchors = 12 * 12 + 6 * 6 + 3 * 3
    assert outputs.logits.shape == (2, anchors, 3)
    assert outputs.deltas.shape == (2, anchors, 4 * 17)
    assert detector.anchors.boxes.shape == (anchors, 4)


def test_an_untrained_head_says_nothing_and_its_anchor(detector: DenseDetector) -> None:
    outputs = detector(torch.zeros(1, 3, 96, 96))
    assert outputs.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.2)
    boxes = detector.coder.decode(detector.anchors.boxes, outputs.deltas[0])
    center = boxes[:, :2] + boxes[:, 2:]
    expected = detector.anchors.boxes[:, :2] + detector.anchors.boxes[:, 2:]
    assert (center - expected).abs().max() < 20  # the head starts near its bias


def test_one_known_output_becomes_one_known_detection(detector: DenseDetector) -> None:
    target = torch.tensor([20.0, 30, 60, 70])
    logits = torch.full((1, len(detector.anchors), 3), -20.0)
    deltas = detector.coder.encode(detector.anchors.boxes, target.expand(len(detector.anchors), 4))[None]
    nearest = int(((detector.anchors.boxes.view(-1, 2, 2).mean(1) - torch.tensor([40.0, 50])).norm(dim=1)).argmin())
    logits[0, nearest, 2] = 3.0
    found = detector.detect(DenseOutputs(logits, deltas), score=0.3)[0]
    assert found.labels.tolist() == [2]
    assert found.scores.item() == pytest.approx(torch.tensor(3.0).sigmoid().item())
    torch.testing.assert_close(found.boxes[0], target, atol=1e-2, rtol=0)


def test_every_kind_of_image_gives_the_same(detector: DenseDetector, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    kinds = [
        array,
        tensor,
        tensor / 255,
        array / 255,
        Image.fromarray(array),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
    ]
    reference = detector.predict(array, score=0.0)[0]
    assert len(reference.boxes) > 0
    assert reference.boxes[:, 2].max() <= 70
    assert reference.boxes[:, 3].max() <= 50
    for kind in kinds:
        for got in (*detector.predict(kind, score=0.0), *detector.predict([kind], score=0.0)):
            torch.testing.assert_close(got, reference)
    assert len(detector.predict(torch.stack([tensor, tensor]))) == 2
    assert detector.predict([]) == []
    assert (reference.scores.diff() <= 0).all()


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_detections_lie_in_pixels_of_the_image(resize: str) -> None:
    """A white square on black is where the edges are, whatever the image's size and aspect."""
    detector = bw.create_detector("lite320", 1, image_size=96, pretrained=False, freeze=0, width=32, resize=resize)
    size = (200, 300)
    boxes = detector.predict(np.zeros((*size, 3), np.uint8), score=0.0)[0].boxes
    assert (boxes[:, :2] >= 0).all()
    assert boxes[:, 2].max() <= 300
    assert boxes[:, 3].max() <= 200
    assert boxes[:, 2].max() > 200  # x is stretched by 300, not by 96 or 200


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 5, 6), np.uint8), r"Expected numpy \(H, W, 3\).* but got \(3, 5, 6\) as numpy \(H, W, 3\)"),
        (torch.zeros(5, 6, 3), r"but got \(5, 6, 3\) as torch \(3, H, W\)"),
        (torch.zeros(3), r"but got \(3,\) as torch"),
        (np.zeros((1, 5, 6, 3), np.uint8), r"but got \(1, 5, 6, 3\) as numpy"),
        (np.zeros((5, 6, 5), np.uint8), r"but got \(5, 6, 5\) as numpy"),
        (np.zeros((0, 5, 3), np.uint8), "Expected an image with pixels but got 0 rows and 5 columns"),
        (np.zeros((5, 0)), "but got 5 rows and 0 columns"),
        (torch.zeros(3, 0, 0), "but got 0 rows and 0 columns"),
        (Image.new("RGB", (0, 4)), "but got 4 rows and 0 columns"),
        (np.full((4, 4, 3), 255.0), r"16 bits or float in 0\.\.1 but got float64 in 255\.0\.\.255\.0: divide by 255$"),
        (np.full((4, 4, 3), -0.5), r"but got float64 in -0\.5\.\.-0\.5$"),
        (torch.full((3, 4, 4), float("nan")), r"but got float32 in nan\.\.nan$"),
        (np.full((4, 4), np.inf, np.float32), r"but got float32 in inf\.\.inf$"),
        (np.full((4, 4, 3), 7), r"but got int64 in 7\.\.7$"),
        (np.zeros((4, 4), bool), r"but got bool in False\.\.False$"),
        (7, r"Expected an image: a path, PIL, numpy \(H, W, 3\) or torch \(3, H, W\) but got int"),
        (None, "but got NoneType"),
    ],
)
def test_what_is_no_image_is_refused(image: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_rgb(image)


RANDOM = np.random.default_rng(0)
DEEP = RANDOM.integers(0, 40_000, (40, 60), np.uint16)
RGB = RANDOM.integers(0, 256, (40, 60, 3), np.uint8)
SAME_AS_THE_FILE = {
    "gray": RGB[..., 0],
    "gray and alpha": RGB[..., :2],
    "RGB": RGB,
    "RGBA": np.dstack([RGB, RGB[..., :1]]),
    "16 bits": DEEP,
}


@pytest.mark.parametrize("kind", SAME_AS_THE_FILE)
def test_arrays_are_read_as_their_files(kind: str, tmp_path: Path) -> None:
    """Whatever the order of the axes, and as floats too."""
    array = SAME_AS_THE_FILE[kind]
    Image.fromarray(array).save(tmp_path / "a.png")
    expected = decode_image(tmp_path / "a.png")
    assert expected.shape == (40, 60, 3)
    channels = array if array.ndim == 3 else array[..., None]
    torch_order = torch.from_numpy(np.ascontiguousarray(np.moveaxis(channels, -1, 0)))
    for same in (array, channels, torch_order, Image.fromarray(array), array[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(as_rgb(same), expected)
    if array.dtype == np.uint8:
        for floats in (array / 255, torch_order / 255, torch_order.double() / 255):
            np.testing.assert_allclose(as_rgb(floats), expected, atol=1e-4)
        np.testing.assert_allclose(as_rgb((torch_order / 255).bfloat16()), expected, atol=1)
    else:
        np.testing.assert_array_equal(as_rgb(torch_order[0]), expected)


def test_mirrored_views_are_no_matter_to_torch() -> None:
    """As cv2's pictures are given: image[..., ::-1]."""
    for view in (RGB[..., ::-1], RGB[::-1], DEEP[:, ::-1]):
        torch.from_numpy(as_rgb(view))
    np.testing.assert_array_equal(as_rgb(RGB[..., ::-1]), RGB[..., ::-1])


def test_predict_takes_what_files_hold(detector: DenseDetector, tmp_path: Path) -> None:
    for kind, array in SAME_AS_THE_FILE.items():
        Image.fromarray(array).save(tmp_path / f"{kind}.png")
        expected = detector.predict(tmp_path / f"{kind}.png", score=0.0)
        torch.testing.assert_close(detector.predict(array, score=0.0), expected)
        torch.testing.assert_close(detector.predict([array, array], score=0.0), expected * 2)
    assert detector.predict(torch.zeros(0, 3, 8, 8)) == []
    assert len(detector.predict(torch.zeros(2, 1, 8, 8))) == 2
    with pytest.raises(ValueError, match="with pixels"):
        detector.predict([RGB, RGB[:0]])


def test_a_missing_file_is_named(detector: DenseDetector, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jpg"):
        detector.predict(tmp_path / "nowhere.jpg")


def test_folded_copy_detects_the_same(detector: DenseDetector) -> None:
    image = np.random.default_rng(1).integers(0, 256, (96, 96, 3), np.uint8)
    plain, folded = detector.predict(image, score=0.0)[0], detector.for_inference().predict(image, score=0.0)[0]
    torch.testing.assert_close(plain.scores, folded.scores, atol=1e-4, rtol=0)


def test_options_are_recipe_keys() -> None:
    names = "auto faster-rcnn lite320 nano416 retinanet ssd300 ssd300-pool ssd300-tf ssd512 ssdlite300"
    assert bw.list_detectors() == [*names.split(), "tiny-detector", "unitbox"]
    with pytest.raises(RecipeError, match="did you mean 'width'"):
        bw.create_detector("lite320", 3, widht=3)
    with pytest.raises(RecipeError, match="3 class names but got 2"):
        bw.create_detector("lite320", 3, classes=["a", "b"])


def test_softmax_heads_have_a_background_that_users_never_see() -> None:
    detector = bw.create_detector(
        "lite320", 2, image_size=64, pretrained=False, freeze=0, width=32, class_loss="cross_entropy",
        box_loss="smooth_l1", coder="delta", matcher="iou", miner="hard_negatives", normalizer="positives",
    )  # fmt: skip
    outputs = detector(torch.zeros(1, 3, 64, 64))
    assert outputs.logits.shape[-1] == 3
    assert outputs.deltas.shape[-1] == 4
    found = detector.predict(np.zeros((64, 64, 3), np.uint8), score=0.0)[0]
    assert set(found.labels.tolist()) <= {0, 1}

"""SSDLite300: its maps, heads and limits; tests/starts holds it to the published graph."""

from __future__ import annotations

import pytest
import torch

import boxwright as bw
from boxwright.errors import RecipeError

SCRATCH = {"pretrained": False}


@pytest.mark.parametrize(("class_loss", "columns"), [("binary_cross_entropy", 3), ("cross_entropy", 4)])
def test_outputs_are_one_row_an_anchor(class_loss: str, columns: int) -> None:
    detector = bw.create_detector("ssdlite300", 3, class_loss=class_loss, **SCRATCH).eval()
    maps = []
    for stage in detector.net.stages:
        stage.register_forward_hook(lambda module, given, made: maps.append(made.shape[-1]))
    with torch.no_grad():
        found = detector(torch.randn(1, 3, 300, 300))
    assert maps == [5, 3, 2, 1]
    assert found.logits.shape == (1, 1917, columns)
    assert found.deltas.shape == (1, 1917, 4)
    if columns == 3:  # an untrained head says "nothing here", and a box like its anchor
        assert found.logits.sigmoid().mean() < 0.03
    assert found.deltas.abs().mean() < 1


def test_any_backbone_with_maps_of_strides_16_and_32() -> None:
    detector = bw.create_detector("ssdlite300", 1, backbone="tf_efficientnet_lite0", **SCRATCH).eval()
    with torch.no_grad():
        assert detector(torch.zeros(1, 3, 300, 300)).deltas.shape == (1, 1917, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 320}, "ssdlite300 has image_size 300 and anchors on maps of 19, 10, 5, 3, 2 and 1"),
        ({"anchors": "ssd300"}, "19, 10, 5, 3, 2 and 1 cells a side: 300, ssd300"),
        ({"resize": "shortest"}, "resize can be squash or pad but not shortest"),
        ({"backbone": "mobilenetv2_ssdlite:wide=perhaps"}, "Expected wide of backbone"),
    ],
)
def test_what_it_can_t_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        bw.create_detector("ssdlite300", 1, **SCRATCH, **options)


def test_everything_learns() -> None:
    detector = bw.create_detector("ssdlite300", 1, **SCRATCH)
    found = detector(torch.randn(2, 3, 300, 300))
    (found.logits.square().sum() + found.deltas.square().sum()).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in detector.parameters())


def test_a_copy_for_inference_does_the_same() -> None:
    torch.manual_seed(0)
    detector = bw.create_detector("ssdlite300", 1, **SCRATCH).eval()
    images = torch.randn(1, 3, 300, 300)
    with torch.no_grad():
        for was, now in zip(detector(images)[:2], detector.for_inference()(images)[:2], strict=True):
            torch.testing.assert_close(now, was, rtol=1e-4, atol=1e-4)

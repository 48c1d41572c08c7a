"""CPU time of a prediction from JPEG file to boxes, against torchvision's ssdlite320 and, where installed, yolov8n.

    python benchmarks/predict.py [--data FOLDER] [--images 16] [--batch 8]

Networks for 3 classes, untrained, at 320 px (yolov8n squashed), on the same files: one at a time, and in batches. All
sides get the same two lines: weights and input in channels_last, and the C library told to keep large blocks. The peers
decode as we do; what follows their network is their own. Score .3 is what people look at, of which an untrained network
finds next to nothing; at .001, which evaluation goes by, ssdlite320's NMS has 900 candidates (3 classes x 300) and ours
1,000. "As trained" is lite320 without what ``for_inference`` does; bf16 is left out on processors without it.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from peers import has_yolov8n, yolov8n
from PIL import Image
from torch import Tensor
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from turns import Call, Row, arguments, compare, run

import boxwright as bw
from boxwright._util.allocator import keep_large_blocks
from boxwright.data import decode_image
from boxwright.demo_data import make_digits
from boxwright.models import Detector
from boxwright.runs.predict import find_images
from boxwright.training.precision import bf16_available

CLASSES = 3


def ours(detector: Detector, files: Sequence[Path], batch: int, score: float) -> Call:
    return lambda: [detector.predict(part, score=score, batch=batch) for part in _parts(files, batch)]


def ssdlite320(files: Sequence[Path], batch: int, score: float) -> Call:
    torch.manual_seed(0)
    peer = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, score_thresh=score, detections_per_img=100
    )
    peer = peer.eval().to(memory_format=torch.channels_last)
    return _over(files, batch, lambda part: peer([_whole(file) for file in part]))


def yolov8n_and_nms(files: Sequence[Path], batch: int, score: float) -> Call:
    from ultralytics.utils.nms import non_max_suppression

    torch.manual_seed(0)
    peer = yolov8n(CLASSES).eval().fuse(verbose=False).to(memory_format=torch.channels_last)

    def predict(part: Sequence[Path]) -> object:
        images = torch.stack([_squashed(file) for file in part]).contiguous(memory_format=torch.channels_last)
        return non_max_suppression(peer(images)[0], score, 0.7, max_det=100)

    return _over(files, batch, predict)


def _over(files: Sequence[Path], batch: int, predict: Callable[[Sequence[Path]], object]) -> Call:
    def call() -> None:
        with torch.inference_mode():
            for part in _parts(files, batch):
                predict(part)

    return call


def _parts(files: Sequence[Path], batch: int) -> list[Sequence[Path]]:
    return [files[start : start + batch] for start in range(0, len(files), batch)]


def _whole(file: Path) -> Tensor:
    return torch.from_numpy(decode_image(file)).permute(2, 0, 1) / 255


def _squashed(file: Path) -> Tensor:
    small = Image.fromarray(decode_image(file)).resize((320, 320), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255


def rows(options: Namespace) -> Iterator[Row]:
    keep_large_blocks()
    peers = {"ssdlite320": ssdlite320} | ({"yolov8n": yolov8n_and_nms} if has_yolov8n() else {})
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or make_digits(Path(folder) / "digits", images={"train": options.images}, size=640)
        files = find_images([str(data)])[: options.images]
        torch.manual_seed(0)
        detector = bw.create_detector("lite320", CLASSES).eval()
        versions = {
            "as trained": detector,
            "float32": detector.for_inference(),
        }
        if bf16_available("cpu"):
            versions["bf16"] = detector.for_inference("bf16")
        for score in (0.3, 0.001):
            for batch in (1, options.batch):
                at = f"score {score:g}, {'one by one' if batch == 1 else f'batches of {batch}'}"
                for name, peer in peers.items():
                    sides = {
                        f"{version}, {at}": ours(each, files, batch, score)
                        for version, each in versions.items()
                        if version != "as trained" or score == 0.3
                    }
                    yield from compare(
                        options, sides, peer(files, batch, score), items=len(files), note=f"against {name}"
                    )


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--data", help="a folder of pictures; default: drawn digits of 640 x 640")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    run(rows, parser)

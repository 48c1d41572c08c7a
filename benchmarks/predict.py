"""CPU time of a prediction from JPEG file to boxes, against torchvision's ssdlite320, both taking turns in one process.

    OMP_NUM_THREADS=1 python benchmarks/predict.py [--data FOLDER] [--images 16] [--batch 8] [--rounds 7]

lite320 and ssdlite320_mobilenet_v3_large of 3 classes, untrained, on the same files: one at a time, and in batches.
Both sides get the same two lines: weights and input in channels_last, and the C library told to keep large blocks. The
peer decodes with Pillow as we do; its transform and what follows its network are its own. Score .3 is what people look
at, of which an untrained network finds next to nothing; at .001, which evaluation goes by, NMS has 900 candidates there
(3 classes x 300) and 1,000 here. "As trained" is lite320 without what ``for_inference`` does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import process_time

import torch
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

import boxwright as bw
from boxwright._util.allocator import keep_large_blocks
from boxwright.data import decode_image
from boxwright.demo_data import make_digits
from boxwright.environment import environment_line
from boxwright.models import Detector
from boxwright.runs.predict import find_images

CLASSES = 3
Predict = Callable[[], object]


def ours(detector: Detector, files: Sequence[Path], batch: int, score: float) -> Predict:
    return lambda: [detector.predict(files[at : at + batch], score=score, batch=batch) for at in _starts(files, batch)]


def theirs(files: Sequence[Path], batch: int, score: float) -> Predict:
    torch.manual_seed(0)
    peer = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, score_thresh=score, detections_per_img=100
    )
    peer = peer.eval().to(memory_format=torch.channels_last)

    def predict() -> None:
        with torch.inference_mode():
            for at in _starts(files, batch):
                peer([torch.from_numpy(decode_image(file)).permute(2, 0, 1) / 255 for file in files[at : at + batch]])

    return predict


def _starts(files: Sequence[Path], batch: int) -> range:
    return range(0, len(files), batch)


def take_turns(sides: dict[str, Predict], images: int, rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds an image of each round, by side; the first round warms up."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, predict in sides.items():
            start = process_time()
            predict()
            taken[name].append(1000 * (process_time() - start) / images)
    return {name: times[1:] for name, times in taken.items()}


def show(taken: dict[str, list[float]], reference: str) -> None:
    """Each side's time, and how many times as fast as the reference it was, round by round."""
    for name, times in taken.items():
        ratios = sorted(slow / fast for slow, fast in zip(taken[reference], times, strict=True))
        spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"  {name:34s} {median(times):6.1f} ms an image, {median(ratios):.2f} times as fast {spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a folder of pictures; default: drawn digits of 640 x 640")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_large_blocks()
    print(environment_line())
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or make_digits(Path(folder) / "digits", images={"train": arguments.images}, size=640)
        files = find_images([str(data)])[: arguments.images]
        torch.manual_seed(0)
        detector = bw.create_detector("lite320", CLASSES).eval()
        exact, rough = detector.for_inference(), detector.for_inference("bf16")
        for score in (0.3, 0.001):
            for batch in (1, arguments.batch):
                sides = {
                    "torchvision ssdlite320, float32": theirs(files, batch, score),
                    "lite320, float32": ours(exact, files, batch, score),
                    "lite320, bf16": ours(rough, files, batch, score),
                }
                if score == 0.3:
                    sides["lite320 as trained, float32"] = ours(detector, files, batch, score)
                print(f"score {score}, batches of {batch}")
                show(take_turns(sides, len(files), arguments.rounds), next(iter(sides)))


if __name__ == "__main__":
    main()

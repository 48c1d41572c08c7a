"""Prediction without torch: the processor time from JPEG file to boxes, and what the start of a process takes.

    python benchmarks/runtime.py [--data FOLDER] [--images 16] [--model model.onnx --run RUN]

lite320 at 320 px, one picture at a time, by ``boxwright.runtime`` from the file that ``boxwright export`` makes of it,
against torch's ``predict`` (``for_inference``); for 3 classes and untrained unless a run and its file are given. Where
ultralytics is installed, also against its yolov8n, untrained, at 320 px through onnxruntime, with its NMS. A start is
the median of ten processes; its floor is the import of onnxruntime and numpy alone.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
from peers import has_yolov8n, yolov8n
from PIL import Image
from turns import Row, arguments, child, compare, median_interval, run

from boxwright._util.allocator import keep_large_blocks
from boxwright.data.images import decode_image
from boxwright.demo_data import make_digits
from boxwright.runs.predict import find_images

FLOOR = "import numpy, onnxruntime"
STARTS = {
    "import onnxruntime and numpy": FLOOR,
    "import boxwright.runtime": f"{FLOOR}; import boxwright.runtime",
    "up to the first picture's boxes": (
        "import sys; from boxwright.runtime import Predictor; Predictor(sys.argv[1], threads=1)(sys.argv[2])"
    ),
}
PROCESSES = 10


def exported(folder: Path, options: Namespace) -> tuple[Path, Path]:
    """The run and the model file to compare."""
    if options.model:
        return options.run, options.model
    import torch

    import boxwright as bw
    from boxwright.export import export_run
    from boxwright.runs import Run

    torch.manual_seed(0)
    Run(folder / "run").keep(bw.create_detector("lite320", 3).eval())
    return folder / "run", export_run(folder / "run").file


def speed(options: Namespace, place: Path, model: Path, files: list[Path]) -> Iterator[Row]:
    """JPEG to boxes, an image."""
    import boxwright as bw
    from boxwright.runtime import Predictor

    keep_large_blocks()
    predictor, detector = Predictor(model, threads=options.threads), bw.load(place).for_inference()
    for score in (0.3, 0.001):
        sides = {f"score {score:g}": lambda score=score: [predictor(file, score) for file in files]}
        theirs = lambda score=score: [detector.predict(file, score) for file in files]  # noqa: E731
        yield from compare(options, sides, theirs, items=len(files), note="against torch's predict")


def against_yolov8n(options: Namespace, folder: Path, model: Path, files: list[Path]) -> Iterator[Row]:
    """JPEG to boxes, both through onnxruntime, an image."""
    from boxwright.runtime import Predictor

    predictor = Predictor(model, threads=options.threads)
    peer = yolov8n_by_onnxruntime(folder / "yolov8n.onnx", options.threads)
    for score in (0.3, 0.001):
        sides = {f"score {score:g}": lambda score=score: [predictor(file, score) for file in files]}
        theirs = lambda score=score: [peer(file, score) for file in files]  # noqa: E731
        yield from compare(options, sides, theirs, items=len(files), note="against yolov8n through onnxruntime")


def yolov8n_by_onnxruntime(file: Path, threads: int) -> Callable[[Path, float], object]:
    """Export the peer with its norms folded, and return what goes from a JPEG file to boxes."""
    import onnxruntime
    import torch
    from ultralytics.utils.nms import non_max_suppression

    head = (model := yolov8n(3).eval().fuse(verbose=False)).model[-1]
    head.export, head.format = True, "onnx"  # decoded boxes alone
    torch.onnx.export(model, (torch.zeros(1, 3, 320, 320),), file, dynamo=False, input_names=["images"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def predict(picture: Path, score: float) -> object:
        small = Image.fromarray(decode_image(picture)).resize((320, 320), Image.Resampling.BILINEAR)
        pixels = np.ascontiguousarray(np.asarray(small, np.float32).transpose(2, 0, 1)[None]) / 255
        return non_max_suppression(torch.from_numpy(session.run(None, {"images": pixels})[0]), score, 0.7, max_det=100)

    return predict


def starts(model: Path, picture: Path) -> Iterator[Row]:
    """Processes that take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(PROCESSES):
        for name, code in STARTS.items():
            seconds[name].append(child(sys.executable, "-c", code, model, picture).seconds)
    floor = next(iter(seconds.values()))
    for name, taken in seconds.items():
        ratio = median_interval([least / own for least, own in zip(floor, taken, strict=True)])
        beyond = f"{median(np.subtract(taken, floor).tolist()):.2f} s more"
        yield Row(name, median(taken), median(floor), ratio, "s", note=beyond)


def rows(options: Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or make_digits(Path(folder) / "digits", images={"train": options.images}, size=640)
        files = find_images([str(data)])[: options.images]
        place, model = exported(Path(folder), options)
        yield from starts(model, files[0])
        yield from speed(options, place, model, files)
        if has_yolov8n():
            yield from against_yolov8n(options, Path(folder), model, files)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--data", help="a folder of pictures; default: drawn digits of 640 x 640")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--model", type=Path, help="a model file")
    parser.add_argument("--run", type=Path, help="the run that it was made of")
    run(rows, parser)

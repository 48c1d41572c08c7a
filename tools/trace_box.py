"""Which files and functions a ground-truth box goes through, from the data set to its loss.

    python tools/trace_box.py                      # lite320
    python tools/trace_box.py ssd300 faster-rcnn   # any recipes
    python tools/trace_box.py --all ssd300         # with helpers: private functions and files, box arithmetic

One image is shown to the network and penalised as in a training step; each function of boxwright that runs on the way
is printed once, in order. What works on the image alone (decoding, resampling, the network) is left out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import boxwright as bw
from boxwright.data.cache import ImageCache
from boxwright.data.loading import TrainingSet, collate
from boxwright.data.transforms import Augmentation
from boxwright.demo_data import make_digits
from boxwright.recipes.criterion import build_criterion
from boxwright.training.step import supervise

PACKAGE = Path(bw.__file__).parent
SIGHTLESS = ("data/cache.py", "data/images.py", "data/sampling.py", "models/", "recipes/", "choices.py", "values.py")
"""What sees no box, but for the step itself."""
STEP = "training/step.py"
PIXELS = {"resample", "covered", "empty", "light_table", "show", "multiple", "input_size", "whole"}
HELPERS = ("_util/", "boxes.py", "anchors.py", "parts.py", "ranking.py", "types.py", "nms/")
QUESTIONS = {"least_divisor", "mean_over_ranks", "size", "distances"}


def trace(run: Callable[[], Any]) -> list[tuple[str, str]]:
    """(file, function) of boxwright's own that ``run`` calls, each once, in order of the first call."""
    seen: dict[tuple[str, str], None] = {}

    def profile(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            seen.setdefault((path.relative_to(PACKAGE).as_posix(), frame.f_code.co_qualname))

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return [each for each in seen if sees_boxes(*each)]


def sees_boxes(file: str, function: str) -> bool:
    name = function.rpartition(".")[2]
    dull = name in PIXELS or "<" in function or (name.startswith("__") and name != "__getitem__")
    return not dull and (file == STEP or not file.startswith(SIGHTLESS))


def is_station(file: str, function: str) -> bool:
    """Whether a reader has to stop there: a public function of a public file that isn't arithmetic or a question."""
    names = function.split(".")
    private = Path(file).name.startswith("_") or any(name[0] == "_" and name != "__getitem__" for name in names)
    return not private and not file.startswith(HELPERS) and names[-1] not in QUESTIONS


def main() -> None:
    names = [word for word in sys.argv[1:] if word != "--all"] or ["lite320"]
    with tempfile.TemporaryDirectory() as folder:
        dataset = bw.read_dataset(make_digits(Path(folder), images={"train": 4, "val": 1}, size=128), "train")
        cache = ImageCache(dataset)
        cache.fill(lambda done: None)
        for name in names:
            torch.manual_seed(0)
            scratch = {"backbone": "tf_efficientnet_lite0", "pretrained": False, "freeze": 0, "norm_mode": "train"}
            detector = bw.create_detector(name, len(dataset.classes), classes=dataset.classes, **scratch).train()
            criterion = build_criterion(detector.recipe)
            images = TrainingSet(cache, range(len(dataset)), detector.recipe.input_size, Augmentation("none", "none"))

            def step(images: TrainingSet = images, detector: Any = detector, criterion: Any = criterion) -> None:
                batch = collate([images[0]])
                supervise(detector, criterion, batch.images, batch.targets, batch.valid_size)

            found = trace(step)
            shown = found if "--all" in sys.argv else [each for each in found if is_station(*each)]
            files = [len({file for file, _ in each}) for each in (shown, found)]
            print(f"{name}: {len(shown)} functions in {files[0]} files (helpers included: {len(found)} in {files[1]})")
            for file, function in shown:
                print(f"  {file:28s} {function}")


if __name__ == "__main__":
    main()

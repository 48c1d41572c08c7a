"""Predict images in batches, in the order in which they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from boxwright.errors import DataError
from boxwright.models.memory import largest_input
from boxwright.nms import NmsKind
from boxwright.streaming import PIXELS, PIXELS_ON_CPU, batch_of, stream
from boxwright.types import Detections

if TYPE_CHECKING:
    import torch

    from boxwright.data.inputs import Input
    from boxwright.models.detector import Score
    from boxwright.recipes import Recipe


class Finder(Protocol):
    """A detector or a model file: whatever predicts images."""

    @property
    def recipe(self) -> Recipe:
        """The recipe that the detector was built from."""

    @property
    def device(self) -> torch.device:
        """The device that it computes on."""

    def prepare(self, image: Any) -> Input:
        """Read and resize an image to an input of the network."""

    def predict_inputs(
        self, inputs: Sequence[Input], score: Score | None = None, nms: NmsKind | None = None
    ) -> list[Detections]:
        """Detect objects on prepared inputs."""


def auto_batch(detector: Finder) -> int:
    """Choose how many images to predict at a time: 1 to 64, fewer for larger inputs."""
    return batch_of(largest_input(detector.recipe), PIXELS_ON_CPU if detector.device.type == "cpu" else PIXELS)


def predict_stream(
    detector: Finder,
    images: Iterable[Any],
    *,
    score: Score | None = None,
    nms: NmsKind | None = None,
    batch: int | None = None,
) -> Iterator[Detections | DataError]:
    """Yield the detections of each image that ``predict`` accepts, or the error of its file, in order.

    Only a few batches are in memory at a time. A batch that does not fit is halved. The detector must be in evaluation
    mode.

    Args:
        detector: The detector.
        images: Images as ``predict`` accepts them.
        score: As in ``predict``.
        nms: As in ``predict``.
        batch: Inputs of one size at a time; None: ``auto_batch``.

    Raises:
        ValueError: For something that is not an image, and a batch below 1.
        BoxwrightError: If not even one image fits the memory.
    """
    size = auto_batch(detector) if batch is None else batch
    return stream(images, detector.prepare, lambda inputs: detector.predict_inputs(inputs, score, nms), size)

"""A network in int8: which of its layers, and what that costs and saves.

All layers between the first and the last convolutions are tried first. Where that loses too much average precision, the
last convolutions stay in float, and then one stretch of the network after another, those first that cost most.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (static ranges, weights by channel: its sections 2 and 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import Any, NamedTuple

import numpy as np
import onnx

from boxwright.errors import DataError
from boxwright.evaluate import MetricsTable, compare_tables
from boxwright.evaluate.paired import PairedDifference
from boxwright.export.measure import Fed, Pictures, images_per_second, one_thread
from boxwright.export.models import QuantizableModel
from boxwright.export.verify import Agreement, Arrays, Unfaithful, Verifier
from boxwright.text import plural

Layers = tuple[str, ...]
_OPERATORS = frozenset(
    ("Conv", "Add", "Clip", "Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Concat")
)
_CALIBRATION = 100
"""Images whose ranges are taken, at most."""
_STRETCHES = 8
"""Parts of the network that are put back into float, one or more at a time; it bounds how often AP is measured."""


class Network(NamedTuple):
    """Names of nodes, in the order in which they are computed."""

    layers: Layers
    """Convolutions, and what lies between them that integers can do."""
    last: Layers
    """Convolutions that none follows."""

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Network:
        """List the layers of a graph, whose nodes are in order."""
        nodes = list(model.graph.node)
        before, after = set[str](), set[str]()  # values that lead to a convolution, and that one leads to
        for node in reversed(nodes):
            if node.op_type == "Conv" or not before.isdisjoint(node.output):
                before.update(node.input)
        for node in nodes:
            if node.op_type == "Conv" or not after.isdisjoint(node.input):
                after.update(node.output)
        between = [
            node
            for node in nodes
            if node.op_type == "Conv" or not (before.isdisjoint(node.output) or after.isdisjoint(node.input))
        ]
        last = (node.name for node in between if node.op_type == "Conv" and before.isdisjoint(node.output))
        return cls(tuple(node.name for node in between if node.op_type in _OPERATORS), tuple(last))


class Trial(NamedTuple):
    """A network with some of its layers in int8."""

    floats: Layers
    """The others."""
    model: QuantizableModel
    metrics: MetricsTable
    loss: float
    """Loss of AP."""


def search(network: Network, attempt: Callable[[Layers], Trial], max_loss: float) -> Trial:
    """Find layers to leave in float with which no more than ``max_loss`` of AP is lost.

    ``attempt`` is asked at most 16 times for a network with these layers in float. Raises Unfaithful where even one
    stretch in int8 loses more.
    """
    trials = [attempt(())]
    if trials[-1].loss > max_loss and len(network.last) < len(network.layers):
        trials.append(attempt(network.last))
    if trials[-1].loss > max_loss:
        trials += _by_stretches(network, attempt, max_loss)
    if trials[-1].loss <= max_loss:
        return trials[-1]
    best = min(trials, key=lambda trial: trial.loss)
    raise Unfaithful(
        f"int8 loses {best.loss:.3f} of AP at least, with {len(best.floats)} of {len(network.layers)} layers in float: "
        f"more than {max_loss:g}, so it isn't written; --max-loss takes another"
    )


def _by_stretches(network: Network, attempt: Callable[[Layers], Trial], max_loss: float) -> list[Trial]:
    """Keep one stretch of layers in float, then the two costliest, and so on, until the loss is small enough."""
    rest = [name for name in network.layers if name not in network.last]
    parts = [tuple(rest[place] for place in part) for part in np.array_split(range(len(rest)), _STRETCHES) if len(part)]
    if len(parts) < 2:
        return []
    measured = sorted(((attempt((*network.last, *part)), part) for part in parts), key=lambda each: each[0].loss)
    trials, floats = [measured[0][0]], measured[0][1]
    for _, part in measured[1:-1]:  # with the last one nothing would be left
        if trials[-1].loss <= max_loss:
            break
        floats = (*floats, *part)
        trials.append(attempt((*network.last, *floats)))
    return trials


@dataclass(frozen=True)
class Quantized:
    """A network in int8, and what it was measured to cost and save."""

    model: QuantizableModel
    """As it is written."""
    agreement: Agreement
    """Agreement of its detections with its own scores and boxes."""
    layers: int
    floats: Layers
    """Layers that stay in float."""
    calibrated: int
    """Images whose ranges were taken."""
    images: int
    """On which AP was measured."""
    before: float
    after: float
    difference: PairedDifference
    sizes: tuple[int, int]
    """Bytes before and after."""
    speeds: tuple[float, float]
    """Images a second of one core, before and after."""

    def lines(self) -> Iterator[str]:
        """Format the result as lines of text."""
        change = self.difference
        ends = "" if isnan(change.low) else f" (95 % interval {change.low:+.4f} to {change.high:+.4f})"
        on = plural(self.images, "image")
        yield f"int8: AP {self.before:.4f} becomes {self.after:.4f} on {on}: {change.value:+.4f}{ends}"
        small, fast = self.sizes[0] / self.sizes[1], self.speeds[1] / self.speeds[0]
        yield (
            f"int8: {self.sizes[0] / 1e6:.1f} MB become {self.sizes[1] / 1e6:.1f} ({small:.1f} times less); "
            f"{self.speeds[0]:.1f} images a second of one core become {self.speeds[1]:.1f} ({fast:.2f} times as many)"
        )
        floats = (
            f"{len(self.floats)} of {self.layers} layers stay in float" if self.floats else "no layer stays in float"
        )
        yield f"int8: {floats}; calibrated on {plural(self.calibrated, 'image')}"

    def to_json(self) -> dict[str, Any]:
        """For the metadata."""
        return {
            "calibrated_on": self.calibrated,
            "layers": self.layers,
            "in_float": list(self.floats),
            "AP": {"images": self.images, "float": self.before, "int8": self.after, **self.difference.to_json()},
            "bytes": {"float": self.sizes[0], "int8": self.sizes[1]},
        }


@dataclass(frozen=True)
class Quantizer:
    """Makes a network int8 by a data set's images."""

    train: Pictures
    """Images that the ranges are measured on."""
    val: Pictures
    """On which AP is measured."""
    raw: Sequence[str]
    """Outputs of all scores and boxes, and of two stages what they came from."""
    kept: Sequence[str]
    """Outputs that are written: detections, or scores and boxes."""
    max_loss: float
    say: Callable[[str], None] = lambda text: None

    def quantize(self, model: QuantizableModel, verifier: Verifier) -> Quantized:
        """Make a model int8 that has all of these outputs.

        Raises Unfaithful where it would lose too much, or its detections aren't those of its own scores and boxes;
        DataError for data without images or objects.
        """
        inputs = self._inputs()
        before = self.val.metrics(model, self.raw)
        if isnan(before.AP):
            raise DataError(f"{self.val.dataset.root} has no object in {self.val.dataset.split} to measure AP by")
        network, arrays = Network.of(model.model), [fed.arrays for fed in inputs]
        trial = search(network, partial(self._attempt, model, network, arrays, before.AP), self.max_loss)
        with one_thread():
            plain, small = model.alone(self.kept), trial.model.alone(self.kept)
        verifier.check_own(small, trial.model, self.raw, detections=not {*self.kept} <= {*self.raw})
        verifier.agreement.require()
        first, second = images_per_second([plain, small], arrays)
        return Quantized(
            small,
            verifier.agreement,
            len(network.layers),
            trial.floats,
            sum(len(fed.rows) for fed in inputs),
            len(self.val.dataset),
            before.AP,
            trial.metrics.AP,
            compare_tables({"float": before, "int8": trial.metrics}, deciding=0)["int8"].overall["AP"],
            (_size(plain), _size(small)),
            (first, second),
        )

    def _inputs(self) -> list[Fed]:
        """Images evenly chosen."""
        dataset = self.train.dataset
        chosen = np.linspace(0, len(dataset) - 1, min(len(dataset), _CALIBRATION)).round().astype(int)
        inputs = list(self.train.fed(chosen.tolist()))
        if not inputs:
            raise DataError(f"{dataset.root} has no image in {dataset.split} that can be read")
        return inputs

    def _attempt(
        self, model: QuantizableModel, network: Network, arrays: Sequence[Arrays], before: float, floats: Layers
    ) -> Trial:
        layers = [name for name in network.layers if name not in floats]
        tried = model.in_int8(layers, arrays)
        metrics = self.val.metrics(tried, self.raw)
        self.say(f"{len(layers)} of {len(network.layers)} layers in int8: AP {metrics.AP - before:+.4f}")
        return Trial(floats, tried, metrics, before - metrics.AP)


def _size(model: QuantizableModel) -> int:
    return sum(map(len, model.contents({})))

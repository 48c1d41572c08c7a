"""How many planted label errors `boxwright hardest` ranks first, against ranking by raw loss.

    python benchmarks/label_errors.py DATA [--share 0.05] [--epochs 12] [--folds 3] [--out DIR]

In the training split of DATA a share of the boxes is made wrong in each of four ways, every box in one way at most:
left out; given another class; moved by 10 to 30 % of its width and of its height; drawn twice, the second time with
each side off by up to 5 % of the size. lite320 is trained on the result, and the labels are ranked by its own
detections and by those of detectors that never saw the image. A row is the share of the errors that stand in the first
entries (as many as a share of the labels); its peer is the best that any order could do. The trainings are kept under
--out, and found again.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from turns import Row, arguments, run

import boxwright as bw
from boxwright.boxes import box_iou
from boxwright.data import NORMAL, DetectionDataset
from boxwright.data.cache import ImageCache
from boxwright.data.loading import TrainingSet, collate
from boxwright.data.transforms import Augmentation
from boxwright.evaluate import DetectionColumns, to_detections
from boxwright.hardest import Suspects, rank_labels
from boxwright.hardest.folds import fold_runs, predict_out_of_fold, split_folds
from boxwright.models.dense import DenseDetector
from boxwright.recipes.criterion import build_criterion
from boxwright.runs.predict import predict_dataset

KINDS = ("missing", "wrong-class", "shifted", "duplicate", "spurious")
TOP = (0.05, 0.1, 0.2)
"""Entries that are looked at, as shares of the number of labels."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Planted:
    """A data set with errors, and what was done to it. Rows of boxes are those of the data set with errors."""

    dataset: DetectionDataset
    kind: Ints
    """(m,) place in KINDS of what is wrong with the box, -1 for nothing; both boxes of a duplicate."""
    origin: Ints
    """(m,) row of the box in the data set that was given."""
    missing: Ints
    """Rows of the boxes left out, in the data set that was given."""


def plant(dataset: DetectionDataset, share: float, seed: int) -> Planted:
    """Make a share of the boxes wrong in each way; as many are added where there is no object."""
    rng = np.random.default_rng(seed)
    count = round(share * len(dataset.boxes))
    chosen = rng.permutation(np.flatnonzero(dataset.code == NORMAL))[: 5 * count].reshape(5, count)
    missing, wrong, shifted, duplicate, model = chosen
    owner = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    labels, boxes = dataset.labels.copy(), dataset.boxes.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, len(dataset.classes), count)) % len(dataset.classes)
    sides = boxes[:, 2:] - boxes[:, :2]
    moves = rng.uniform(0.1, 0.3, (count, 2)) * rng.choice([-1, 1], (count, 2)) * sides[shifted]
    boxes[shifted] += np.tile(moves, 2)
    copies = boxes[duplicate] + rng.uniform(-0.05, 0.05, (count, 4)) * np.tile(sides[duplicate], 2)
    placed = [_elsewhere(dataset, owner[row], sides[row], rng) for row in model.tolist()]
    model = model[[box is not None for box in placed]]
    invented = np.array([box for box in placed if box is not None], np.float32).reshape(-1, 4)

    kind = np.full(len(boxes), -1)
    for place, rows in enumerate(chosen[:4]):
        kind[rows] = place
    kind = np.concatenate(
        [kind, np.full(count, KINDS.index("duplicate")), np.full(len(model), KINDS.index("spurious"))]
    )
    origin = np.concatenate([np.arange(len(boxes)), duplicate, model])
    kept = np.setdiff1d(np.arange(len(origin)), missing)
    kept = kept[np.argsort(origin[kept], kind="stable")]
    every = np.concatenate([boxes, copies, invented])[kept]
    return Planted(_with_boxes(dataset, every, labels[origin[kept]], origin[kept]), kind[kept], origin[kept], missing)


def _elsewhere(dataset: DetectionDataset, image: int, sides: Floats, rng: np.random.Generator) -> Floats | None:
    """A box (4,) of these sides that hardly meets the labels of the image; None where none of 100 does."""
    height, width = dataset.sizes[image].tolist()
    corner = rng.uniform(0, np.maximum([width, height] - sides, 0), (100, 2))
    boxes = np.concatenate([corner, corner + sides], 1).astype(np.float32)
    there = dataset.boxes[dataset.offsets[image] : dataset.offsets[image + 1]]
    free = (box_iou(torch.from_numpy(boxes), torch.from_numpy(there)) < 0.1).all(1).numpy()
    return boxes[free][0] if free.any() else None


def _with_boxes(dataset: DetectionDataset, boxes: Floats, labels: Ints, origin: Ints) -> DetectionDataset:
    """The data set with ``boxes`` (m, 4) alone, each where that of its ``origin`` (m,) was."""
    owner = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[origin]
    height, width = dataset.sizes[owner].T.astype(np.float32)
    boxes = np.clip(boxes, 0, np.stack([width, height, width, height], 1))
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64)
    counts = np.bincount(owner, minlength=len(dataset))
    return replace(
        dataset,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=boxes,
        labels=labels,
        code=dataset.code[origin],
        xywh=xywh,
        areas=xywh[:, 2] * xywh[:, 3],
        annotation_ids=np.arange(1, len(boxes) + 1),
        numbers=np.arange(len(boxes)) - np.repeat(np.cumsum(counts) - counts, counts),
    )


@torch.no_grad()
def losses(
    detector: DenseDetector, dataset: DetectionDataset, places: Ints, boxes: DetectionColumns
) -> tuple[Floats, Floats]:
    """In the images at ``places``, and 0 elsewhere: of each label (m,) the mean over its anchors of classification and
    box loss; of each of ``boxes`` (n,) the classification loss of the anchor that it overlaps most."""
    recipe, anchors = detector.recipe, detector.anchors
    criterion = build_criterion(recipe).eval()
    plain = Augmentation("none", "none")
    images = TrainingSet(ImageCache(dataset, limit=0), range(len(dataset)), recipe.input_size, plain)
    of_labels, of_boxes = np.zeros(len(dataset.boxes)), np.zeros(len(boxes))
    for place in places.tolist():
        batch = collate([images[place]])
        parts = criterion.per_anchor(anchors, detector(detector.normalize(batch.images)), batch.targets)
        found, targets = parts.positives, parts.matches.gt_index
        of_box = (parts.box + parts.distribution) / parts.quality.clamp(min=1e-3)  # which they were weighted by
        per_anchor = parts.classification[0, found.anchor] + of_box
        target = targets[0, found.anchor].numpy()
        count = np.bincount(target, minlength=batch.targets.boxes.shape[1])
        total = np.bincount(target, per_anchor.numpy(), minlength=len(count))
        of_labels[dataset.offsets[place] : dataset.offsets[place + 1]] = total / np.maximum(count, 1)
        rows = np.flatnonzero(boxes.image == place)
        frame = recipe.input_size.whole(*batch.sizes[0].tolist())
        shown = torch.from_numpy(frame.to_input(boxes.take(rows).xyxy().astype(np.float32)))
        of_boxes[rows] = parts.classification[0, box_iou(shown, anchors.boxes).argmax(1)].numpy()
    return of_labels, of_boxes


def ranks(order: Suspects, clean: DetectionDataset, planted: Planted) -> dict[str, Ints]:
    """Of every planted error the place at which it is met: of the label, of either label of a duplicate, of a
    detection without a label on the box that was left out; the number of entries where it isn't met."""
    never = len(order)
    of_label = np.full(len(planted.kind), never)
    listed = order.box >= 0
    of_label[order.box[listed]] = np.flatnonzero(listed)
    owner = np.repeat(np.arange(len(clean)), np.diff(clean.offsets))
    missing = []
    for row in planted.missing:
        places = np.flatnonzero(~listed & (order.image == owner[row]))
        overlap = box_iou(torch.from_numpy(clean.boxes[[row]]).double(), torch.from_numpy(order.suggested_box[places]))
        met = places[overlap[0].numpy() >= 0.5]
        missing.append(met.min(initial=never))
    found = {"missing": np.array(missing)}
    for place, kind in enumerate(KINDS[1:], start=1):
        rows = np.flatnonzero(planted.kind == place)
        _, twin = np.unique(planted.origin[rows], return_inverse=True)
        first = np.full(twin.max(initial=-1) + 1, never)
        np.minimum.at(first, twin, of_label[rows])
        found[kind] = first
    return found


def by_loss(suspects: Suspects, of_labels: Floats, of_boxes: Floats) -> Suspects:
    """The same entries by falling raw loss."""
    loss = np.where(suspects.box >= 0, of_labels[suspects.box], of_boxes[suspects.detection])
    return suspects.take(np.argsort(-loss, kind="stable"))


def shares(title: str, order: Suspects, clean: DetectionDataset, planted: Planted) -> Iterator[Row]:
    """Share of the planted errors in the first so many entries, a row a share."""
    found = ranks(order, clean, planted)
    every = np.concatenate(list(found.values()))
    for share in TOP:
        count = round(share * len(planted.kind))
        note = ", ".join(f"{kind} {(places < count).mean():.3f}" for kind, places in found.items())
        best = min(1.0, count / len(every))
        yield Row(f"{title}, top {share:.0%}", float((every < count).mean()), best, unit="", note=note)


def rows(options: Namespace) -> Iterator[Row]:
    console = Console()
    clean = bw.read_dataset(options.data, "train")
    planted = plant(clean, options.share, options.seed)
    dataset, kept = planted.dataset, options.out / "run"
    if not (kept / "model.safetensors").is_file():
        bw.train(dataset, epochs=options.epochs, out=kept, console=console)
    own = to_detections(predict_dataset(bw.load(kept), dataset)[0])
    held_out = predict_out_of_fold(kept, dataset, options.folds, console=console)
    for title, detections in (("own detections", own), ("out of fold", held_out)):
        suspects = rank_labels(detections, dataset)
        yield from shares(title, suspects, clean, planted)
        yield from shares(f"{title}, labels alone", suspects.take(suspects.box >= 0), clean, planted)
        if detections is own:
            parts = [losses(bw.load(kept), dataset, np.arange(len(dataset)), own)]
        else:
            folds = zip(fold_runs(kept, dataset, options.folds), split_folds(dataset, options.folds), strict=True)
            parts = [losses(fold.load(), dataset, places, held_out) for fold, places in folds]
        of_labels, of_boxes = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
        yield from shares(f"{title}, raw loss", by_loss(suspects, of_labels, of_boxes), clean, planted)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/label-errors"))
    run(rows, parser)

"""How many planted label errors `boxwright hardest` ranks first, against ranking by raw loss.

    python benchmarks/label_errors.py DATA [--share 0.05] [--epochs 12] [--seeds 3] [--set key=value ...] [--out DIR]

In the training split of DATA a share of the boxes is made wrong in each of five ways, every box in one way at most:
left out; given another class; moved by 10 to 30 % of its width and of its height; drawn twice, the second time with
each side off by up to 5 % of the size; copied to a place where there is no label. lite320 is trained on the result, and
the labels are ranked by its own detections, and by raw loss: of a label the mean over its anchors of classification and
box loss, of a detection without a label the classification loss at its nearest anchor.

The row of a kind is the share of its n errors that stand among the first n entries, the errors of other kinds not
counted: of all labels, and of all detections without one for those left out. The row "all" is the same of the whole
list. Each is the mean over the seeds, which plant and train; the interval of the difference is a bootstrap over images.
The trainings are kept under --out, and found again.
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
from boxwright.evaluate import DetectionColumns
from boxwright.evaluate.bootstrap import draw_images
from boxwright.hardest import Suspects, rank_labels
from boxwright.hardest.detect import detect
from boxwright.models.dense import DenseDetector
from boxwright.recipes.criterion import build_criterion

KINDS = ("missing", "wrong-class", "shifted", "duplicate", "spurious")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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
def losses(detector: DenseDetector, dataset: DetectionDataset, boxes: DetectionColumns) -> tuple[Floats, Floats]:
    """Of each label (m,) the mean over its anchors of classification and box loss; of each of ``boxes`` (n,) the
    classification loss of the anchor that it overlaps most."""
    recipe, anchors = detector.recipe, detector.anchors
    criterion = build_criterion(recipe).eval()
    plain = Augmentation("none", "none")
    images = TrainingSet(ImageCache(dataset, limit=0), range(len(dataset)), recipe.input_size, plain)
    of_labels, of_boxes = np.zeros(len(dataset.boxes)), np.zeros(len(boxes))
    for place in range(len(dataset)):
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


def by_loss(suspects: Suspects, of_labels: Floats, of_boxes: Floats) -> Suspects:
    """The same entries by falling raw loss."""
    loss = np.where(suspects.box >= 0, of_labels[suspects.box], of_boxes[suspects.detection])
    return suspects.take(np.argsort(-loss, kind="stable"))


def met(order: Suspects, clean: DetectionDataset, planted: Planted) -> tuple[Ints, Ints]:
    """What each entry of a list meets: the kind of the planted error, -1 for none, and the row of the box in ``clean``.

    A label meets what was done to it; a detection without label the box left out that it overlaps by half.
    """
    listed = order.box >= 0
    kind = np.where(listed, planted.kind[order.box], -1)
    error = np.where(listed, planted.origin[order.box], -1)
    owner = np.repeat(np.arange(len(clean)), np.diff(clean.offsets))
    for row in planted.missing:
        places = np.flatnonzero(~listed & (order.image == owner[row]))
        overlap = box_iou(torch.from_numpy(clean.boxes[[row]]).double(), torch.from_numpy(order.suggested_box[places]))
        hit = places[overlap[0].numpy() >= 0.5]
        kind[hit], error[hit] = KINDS.index("missing"), row
    return kind, error


def found_first(order: Suspects, clean: DetectionDataset, planted: Planted, weights: Ints) -> dict[str, Floats]:
    """By kind, and of all: the share (R,) of the n errors among the first n entries, in images weighted by (R, i)."""
    kind, error = met(order, clean, planted)
    owner = np.repeat(np.arange(len(clean)), np.diff(clean.offsets))
    errors = {name: np.unique(planted.origin[planted.kind == place]) for place, name in enumerate(KINDS)}
    errors["missing"] = planted.missing
    _, first = np.unique(np.where(kind >= 0, error, -2 - np.arange(len(kind))), return_index=True)
    fresh = np.isin(np.arange(len(kind)), first)  # an error that was met before is no entry
    found = {}
    for place, name in enumerate(KINDS):
        of_sort = (order.box < 0) == (name == "missing")
        rows = np.flatnonzero(fresh & of_sort & np.isin(kind, [place, -1]))
        found[name] = _share(weights, order.image[rows], kind[rows] == place, owner[errors[name]])
    rows = np.flatnonzero(fresh)
    found["all"] = _share(weights, order.image[rows], kind[rows] >= 0, owner[np.concatenate([*errors.values()])])
    return found


def _share(weights: Ints, image: Ints, hit: Bools, owner: Ints) -> Floats:
    wanted = weights[:, owner].sum(1)
    entries = weights[:, image]  # (R, entries)
    inside = entries.cumsum(1) <= wanted[:, None]
    return (entries * (hit & inside)).sum(1) / np.maximum(wanted, 1)


def rows(options: Namespace) -> Iterator[Row]:
    clean = bw.read_dataset(options.data, "train")
    draws = np.concatenate([np.ones((1, len(clean)), np.int64), draw_images(len(clean), options.draws)])
    sides: list[list[dict[str, Floats]]] = []
    for seed in range(options.seeds):
        planted = plant(clean, options.share, seed)
        kept = options.out / f"seed-{seed}"
        if not (kept / "model.safetensors").is_file():
            keys = dict(item.split("=", 1) for item in options.set)
            recipe = bw.get_recipe("lite320", **keys)
            bw.train(planted.dataset, recipe, epochs=options.epochs, seed=seed, out=kept, console=Console())
        found, _ = detect(bw.load(kept), planted.dataset)
        ours = rank_labels(found, planted.dataset)
        theirs = by_loss(ours, *losses(bw.load(kept), planted.dataset, found))
        sides.append([found_first(order, clean, planted, draws) for order in (ours, theirs)])
    for name in (*KINDS, "all"):
        ours, theirs = (np.mean([pair[side][name] for pair in sides], axis=0) for side in (0, 1))
        low, high = np.quantile((ours - theirs)[1:], [0.025, 0.975])
        each = ", ".join(f"{pair[0][name][0]:.3f}" for pair in sides)
        note = f"difference {ours[0] - theirs[0]:+.3f} [{low:+.3f}, {high:+.3f}]; seeds {each}"
        yield Row(name, float(ours[0]), float(theirs[0]), unit="", note=note)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--set", metavar="key=value", nargs="*", default=[], help="of the recipe")
    parser.add_argument("--out", type=Path, default=Path("runs/label-errors"))
    run(rows, parser)

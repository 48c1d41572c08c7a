"""The claims, their sources, and the experiments that test them.

A claim says that one arm of an experiment is better than another. There are three kinds of experiments; claims about
the same one share its runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from boxwright.recipes.keys import Suppression as NmsKind

Measure = Literal["AP", "error left", "error over the steps"]

LITTLE: Mapping[str, Any] = MappingProxyType(
    {
        "image_size": 112,
        "width": 32,
        "strides": [4, 8, 16],
        "anchors": "squares:strides=[4,8,16],scale=5",
        "coder": "delta",
        "class_loss": "sigmoid_focal:alpha=0.25,gamma=2",
        "box_loss": "giou",
        "normalizer": "positives",
        "batch_size": 16,
        "freeze": 4,
        "augment": "none",
        "flip": "none",
        "vote": 0.0,
    }
)
"""Settings shared by all trainings: lite320's network at 112 px, with 1,029 anchors."""

_MINED = "hard_negatives:ratio=3"


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and the result that would confirm it."""

    name: str
    sentence: str
    source: str
    experiment: str
    arm: str
    """The arm claimed to be better than ``against``."""
    against: str
    measure: Measure = "AP"


@dataclass(frozen=True)
class Regression:
    """Boxes descend each loss without a network; errors are sums over the sides, and less is better."""

    arms: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """Each arm trains with every seed, as ``compare`` does."""

    scenes: str
    arms: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suppression:
    """One training per seed, whose candidates go through every kind of NMS."""

    scenes: str
    arms: Mapping[str, NmsKind]


Experiment = Regression | Training | Suppression

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        "regression": Regression(("iou", "giou", "diou", "ciou", "eiou", "authors_giou", "authors_diou")),
        "nms": Suppression("crowds", {"iou": "iou", "diou": "diou"}),
        "own-anchor": Training(
            "large",
            {"none": {"matcher": "iou:force=null"}, "own": {"matcher": "iou:force=bipartite"}},
            {"anchors": "squares:strides=[4,8,16],scale=4"},
        ),
        "tail": Training(
            "tail",
            {
                "plain": {},
                "inverse_log": {"class_weights": "inverse_log"},
                "seesaw": {"class_loss": "seesaw"},
            },
            {"class_loss": "cross_entropy", "miner": _MINED},
        ),
        "boxes": Training("digits", {loss: {"box_loss": loss} for loss in ("iou", "giou", "diou", "ciou", "eiou")}),
        "noise": Training("noise", {loss: {"box_loss": loss} for loss in ("smooth_l1", "l1", "l2", "focal_l1")}),
        "focal": Training(
            "rare",
            {
                "gamma 0": {"class_loss": "sigmoid_focal:alpha=0.75,gamma=0"},
                "gamma 2": {},
                "gamma 2 alpha .5": {"class_loss": "sigmoid_focal:alpha=0.5,gamma=2"},
                "ohem": {"class_loss": "binary_cross_entropy", "miner": "ohem:count=64"},
                "1 to 3": {"class_loss": "binary_cross_entropy", "miner": _MINED},
            },
        ),
        "mining": Training(
            "digits",
            {
                "3 to 1": {"miner": _MINED},
                "1 to 1": {"miner": "hard_negatives:ratio=1"},
                "10 to 1": {"miner": "hard_negatives:ratio=10"},
                "batch": {"miner": "hard_negatives:ratio=3,scope=batch"},
                "hardest": {"miner": "hard_examples"},
                "top 3": {"miner": "hard_positives:count=3"},
            },
            {"class_loss": "cross_entropy"},
        ),
    }
)
"""Experiments by name; in a Training, the weights of other box losses are equalized to the first arm's."""

_DIOU, _EIOU, _FOCAL = "arXiv:1911.08287", "arXiv:2101.08158", "arXiv:1708.02002"
_SSD = "arXiv:1512.02325, section 2.2"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "giou-regression",
        "GIoU brings free boxes to their targets where IoU leaves those that don't touch.",
        "arXiv:1902.09630, section 3",
        *("regression", "giou", "iou", "error left"),
    ),
    Claim(
        "diou-regression",
        "DIoU brings free boxes closer to their targets than GIoU.",
        f"{_DIOU}, section 3 and figure 3",
        *("regression", "diou", "giou", "error left"),
    ),
    Claim(
        "diou-regression-sooner",
        "DIoU brings free boxes to their targets sooner than GIoU.",
        f"{_DIOU}, section 3 and figure 3",
        *("regression", "diou", "giou", "error over the steps"),
    ),
    Claim(
        "diou-regression-authors",
        "The same, closer, with the gradients that the DIoU authors' code has.",
        f"{_DIOU}, section 3 and figure 3",
        *("regression", "authors_diou", "authors_giou", "error left"),
    ),
    Claim(
        "ciou-regression",
        "CIoU brings free boxes closer to their targets than DIoU.",
        f"{_DIOU}, figure 3",
        *("regression", "ciou", "diou", "error left"),
    ),
    Claim(
        "eiou-regression",
        "EIoU brings free boxes closer to their targets than CIoU.",
        f"{_EIOU}, section 3",
        *("regression", "eiou", "ciou", "error left"),
    ),
    Claim(
        "giou-training",
        "GIoU trains a better detector than IoU.",
        "arXiv:1902.09630, section 5",
        "boxes",
        "giou",
        "iou",
    ),
    Claim("diou-training", "DIoU trains a better detector than GIoU.", f"{_DIOU}, section 5", "boxes", "diou", "giou"),
    Claim("ciou-training", "CIoU trains a better detector than DIoU.", f"{_DIOU}, section 5", "boxes", "ciou", "diou"),
    Claim("eiou-training", "EIoU trains a better detector than CIoU.", f"{_EIOU}, section 5", "boxes", "eiou", "ciou"),
    Claim(
        "focal-gamma",
        "Focal loss with gamma 2 and alpha .25 does better than balanced cross entropy (gamma 0, alpha .75).",
        f"{_FOCAL}, table 1",
        *("focal", "gamma 2", "gamma 0"),
    ),
    Claim(
        "focal-alpha",
        "At gamma 2 an alpha of .25 does better than one of .5.",
        f"{_FOCAL}, section 5.1",
        *("focal", "gamma 2", "gamma 2 alpha .5"),
    ),
    Claim(
        "focal-ohem",
        "Focal loss does better than OHEM.",
        f"{_FOCAL}, section 5.1",
        *("focal", "gamma 2", "ohem"),
    ),
    Claim(
        "focal-mining",
        "Focal loss does better than hard negatives, 3 to 1.",
        f"{_FOCAL}, section 5.1",
        *("focal", "gamma 2", "1 to 3"),
    ),
    Claim(
        "ohem-mining",
        "OHEM, the hardest of all anchors, does better than hard negatives, 3 to 1.",
        f"{_FOCAL}, table 1",
        *("focal", "ohem", "1 to 3"),
    ),
    Claim("mining-1", "Three mined negatives for a positive do better than one.", _SSD, "mining", "3 to 1", "1 to 1"),
    Claim("mining-10", "Three mined negatives for a positive do better than ten.", _SSD, "mining", "3 to 1", "10 to 1"),
    Claim(
        "mining-image",
        "Mining each image by itself does better than mining over the batch.",
        f"{_SSD}, as its authors run it",
        *("mining", "3 to 1", "batch"),
    ),
    Claim(
        "mining-hardest",
        "The hardest of positives and negatives together do better than all positives and hard negatives.",
        "arXiv:1604.03540, section 4.1, on anchors",
        *("mining", "hardest", "3 to 1"),
    ),
    Claim(
        "mining-positives",
        "The hardest three positives of each object do better than all of them.",
        "arXiv:1604.03540, section 4.1, on the anchors of an object",
        *("mining", "top 3", "3 to 1"),
    ),
    Claim(
        "own-anchor",
        "With few, large objects an anchor for every object does better than the threshold alone.",
        _SSD,
        *("own-anchor", "own", "none"),
    ),
    Claim(
        "diou-nms",
        "In crowds DIoU-NMS does better than NMS by IoU, at the same threshold.",
        f"{_DIOU}, section 4.3",
        *("nms", "diou", "iou"),
    ),
    Claim(
        "class-weights-log",
        "With imbalanced classes, weights of 1 / ln(1.10 + f) do better than none.",
        "arXiv:1803.06815",
        *("tail", "inverse_log", "plain"),
    ),
    Claim(
        "seesaw",
        "On a long tail of classes seesaw loss does better than cross entropy.",
        "arXiv:2008.10032, section 4",
        *("tail", "seesaw", "plain"),
    ),
    Claim(
        "smooth-l1-l1",
        "With noisy boxes smooth L1 does better than L1.",
        "arXiv:1504.08083, section 2.3",
        *("noise", "smooth_l1", "l1"),
    ),
    Claim(
        "smooth-l1-l2",
        "With noisy boxes smooth L1 does better than L2.",
        "arXiv:1504.08083, section 2.3",
        *("noise", "smooth_l1", "l2"),
    ),
    Claim(
        "focal-l1",
        "With noisy boxes focal L1 does better than smooth L1.",
        f"{_EIOU}, section 4",
        *("noise", "focal_l1", "smooth_l1"),
    ),
)
"""Claims in the order of the page."""

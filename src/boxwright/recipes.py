"""Recipes: named, complete configurations of detector, supervision and training.

A recipe is a frozen dataclass with flat keys. It is read from YAML, changed with ``replace`` or ``--set key=value``,
and written into every run folder. An unknown key is an error that names the nearest one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml

from boxwright.choices import CHOICES, parse_choice
from boxwright.errors import RecipeError
from boxwright.text import did_you_mean
from boxwright.values import coerce

WEIGHTINGS = ("none", "inverse", "inverse_sqrt", "inverse_log", "effective")
"""Rules for ``class_weights``: those of ``losses.class_weights``, which isn't imported here for the sake of torch."""


def _key(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run. ``boxwright recipe show NAME`` prints the keys with their meaning."""

    detector: str = _key("lite320", "name of the recipe that these values started from")
    classes: tuple[str, ...] = _key((), "class names in label order; empty: all classes of the data set")
    # The network
    backbone: str = _key("tf_efficientnet_lite0", "any timm model that gives feature maps")
    pretrained: bool = _key(True, "start the backbone from ImageNet weights")
    image_size: int = _key(320, "side of the square network input, pixels")
    resize: Literal["squash", "pad"] = _key(
        "squash", "squash: stretch to the square; pad: keep the aspect, fill with grey"
    )
    antialias: bool = _key(True, "prediction's resize: antialiased; false: bilinear between the nearest pixels")
    mean: tuple[float, ...] | None = _key(None, "subtracted from the input in 0..1, by channel; null: the backbone's")
    std: tuple[float, ...] | None = _key(None, "divides the input then, by channel; null: the backbone's")
    strides: tuple[int, ...] = _key((8, 16, 32), "strides of the feature maps that predict")
    width: int = _key(96, "channels of neck and head")
    anchors: str = _key("squares:scale=4", "anchors of each cell")
    centreness: bool = _key(False, "predict how central each anchor is in its object, a factor of its score (FCOS)")
    # The supervision
    matcher: str = _key("atss:top=9", "which anchors answer for which target")
    coder: str = _key("distribution:bins=17", "how a box is encoded against its anchor")
    miner: str = _key("none", "which anchors' classification loss counts")
    class_loss: str = _key("quality_focal:beta=2", "classification loss")
    box_loss: str = _key("giou", "box loss")
    box_weight: float | None = _key(2.0, "weight of the box loss; null: the loss's documented default")
    distribution_weight: float = _key(1.0, "weight of the distribution focal loss (distribution coder only)")
    normalizer: Literal["positives", "quality", "image", "batch", "samples"] = _key(
        "quality", "what the summed losses are divided by"
    )
    class_weights: str = _key(
        "none",
        "weights of the positives in the classification loss: none | inverse | inverse_sqrt | inverse_log | effective, "
        "from each class's number of boxes | by name, as cat=1, dog=2.5",
    )
    class_weights_over: Literal["data", "batch"] = _key("data", "whose boxes are counted: the data set's or a batch's")
    background_weight: float | None = _key(
        1.0, "weight of all that isn't positive there; null: a third of the sum of the class weights"
    )
    # The training
    epochs: int = _key(60, "passes over the training images, where no --minutes are given")
    batch_size: int = _key(8, "images of a step, over all processes (of a part of a step, with accumulate)")
    accumulate: int = _key(1, "batches whose gradients make one step")
    optimizer: Literal["adamw", "sgd"] = _key("adamw", "adamw | sgd (momentum .9)")
    lr: float = _key(4e-3, "peak learning rate, of backbone and head alike")
    weight_decay: float = _key(0.02, "on weights of two and more dimensions alone")
    warmup: float = _key(0.06, "share of the training in which the learning rate rises linearly")
    clip: float = _key(10.0, "largest norm of the gradient; 0: any")
    precision: Literal["auto", "float32", "bf16"] = _key(
        "auto", "bf16: half the bits where it does no harm; auto: where the device is faster with it"
    )
    patience: int = _key(0, "epochs without a better validation AP after which the training ends; 0: never")
    freeze: int = _key(
        2, "first stages of the backbone that stay as they are (0 is none; the stem goes with the first)"
    )
    freeze_depthwise: int = _key(5, "depthwise kernels of this side or more stay as they are, for speed; 0: all learn")
    norm_mode: Literal["train", "eval", "frozen", "group"] = _key(
        "train",
        "BatchNorm of the stages that train: statistics follow the data | stay as loaded | scale and shift stay too | "
        "group: GroupNorm instead, in neck and head too",
    )
    ema: float = _key(0.99, "decay of the averaged weights, which are the ones evaluated and kept; 0: none")
    # The data
    augment: Literal["none", "light", "ssd"] = _key(
        "light", "none | light (zoom, aspect, light) | ssd (zoom-out, IoU crop, colour)"
    )
    flip: Literal["none", "horizontal", "both"] = _key("horizontal", "mirror images at random")
    sampling: str = _key("uniform", "how often an epoch shows an image: uniform | repeat_factor:threshold=0.001")
    negatives: str = _key("keep", "images without objects: keep | drop | ratio:0.1 of the images with objects")
    voc_one_based: bool | None = _key(
        None, "VOC corners are 1-based inclusive; null: what the files say of their origin"
    )
    # The prediction
    score: float = _key(0.3, "lowest score that predict shows")
    nms: Literal["iou", "diou", "soft_linear", "soft_gaussian", "cluster_iou", "cluster_soft"] = _key(
        "iou",
        "how lesser detections of a class are suppressed: iou | diou (by that overlap) | soft_linear | soft_gaussian "
        "(scores decay) | cluster_iou (iou in parallel) | cluster_soft (its score penalty)",
    )
    nms_agnostic: bool = _key(False, "detections are suppressed by those of other classes too")
    candidates: int = _key(1000, "best pairs of an anchor and a class that go into NMS")
    candidates_per: Literal["image", "class"] = _key("image", "so many of each image, or of each class of it")
    max_detections: int = _key(100, "detections of an image, at most")
    nms_threshold: float = _key(0.65, "detections that overlap more than this are suppressed")
    vote: float = _key(0.05, "temperature of the vote of suppressed boxes on the one that stays; 0: no vote")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = coerce(item.name, getattr(self, item.name), hints[item.name])
            object.__setattr__(self, item.name, value)
        for name in CHOICES:
            parse_choice(name, getattr(self, name))
        self._check_ranges()

    def _check_ranges(self) -> None:
        for name in ("image_size", "width", "epochs", "batch_size", "accumulate", "lr", "candidates"):
            if not getattr(self, name) > 0:
                raise RecipeError(f"Expected {name} above 0 but got {getattr(self, name)}")
        for name in ("vote", "freeze", "freeze_depthwise", "weight_decay", "clip", "patience"):
            if getattr(self, name) < 0:
                raise RecipeError(f"Expected {name} of at least 0 but got {getattr(self, name)}")
        if self.freeze and not self.pretrained:
            raise RecipeError("Expected freeze=0 with pretrained=false: stages without weights must learn")
        if self.norm_mode in ("eval", "frozen") and not self.pretrained:
            raise RecipeError(
                f"Expected norm_mode train or group with pretrained=false but got {self.norm_mode}: "
                "BatchNorm without statistics must learn"
            )
        for name in ("warmup", "ema", "score", "nms_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"Expected {name} in 0..1 but got {getattr(self, name)}")
        if any(value is not None and len(value) != 3 for value in (self.mean, self.std)):
            raise RecipeError(f"Expected mean and std of three channels but got {self.mean} and {self.std}")
        if self.background_weight is not None and self.background_weight < 0:
            raise RecipeError(f"Expected background_weight of at least 0 but got {self.background_weight}")
        if not self.weights_by_name() and self.class_weights not in WEIGHTINGS:
            raise RecipeError(
                f"unknown class_weights {self.class_weights!r}{did_you_mean(self.class_weights, WEIGHTINGS)}"
            )
        if not self.antialias and self.resize != "squash":
            raise RecipeError("Expected antialias=true with resize=pad")
        if not self.strides or any(s < 1 for s in self.strides) or list(self.strides) != sorted(set(self.strides)):
            raise RecipeError(f"Expected strides to rise but got {list(self.strides)}")
        if self.image_size % self.strides[-1]:
            raise RecipeError(f"Expected image_size to be a multiple of {self.strides[-1]} but got {self.image_size}")

    def replace(self, **options: Any) -> Recipe:
        """The same recipe with other values. Raises RecipeError for a key that is none, or a value that can't be."""
        known = [item.name for item in fields(self)]
        for name in options:
            if name not in known:
                raise RecipeError(f"unknown recipe key {name!r}{did_you_mean(name, known)}")
            if name in FOREIGN_KEYS.get(self.detector, ()):
                self._check_unchanged(name, options[name])
        return replace(self, **options)

    def _check_unchanged(self, name: str, value: Any) -> None:
        """A recipe file holds all keys: those without meaning may stand there as they are."""
        if coerce(name, value, get_type_hints(Recipe)[name]) != getattr(self, name):
            raise RecipeError(f"{name} has no meaning for {self.detector}")

    def weights_by_name(self) -> dict[str, float]:
        """``class_weights`` that are given by the classes' names; empty where a scheme is."""
        if "=" not in self.class_weights:
            return {}
        weights = {}
        for item in self.class_weights.split(","):
            name, _, text = (part.strip() for part in item.rpartition("="))
            if self.classes and name not in self.classes:
                raise RecipeError(f"class_weights: unknown class {name!r}{did_you_mean(name, self.classes)}")
            weights[name] = coerce(f"class_weights of {name!r}", text, float)
            if not 0 <= weights[name] < math.inf:
                raise RecipeError(f"Expected class_weights of {name!r} of at least 0 but got {text}")
        return weights

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in recipe.yaml."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @staticmethod
    def notes() -> dict[str, str]:
        """Key -> what it means."""
        return {item.name: item.metadata["doc"] for item in fields(Recipe)}

    def save(self, path: Path) -> None:
        """Write recipe.yaml."""
        path.write_text(yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")


_SSD = Recipe(
    backbone="vgg16",
    matcher="iou:positive=0.5,negative=0.5,force=bipartite",
    coder="delta",
    miner="hard_negatives:ratio=3",
    class_loss="cross_entropy",
    box_loss="smooth_l1",
    box_weight=1.0,
    normalizer="positives",
    optimizer="sgd",
    lr=1e-3,
    weight_decay=5e-4,
    freeze=0,
    freeze_depthwise=0,
    nms_threshold=0.45,
    vote=0.0,
)
"""The supervision that SSD's recipes share (arXiv:1512.02325, section 2.2)."""

_SSD300 = replace(
    _SSD,
    detector="ssd300",
    image_size=300,
    strides=(8, 16, 32, 64, 100, 300),
    anchors="ssd300",
    epochs=230,
    batch_size=32,
    augment="ssd",
    candidates=400,
    candidates_per="class",
    max_detections=200,
)

_PYRAMID = Recipe(
    backbone="resnet50",
    image_size=640,
    strides=(8, 16, 32, 64, 128),
    width=256,
    class_loss="sigmoid_focal:alpha=0.25,gamma=2",
    box_weight=1.0,
    batch_size=16,
    optimizer="sgd",
    lr=0.01,
    weight_decay=1e-4,
    freeze_depthwise=0,
    norm_mode="frozen",
    augment="none",
    vote=0.0,
)
"""What RetinaNet and FCOS share (arXiv:1708.02002, section 4.1; arXiv:1904.01355, section 4)."""

RECIPES = {
    "lite320": Recipe(),
    "retinanet": replace(
        _PYRAMID,
        detector="retinanet",
        anchors="retinanet",
        matcher="iou:positive=0.5,negative=0.4,force=ties",
        coder="delta:weights=[1,1,1,1]",
        box_loss="smooth_l1:beta=0.1",
        normalizer="image",
        nms_threshold=0.5,
    ),
    "ssd300": _SSD300,
    "ssd300-tf": replace(
        _SSD300,
        detector="ssd300-tf",
        anchors="ssd300_tf",
        matcher="iou:positive=0.5,negative=0.5,force=null,strict=true",
        miner="hard_negatives:ratio=3,scope=batch,cutoff=tf",
        normalizer="batch",
    ),
    "ssd512": replace(
        _SSD300, detector="ssd512", image_size=512, strides=(8, 16, 32, 64, 128, 256, 512), anchors="ssd512"
    ),
    "tiny-detector": replace(
        _SSD, detector="tiny-detector", image_size=224, strides=(32,), anchors="tiny_441", epochs=230, batch_size=32
    ),
    "unitbox": replace(
        _PYRAMID,
        detector="unitbox",
        matcher="points",
        coder="distance:unit=0.5",
        box_loss="iou:mode=log",
        normalizer="positives",
        nms_threshold=0.6,
    ),
}

FOREIGN_KEYS = {
    **dict.fromkeys(
        ("ssd300", "ssd300-tf", "ssd512", "tiny-detector"), ("strides", "width", "distribution_weight", "centreness")
    ),
    "lite320": ("centreness",),
    "retinanet": ("strides", "centreness"),
    "unitbox": ("strides", "distribution_weight"),
}
"""Keys that have no meaning for a detector: they can't be changed, and aren't shown."""


def list_recipes() -> list[str]:
    """Names of the built-in recipes."""
    return sorted(RECIPES)


def get_recipe(name_or_path: str | Path, **options: Any) -> Recipe:
    """A built-in recipe by its name, or one from a YAML file, with ``options`` on top.

    A file starts from the built-in recipe that its ``detector`` names. Raises RecipeError.
    """
    if str(name_or_path) in RECIPES:
        return RECIPES[str(name_or_path)].replace(**options)
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(f"unknown recipe {str(name_or_path)!r}{did_you_mean(str(name_or_path), RECIPES)}")
    values = _read_yaml(path)
    base = values.get("detector", "lite320")
    if base not in RECIPES:
        raise RecipeError(f"{path}: unknown detector {base!r}{did_you_mean(str(base), RECIPES)}")
    try:
        return RECIPES[base].replace(**{**values, **options})
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["lr=1e-3", "strides=[8, 16]"]`` -> values by key, read as YAML. Raises RecipeError where there is no ``=``."""
    options = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"Expected --set key=value but got {setting!r}")
        try:
            options[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise RecipeError(f"can't read the value of --set {setting!r}") from None
    return options


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"can't read the recipe {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise RecipeError(f"{path} is no valid YAML") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise RecipeError(f"{path}: Expected recipe keys and values")
    return values

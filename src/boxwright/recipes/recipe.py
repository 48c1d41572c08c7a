"""The recipe: every choice of a run under flat keys, validated."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, get_type_hints

import yaml

from boxwright._util.writing import write_text
from boxwright.catalog import PART_KEYS
from boxwright.choices import is_part, name_choice, parse_choice, resolve_choice
from boxwright.errors import RecipeError
from boxwright.recipes.builtin import find_detector
from boxwright.recipes.class_weights import scheme_of
from boxwright.recipes.keys import (
    DECIDED_KEYS,
    Activation,
    AugmentOn,
    BatchSize,
    CandidatesPer,
    Counted,
    Decode,
    Distances,
    Exif,
    Flip,
    Normalizer,
    NormMode,
    PrecisionName,
    RecipeKeys,
    Resize,
    Suppression,
    or_auto,
)
from boxwright.recipes.ranges import check_values
from boxwright.text import did_you_mean
from boxwright.values import coerce, numbers_by_name, shown

if TYPE_CHECKING:
    from boxwright.data.decoded import Reduction
    from boxwright.data.images import PixelRule
    from boxwright.data.inputs import InputRule
    from boxwright.data.transforms import Augmentation, InputSize

RPN_CHOICES = ("rpn_matcher", "rpn_coder", "rpn_miner", "rpn_class_loss", "rpn_box_loss")
"""Keys that name parts of the first of two stages; each accepts what the key it is named after accepts."""


@cache
def key_types() -> dict[str, Any]:
    """Key -> the type of its value."""
    hints = get_type_hints(Recipe)
    return hints | {name: or_auto(hints[name]) for name in DECIDED_KEYS}


def _key(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


def _stated(doc: str) -> Any:
    """Define a key without a default: every detector's recipe states it."""
    return field(metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every choice of a run. ``boxwright recipe show NAME`` prints the keys with their meaning.

    Keys of ``DECIDED_KEYS`` may be "auto", which their types don't say: only what trains decides them, and all else
    refuses them by ``check_decided``.

    The defaults are what most papers share, and no detector's own: ``builtin.py`` says what each one changes.
    """

    detector: str = _stated("name of the recipe that these values started from")
    classes: tuple[str, ...] = _key((), "class names in label order; empty: all classes of the data set")
    # The network
    backbone: str = _key("resnet50", "any timm model that gives feature maps")
    pretrained: bool | str = _key(True, "start the backbone from ImageNet weights, or from those in a file")
    image_size: int = _stated("side of the network's square input, or its shorter side, pixels | auto")
    resize: Resize = _key(
        "squash",
        "squash: stretch to the square; pad: keep the aspect, fill with gray; shortest: keep the aspect, the shorter "
        "side given | auto",
    )
    max_size: int = _key(1333, "longest side with resize=shortest, pixels")
    antialias: bool = _key(True, "prediction's resize: antialiased; false: bilinear between the nearest pixels")
    mean: tuple[float, ...] | None = _key(None, "subtracted from the input in 0..1, by channel; null: the backbone's")
    std: tuple[float, ...] | None = _key(None, "divides the input then, by channel; null: the backbone's")
    strides: tuple[int, ...] = _stated("strides of the feature maps that predict | auto")
    width: int = _key(96, "channels of neck and head")
    anchors: str = _stated("anchors of each cell | auto")
    centerness: bool = _key(False, "predict how central each anchor is in its object, a factor of its score (FCOS)")
    centerness_weights: bool = _key(True, "a positive's box loss counts by the centerness that it should have")
    distances: Distances = _key("exp", "distances to the sides are exponentials of outputs | cut at 0")
    hidden: int = _key(1024, "width of the second stage's two layers")
    box_per_class: bool = _key(True, "the second stage has a box of its own for every class")
    proposals: int = _key(
        1000, "best anchors of each map that go into the first stage's NMS, and most that it leaves of an image"
    )
    training_proposals: int = _key(2000, "the same in training")
    proposal_nms: float = _key(0.7, "proposals that overlap more than this are suppressed")
    # The supervision
    matcher: str = _key("iou", "which anchors answer for which target")
    coder: str = _key("delta", "how a box is encoded against its anchor")
    miner: str = _key("none", "which anchors' classification loss counts")
    class_loss: str = _key("cross_entropy", "classification loss")
    activation: Activation | None = _key(
        None, "what makes scores of the network's outputs; null: what the class loss declares"
    )
    box_loss: str = _key("smooth_l1", "box loss")
    box_weight: float | None = _key(1.0, "weight of the box loss; null: the loss's documented default")
    distribution_weight: float = _key(1.0, "weight of the distribution focal loss (distribution coder only)")
    normalizer: Normalizer = _key("positives", "what the summed losses are divided by")
    class_weights: str = _key(
        "none",
        "weights of the positives in the classification loss: none | inverse | inverse_sqrt | inverse_log | effective, "
        "from each class's number of boxes, with options as inverse_log:normalize=false,absent=0 | by name, as cat=1, "
        "dog=2.5",
    )
    class_weights_over: Counted = _key(
        "data",
        "what is counted: the data set's boxes | a batch's positives | all anchors of a batch, background as a class",
    )
    background_weight: float | None = _key(
        1.0, "weight of all that isn't positive there; null: a third of the sum of the class weights"
    )
    # The supervision of the first of two stages; the keys above belong to the second
    rpn_matcher: str = _key("iou:positive=0.7,negative=0.3,force=ties", "which anchors answer for which target")
    rpn_coder: str = _key("delta:weights=[1,1,1,1]", "how a proposal is encoded against its anchor")
    rpn_miner: str = _key("random_balanced:count=256,positive_fraction=0.5", "which anchors' losses count")
    rpn_class_loss: str = _key("binary_cross_entropy", "loss of object or not")
    rpn_box_loss: str = _key("smooth_l1:beta=0.1111", "box loss of the proposals")
    rpn_box_weight: float | None = _key(1.0, "its weight; null: the loss's documented default")
    rpn_normalizer: Normalizer = _key("samples", "what the summed losses are divided by")
    # The training
    epochs: int = _stated("passes over the training images, where no --minutes are given | auto")
    batch_size: BatchSize = _stated(
        "images of a step, over all processes (of a part of a step, with accumulate); auto: as many as fit the device, "
        "and lr follows"
    )
    accumulate: int = _key(1, "batches whose gradients make one step")
    optimizer: str = _key("sgd", "adamw | sgd:momentum=0.9")
    lr: float = _stated("peak learning rate, of backbone and head alike unless layer_lr says otherwise")
    schedule: str = _key(
        "cosine:final=0.01", "the learning rate after the warm-up: cosine | constant | steps:at=[0.67,0.89],factor=0.1"
    )
    weight_decay: float = _key(1e-4, "on weights of two and more dimensions alone")
    warmup: float = _key(0.06, "share of the training in which the learning rate rises linearly")
    clip: float = _key(10.0, "largest norm of the gradient; 0: any")
    precision: PrecisionName = _key(
        "auto",
        "half the bits where it does no harm: bf16 | fp16 (of GPUs, the loss scaled) | float32: none; auto: what the "
        "device is faster with",
    )
    patience: int = _key(0, "epochs without a better validation AP after which the training ends; 0: never")
    freeze: int = _key(
        0, "first stages of the backbone that stay as they are (0 is none; the stem goes with the first)"
    )
    freeze_depthwise: int = _key(0, "depthwise kernels of this side or more stay as they are, for speed; 0: all learn")
    layer_lr: str = _key(
        "none",
        "factors of lr by layer, none or PREFIX=FACTOR,...: the longest prefix of a layer's name counts (backbone, "
        "head.logits); start: all layers that a start has given",
    )
    layer_delay: str = _key(
        "none", "shares of the training before which layers stay as they are, none or PREFIX=SHARE,... as in layer_lr"
    )
    norm_mode: NormMode = _key(
        "train",
        "BatchNorm of the stages that train: statistics follow the data | stay as loaded | scale and shift stay too | "
        "group: GroupNorm instead, in neck and head too",
    )
    ema: float = _key(0.99, "decay of the averaged weights, which are the ones evaluated and kept; 0: none")
    # The data
    augment: str = _key("none", "none | light (zoom, aspect, light) | ssd (zoom-out, IoU crop, color)")
    flip: Flip = _key("horizontal", "mirror images at random: none | horizontal | both | auto")
    augment_on: AugmentOn = _key(
        "auto",
        "cpu | device: workers cut out what an input shows, and the device that trains resamples it; auto: device on a "
        "GPU with up to 8 cores, unless augment is your own",
    )
    sampling: str = _key("uniform", "how often an epoch shows an image: uniform | repeat_factor:threshold=0.001 | auto")
    negatives: str = _key("keep", "images without objects: keep | drop | ratio:0.1 of the images with objects")
    reader: str = _key("auto", "what reads the data: auto (by its files) | a layout | a function of your own")
    voc_one_based: bool | None = _key(
        None, "VOC corners are 1-based inclusive; null: what the files say of their origin"
    )
    exif: Exif | None = _key(
        None,
        "apply: turn images as EXIF says, boxes were drawn on them so | ignore: turn nothing | boxes: boxes were drawn "
        "on the pixels as stored, turn them too; null: apply or boxes, by the annotated sizes",
    )
    depth_range: str = _key(
        "data",
        "what becomes 0 to 255 of pixels of more than 8 bits: data (the training images' range, which training fills "
        "in) | image (each image's own) | LOW,HIGH",
    )
    max_pixels: int | None = _key(None, "images of more pixels are refused; null: Pillow's limit, 89,478,485")
    decode: Decode = _key(
        "full",
        "scaled: image files far larger than the input are decoded at 1/2, 1/4 or 1/8 of their size, which is sooner "
        "done and takes less memory",
    )
    # The prediction
    score: float = _key(0.3, "lowest score that predict shows")
    nms: Suppression = _key(
        "iou",
        "how lesser detections of a class are suppressed: iou | diou (by that overlap) | soft_linear | soft_gaussian "
        "(scores decay) | cluster_iou (iou in parallel) | cluster_soft (its score penalty)",
    )
    nms_agnostic: bool = _key(False, "detections are suppressed by those of other classes too")
    candidates: int = _key(1000, "best pairs of an anchor and a class that go into NMS")
    candidates_per: CandidatesPer = _key("image", "the limit is for an image, or for each class or feature map of it")
    max_detections: int = _key(100, "detections of an image, at most")
    nms_threshold: float = _key(0.5, "detections that overlap more than this are suppressed")
    vote: float = _key(0.0, "temperature of the vote of suppressed boxes on the one that stays; 0: no vote")

    def __post_init__(self) -> None:
        parts = {name: name.removeprefix("rpn_") for name in (*PART_KEYS, *RPN_CHOICES)}
        for name, kind in key_types().items():
            value = getattr(self, name)
            if name in parts and callable(value):
                value = name_choice(parts[name], value)
            object.__setattr__(self, name, coerce(name, value, kind))
        find_detector(self.detector)
        for name, key in parts.items():
            if name in self.undecided:
                continue
            if name != "backbone" or is_part(key, self.backbone):  # else a model of timm's
                parse_choice(key, getattr(self, name))
        check_values(self)

    def replace(self, **options: Unpack[RecipeKeys]) -> Recipe:
        """Copy the recipe with other values; raises RecipeError for an unknown key or an invalid value."""
        known = [item.name for item in fields(self)]
        foreign = find_detector(self.detector).foreign_keys
        values: dict[str, Any] = dict(options)
        for name in values:
            if name not in known:
                raise RecipeError(f"unknown recipe key {shown(name)}{did_you_mean(name, known)}")
            if name in foreign:
                self._check_unchanged(name, values[name])
        return replace(self, **values)

    def _check_unchanged(self, name: str, value: Any) -> None:
        """Check a key that has no meaning for the detector: files hold all keys, so it may appear unchanged."""
        if coerce(name, value, key_types()[name]) != getattr(self, name):
            raise RecipeError(f"{name} has no meaning for {self.detector}")

    def from_scratch(self) -> Recipe:
        """Copy the recipe without pretrained weights, so that everything learns."""
        learning = replace(self, norm_mode="train") if self.norm_mode in ("eval", "frozen") else self
        return replace(learning, pretrained=False, freeze=0, freeze_depthwise=0)

    def weights_by_name(self) -> dict[str, float]:
        """Return ``class_weights`` given by class name; empty if a scheme is given."""
        if "=" not in self.class_weights or scheme_of(self.class_weights):
            return {}
        weights, known = numbers_by_name("class_weights", self.class_weights), set(self.classes)
        for name in weights:
            if known and name not in known:
                raise RecipeError(f"class_weights: unknown class {shown(name)}{did_you_mean(name, self.classes)}")
        return weights

    @property
    def undecided(self) -> tuple[str, ...]:
        """The keys that are still to be decided by the images of a training."""
        return tuple(name for name in DECIDED_KEYS if getattr(self, name) == "auto")

    def check_decided(self) -> None:
        """Raise RecipeError where a key is still to be decided."""
        if self.undecided:
            raise RecipeError(
                f"{', '.join(self.undecided)}: auto is decided by the images of a training: here, set values, as --set "
                f"{self.undecided[0]}=..."
            )

    @property
    def images_a_batch(self) -> int:
        """Return ``batch_size`` as a number; raises RecipeError if it is auto, which only training can resolve."""
        if self.batch_size == "auto":
            raise RecipeError("batch_size=auto is for training: here, set a number with --set batch_size=N")
        return int(self.batch_size)

    @property
    def input_size(self) -> InputSize:
        """Size at which images are shown to the network. Raises RecipeError where that isn't decided."""
        self.check_decided()
        from boxwright.data.transforms import InputSize

        return InputSize(self.image_size, self.resize, self.max_size)

    @property
    def augmentation(self) -> Augmentation:
        """Return what training does to an image; raises RecipeError for your own part if its module is not imported."""
        from boxwright.data.transforms import Augmentation

        own = resolve_choice("augment", self.augment)
        return Augmentation("none" if own else self.augment, self.flip, own)  # type: ignore[arg-type]

    @property
    def pixels(self) -> PixelRule:
        """Return how images are decoded."""
        from boxwright.data.images import PixelRule

        return PixelRule(self.exif, self.depth_range, self.max_pixels)

    @property
    def input_rule(self) -> InputRule:
        """Rule that makes an image the network's input in prediction."""
        from boxwright.data.inputs import InputRule

        return InputRule(self.input_size, self.pixels, self.decode, self.antialias)

    def reduction(self, *, training: bool = False) -> Reduction | None:
        """Return how small an image may be decoded if it is shown as a whole, or in training; None: in full."""
        from boxwright.data.transforms import GAP

        if not training:
            return self.input_rule.reduction
        if self.decode == "full" or self.augmentation.own:
            return None
        return partial(self.input_size.reduction, zoom=max(GAP, self.augmentation.closest))

    @property
    def reader_options(self) -> dict[str, Any]:
        """Return how a data set is read, apart from splits and classes.

        Raises:
            RecipeError: For your own reader if its module is not imported.
        """
        reader = resolve_choice("reader", self.reader)
        return {"reader": reader, "voc_one_based": self.voc_one_based, **self.pixels.to_dict()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as in recipe.yaml."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @staticmethod
    def notes() -> dict[str, str]:
        """Return key -> its meaning."""
        return {item.name: item.metadata["doc"] for item in fields(Recipe)}

    def save(self, path: Path) -> None:
        """Write recipe.yaml as a whole; raises WriteError."""
        write_text(path, yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True))


def base_recipe(detector: str) -> Recipe:
    """Return the recipe of a detector as its paper, or its author, has it.

    Raises:
        RecipeError: For an unknown detector, and for one whose recipe lacks a key without a default or has an unknown
            one.
    """
    values: dict[str, Any] = {"detector": detector, **find_detector(detector).recipe}
    for item in fields(Recipe):
        if item.default is MISSING and item.name not in values:
            raise RecipeError(f"the recipe of detector {shown(detector)} lacks {item.name}")
    for name in values.keys() - key_types().keys():
        raise RecipeError(
            f"detector {shown(detector)}: unknown recipe key {shown(name)}{did_you_mean(name, key_types())}"
        )
    return Recipe(**values)

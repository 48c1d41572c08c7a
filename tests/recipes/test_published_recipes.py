"""Each paper's recipe against the paper, and every built-in recipe against a snapshot of all its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from boxwright.anchors import RETINANET, RPN, SSD300, SSD300_TF, SSD300_V1, SSD512, TINY_441, AnchorSpec, make_anchors
from boxwright.recipes import get_recipe, list_recipes
from boxwright.recipes.anchors import ssdlite300

SNAPSHOTS = Path(__file__).parent / "resolved"

SSD = {
    # Liu et al. 2016, arXiv:1512.02325, section 2.2: matched above a jaccard overlap of 0.5, and each object's best;
    # smooth L1 on offsets of center and size; divided by the matched boxes; alpha 1; at most 3 negatives a positive
    "matcher": "iou:positive=0.5,negative=0.5,force=bipartite",
    "coder": "delta",
    "class_loss": "cross_entropy",
    "box_loss": "smooth_l1",
    "box_weight": 1.0,
    "normalizer": "positives",
    "miner": "hard_negatives:ratio=3",
    # Section 2.2, "Data augmentation", and 3.6 (zoom-out)
    "augment": "ssd",
    "flip": "horizontal",
    # Section 3: VGG16, SGD with momentum .9, weight decay .0005, batches of 32; 3.1: all layers learn, .001
    "backbone": "vgg16",
    "optimizer": "sgd",
    "weight_decay": 5e-4,
    "batch_size": 32,
    "lr": 1e-3,
    "freeze": 0,
    # Section 3.7: NMS with an overlap of 0.45 for each class, the best 200 of an image
    "nms": "iou",
    "nms_threshold": 0.45,
    "nms_agnostic": False,
    "max_detections": 200,
    "vote": 0.0,
}

PYRAMID = {
    # RetinaNet (Lin et al. 2017, arXiv:1708.02002), section 4.1, and FCOS (Tian et al. 2019, arXiv:1904.01355),
    # section 4: ResNet-50, SGD with momentum .9, 16 images, .01, weight decay .0001; flips are all the augmentation;
    # 256 channels (section 4); alpha .25, gamma 2
    "backbone": "resnet50",
    "optimizer": "sgd",
    "lr": 0.01,
    "batch_size": 16,
    "weight_decay": 1e-4,
    "augment": "none",
    "flip": "horizontal",
    "width": 256,
    "class_loss": "sigmoid_focal:alpha=0.25,gamma=2",
    "miner": "none",
    "vote": 0.0,
}

PUBLISHED: dict[str, dict[str, Any]] = {
    "ssd300": {**SSD, "image_size": 300, "anchors": "ssd300"},
    "ssd512": {**SSD, "image_size": 512, "anchors": "ssd512"},
    # The paper's first version (arXiv:1512.02325v1), whose last map is the mean of the one before
    "ssd300-pool": {**SSD, "image_size": 300, "anchors": "ssd300_v1"},
    # SSD-Tensorflow's ssd_vgg_300: above the threshold alone, the hardest of the whole batch, divided by its images
    "ssd300-tf": {
        **SSD,
        "image_size": 300,
        "anchors": "ssd300_tf",
        "matcher": "iou:positive=0.5,negative=0.5,force=null,strict=true",
        "miner": "hard_negatives:ratio=3,scope=batch,cutoff=tf",
        "normalizer": "batch",
    },
    # The tutorial's train.py: 224 px, batches of 32, 230 epochs, SGD .001 with momentum .9 and weight decay .0005,
    # threshold .5, three negatives a positive, alpha 1
    "tiny-detector": {
        **{key: value for key, value in SSD.items() if key not in ("augment", "max_detections")},
        "image_size": 224,
        "anchors": "tiny_441",
        "epochs": 230,
    },
    # Section 4: IoU .5 and .4; standard offsets, smooth L1; 4.1: divided by each image's positives; NMS at .5
    "retinanet": {
        **PYRAMID,
        "anchors": "retinanet",
        "strides": (8, 16, 32, 64, 128),
        "coder": "delta:weights=[1,1,1,1]",
        "box_weight": 1.0,
        "normalizer": "image",
        "nms_threshold": 0.5,
    },
    # UnitBox, Yu et al. 2016, arXiv:1608.01471, eq. 2: -ln IoU of the distances, at every pixel inside an object;
    # FCOS, section 3.1: divided by the positives, weight 1
    "unitbox": {
        **PYRAMID,
        "strides": (8, 16, 32, 64, 128),
        "matcher": "points",
        "box_loss": "iou:mode=log",
        "box_weight": 1.0,
        "normalizer": "positives",
    },
    "faster-rcnn": {
        **{key: value for key, value in PYRAMID.items() if key not in ("class_loss", "miner")},
        # FPN, Lin et al. 2017, arXiv:1612.03144, section 4.1: anchors on P2 to P6; 4.2: two layers of 1,024
        "strides": (4, 8, 16, 32, 64),
        "anchors": "rpn",
        "hidden": 1024,
        # Section 5.1 and 5.2: learning rate .02; 256 anchors an image; 512 RoIs an image, of 2,000 proposals, of
        # 1,000 in testing
        "lr": 0.02,
        "training_proposals": 2000,
        "proposals": 1000,
        # Faster R-CNN, Ren et al. 2015, arXiv:1506.01497, section 3.1.2: .7 and the best, below .3; 3.1.3: half of 256;
        # 3.3: NMS of proposals at .7
        "rpn_matcher": "iou:positive=0.7,negative=0.3,force=ties",
        "rpn_miner": "random_balanced:count=256,positive_fraction=0.5",
        "rpn_class_loss": "binary_cross_entropy",
        "proposal_nms": 0.7,
        # Fast R-CNN, Girshick 2015, arXiv:1504.08083, section 2.3: a quarter of the RoIs of IoU .5; log loss, smooth
        # L1 of a box for each class, weight 1
        "matcher": "iou:positive=0.5,negative=0.5,force=null",
        "miner": "random_balanced:count=512,positive_fraction=0.25",
        "class_loss": "cross_entropy",
        "coder": "delta",
        "box_per_class": True,
        "box_weight": 1.0,
    },
    # github.com/RangiLyu/nanodet, config/nanodet-g.yml: 416 px, aspect kept, 128 channels, cells of 8 strides, ATSS,
    # quality focal loss (beta 2), GIoU (2.0), distribution focal loss (0.25) over 11 bins of a stride
    "nano416": {
        "backbone": "nanodet_g",
        "image_size": 416,
        "resize": "pad",
        "strides": (8, 16, 32),
        "width": 128,
        "anchors": "squares:scale=8",
        "matcher": "atss:top=9",
        "coder": "distribution:bins=11,step=0.125",
        "class_loss": "quality_focal:beta=2",
        "box_loss": "giou",
        "box_weight": 2.0,
        "distribution_weight": 0.25,
        "nms_threshold": 0.6,
    },
    # ssdlite_mobilenet_v2_coco's pipeline.config: argmax matcher of .5 that forces each object's best, sigmoid scores,
    # smooth L1, three negatives a positive, NMS at .6, 100 detections
    "ssdlite300": {
        "backbone": "mobilenetv2_ssdlite:wide=true",
        "image_size": 300,
        "resize": "squash",
        "anchors": "ssdlite300",
        "matcher": "iou:positive=0.5,negative=0.5,force=bipartite",
        "coder": "delta",
        "class_loss": "binary_cross_entropy",
        "box_loss": "smooth_l1",
        "box_weight": 1.0,
        "miner": "hard_negatives:ratio=3",
        "normalizer": "positives",
        "nms_threshold": 0.6,
        "max_detections": 100,
    },
}
"""Recipe -> key -> what the paper, or the code that is named, says."""

DEPARTURES: dict[str, dict[str, Any]] = {
    "retinanet": {
        "image_size": 600,  # of the shorter side; a square here, whatever the images
        "resize": "shortest",
        "epochs": 12,  # section 4.1, of COCO
        "matcher": "iou:positive=0.5,negative=0.4,force=null",  # torchvision's forces
        "candidates_per": "map",  # section 4.1, "Inference": 1,000 of each map
    },
    "unitbox": {"image_size": 800, "resize": "shortest", "epochs": 12},  # FCOS, section 4
    "faster-rcnn": {"image_size": 800, "resize": "shortest", "epochs": 12},  # FPN, section 5
    "nano416": {"optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-4, "epochs": 190, "batch_size": 128},
    "ssdlite300": {"optimizer": "rmsprop", "lr": 0.004, "weight_decay": 4e-5, "batch_size": 24},
}
"""Recipe -> key -> what the paper says where the recipe says something else on purpose (docs/recipes.md)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_has_the_values_of_its_paper(name: str) -> None:
    resolved = get_recipe(name).to_dict()
    expected = {key: list(value) if isinstance(value, tuple) else value for key, value in PUBLISHED[name].items()}
    assert {key: resolved[key] for key in expected} == expected


def test_every_recipe_but_our_own_has_a_paper() -> None:
    assert set(PUBLISHED) == set(list_recipes()) - {"lite320", "auto"}
    assert set(DEPARTURES) <= set(PUBLISHED)


@pytest.mark.parametrize("name", DEPARTURES)
def test_departures_from_a_paper_are_departures(name: str) -> None:
    resolved = get_recipe(name).to_dict()
    assert [key for key, value in DEPARTURES[name].items() if resolved[key] == value] == []


@pytest.mark.parametrize(
    ("spec", "side", "count"),
    [
        # 4 x 38² + 6 x (19² + 10² + 5²) + 4 x (3² + 1), section 3 of SSD; ssd300-tf has its grids
        (SSD300, 300, 8732),
        (SSD300_TF, 300, 8732),
        # 3 x 38² + 6 x (19² + 10² + 5² + 3² + 1), SSD's first version
        (SSD300_V1, 300, 7308),
        # 4 x 64² + 6 x (32² + 16² + 8² + 4²) + 4 x (2² + 1), section 3.3
        (SSD512, 512, 24564),
        (TINY_441, 224, 9 * 7**2),
        # RetinaNet, section 4: nine a cell of P3 to P7, some 100,000 at 600 px; Faster R-CNN: three of P2 to P6
        (RETINANET, 640, 9 * (80**2 + 40**2 + 20**2 + 10**2 + 5**2)),
        (RPN, 640, 3 * (160**2 + 80**2 + 40**2 + 20**2 + 10**2)),
        # ssd_anchor_generator of TensorFlow's models: three a cell of the first map, six of the others
        (ssdlite300(), 300, 3 * 19**2 + 6 * (10**2 + 5**2 + 3**2 + 2**2 + 1)),
    ],
)
def test_anchors_are_as_many_as_published(spec: AnchorSpec, side: int, count: int) -> None:
    assert len(make_anchors(spec, side)) == count


@pytest.mark.parametrize("name", list_recipes())
def test_no_value_of_a_recipe_changes_by_the_way(name: str) -> None:
    """All values are written out in resolved/, so that a default which is changed shows every recipe that takes it.

    Where a change is meant, ``get_recipe(name).save(path)`` writes them anew.
    """
    expected = yaml.safe_load((SNAPSHOTS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert get_recipe(name).to_dict() == expected


def test_every_snapshot_is_of_a_recipe() -> None:
    assert sorted(path.stem for path in SNAPSHOTS.iterdir()) == list_recipes()

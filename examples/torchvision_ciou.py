"""A torchvision RetinaNet in a training loop of one's own, matched by ATSS and taught by CIoU.

    python examples/torchvision_ciou.py
    python examples/torchvision_ciou.py --rules torchvision    # the same loop without boxwright's criterion

Everything but ``supervise_by_ciou`` and the data is plain torchvision. The data are handwritten digits that boxwright
draws, and the network starts from scratch, so that nothing is downloaded: its two or three minutes on one core show the
way, and not what accuracy to expect.
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from torch import Tensor
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import boxwright as bw
from boxwright.data.images import decode_image
from boxwright.demo_data import CLASSES, make_digits

Sample = tuple[Tensor, dict[str, Tensor]]


def supervise_by_ciou(model: RetinaNet) -> None:
    """All that changes."""
    criterion = bw.DenseCriterion(
        matcher=bw.matching.match_atss,
        coder=bw.coding.DeltaCoder((1, 1, 1, 1)),  # RetinaNet's
        class_loss=bw.losses.sigmoid_focal_loss,
        box_loss=bw.losses.ciou_loss,
    )
    bw.adapters.torchvision.supervise(model, criterion)


def make_model(size: int) -> RetinaNet:
    """A small one, for images of ``size`` px."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=torch.nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3],
        extra_blocks=None,
    )
    anchors = AnchorGenerator(((24, 32), (48, 64), (96, 128)), ((0.5, 1.0, 2.0),) * 3)
    return RetinaNet(backbone, len(CLASSES) + 1, size, size, anchor_generator=anchors)


def samples_of(dataset: bw.DetectionDataset) -> list[Sample]:
    """Images and targets as torchvision wants them: float (3, H, W) in 0..1, and labels from 1."""
    samples = []
    for index in range(len(dataset)):
        image = torch.from_numpy(decode_image(dataset.path(index))).permute(2, 0, 1) / 255
        target = dataset.target(index)
        samples.append((image, {"boxes": torch.tensor(target.boxes), "labels": torch.tensor(target.labels) + 1}))
    return samples


def train(model: RetinaNet, samples: list[Sample], steps: int, batch: int) -> None:
    """Any loop of torchvision's kind."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-4, total_steps=steps)
    model.train()
    for step in range(steps):
        images, targets = zip(*(samples[i] for i in torch.randint(len(samples), (batch,))), strict=True)
        losses = model(list(images), list(targets))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step + 1 == steps:
            print(f"step {step:4}", *(f"{name} {loss.item():.3f}" for name, loss in losses.items()), flush=True)


@torch.no_grad()
def evaluate(model: RetinaNet, dataset: bw.DetectionDataset) -> bw.evaluate.MetricsTable:
    """COCO's and VOC's numbers."""
    detections = []
    for image, _ in samples_of(dataset):
        (found,) = model.eval()([image])
        detections.append(bw.types.Detections(found["boxes"], found["scores"], found["labels"] - 1))
    return bw.evaluate.detection_metrics(detections, dataset, dataset.classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", choices=["ciou", "torchvision"], default="ciou")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=200, help="to train on")
    parser.add_argument("--size", type=int, default=128, help="side of the images, pixels")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = make_model(options.size)
    if options.rules == "ciou":
        supervise_by_ciou(model)
    with tempfile.TemporaryDirectory() as folder:
        make_digits(folder, images={"train": options.images, "test": 60}, size=options.size)
        train(model, samples_of(bw.read_dataset(folder, split="train")), options.steps, options.batch)
        table = evaluate(model, bw.read_dataset(folder, split="test"))
    print(f"AP {table.AP:.3f}  AP50 {table.AP50:.3f}")


if __name__ == "__main__":
    main()

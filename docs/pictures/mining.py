"""The worked example of mining.md: two images of twenty anchors, one without objects, and what each miner keeps."""

from __future__ import annotations

from functools import partial

import torch
from matplotlib.patches import Patch
from style import color, figure, save

from boxwright.mining import hard_examples, hard_negatives, ohem, random_balanced

# Each anchor's state, classification loss and box loss, by falling classification loss.
OBJECTS = [(0, 3.2), (0, 3.1), (1, 2.6, 0.9), (0, 2.4), (-1, 2.2), (0, 2.0), (0, 1.9), (1, 1.6, 0.5), (0, 1.3)]
OBJECTS += [(0, 1.2), (0, 0.9), (-1, 0.8), (0, 0.7), (0, 0.6), (0, 0.5), (1, 0.4, 0.1), (0, 0.3), (0, 0.2)]
OBJECTS += [(0, 0.15), (0, 0.1)]
EMPTY = [(0, loss) for loss in (2.8, 2.1, 1.7, 1.3, 1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)]
EMPTY += [(0, 0.08), (0, 0.06), (0, 0.04), (0, 0.02)]
SCENES = {"an image with objects": OBJECTS, "an image without": EMPTY}

STATE = torch.tensor([[row[0] for row in scene] for scene in SCENES.values()], dtype=torch.int8)
CLASSIFICATION = torch.tensor([[row[1] for row in scene] for scene in SCENES.values()])
BOX = torch.tensor([[row[2] if len(row) > 2 else 0.0 for row in scene] for scene in SCENES.values()])
# Boxes for OHEM's suppression: 10 wide and far apart, but for the first two, whose IoU is .82
LEFT = 20.0 * torch.arange(20).float() - 19.0 * (torch.arange(20) == 1)
BOXES = torch.stack([LEFT, torch.zeros(20), LEFT + 10, torch.full((20,), 10.0)], dim=1)

MINERS = {
    "none": lambda: STATE >= 0,
    "hard_negatives": partial(hard_negatives, CLASSIFICATION, STATE),
    "hard_negatives, scope=batch": partial(hard_negatives, CLASSIFICATION, STATE, scope="batch"),
    "the same, cutoff=tf": partial(hard_negatives, CLASSIFICATION, STATE, scope="batch", cutoff="tf"),
    "hard_examples": partial(hard_examples, CLASSIFICATION + BOX, STATE),
    "ohem, count=8": partial(ohem, CLASSIFICATION, STATE, count=8),
    "the same, with boxes": partial(ohem, CLASSIFICATION, STATE, count=8, boxes=BOXES),
    "random_balanced, count=8": lambda: random_balanced(STATE, count=8, generator=torch.Generator().manual_seed(1)),
}
COLORS = {1: color(3), 0: color(0), -1: (0.75, 0.75, 0.75)}


def main() -> None:
    drawn, _ = figure(2, height=5.4)
    drawn.clear()
    places = drawn.subplots(2, 2, sharex=True, sharey="row", height_ratios=[1, 1.35])
    for image, (title, scene) in enumerate(SCENES.items()):
        colors = [COLORS[row[0]] for row in scene]
        bars, rows = places[:, image]
        bars.bar(range(20), CLASSIFICATION[image], 0.8, color=colors)
        bars.bar(range(20), BOX[image], 0.8, bottom=CLASSIFICATION[image], color=colors, alpha=0.45)
        bars.set(title=title, ylabel="" if image else "loss")
        bars.tick_params(bottom=False)
        for row, mine in enumerate(MINERS.values()):
            kept = mine()[image].tolist()
            for anchor, keep in enumerate(kept):
                face = colors[anchor] if keep else "none"
                rows.barh(row, 0.8, 0.72, left=anchor - 0.4, color=face, edgecolor="0.85", linewidth=0.7)
            rows.text(20, row, str(sum(kept)), va="center", ha="left")
        rows.set(xlim=(-0.7, 21), ylim=(len(MINERS) - 0.4, -0.6), xlabel="anchors by falling classification loss")
        rows.set_xticks([])
        rows.set_yticks(range(len(MINERS)), list(MINERS))
        rows.tick_params(length=0)
        for side in ("left", "bottom"):
            rows.spines[side].set_visible(False)
    named = [("positive", COLORS[1]), ("its box loss", (*COLORS[1], 0.45)), ("negative", COLORS[0])]
    named.append(("ignored", COLORS[-1]))
    places[0, 1].legend(handles=[Patch(color=shade, label=name) for name, shade in named], frameon=False)
    save(drawn, "mining")


if __name__ == "__main__":
    main()

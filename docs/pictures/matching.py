"""The worked example of matching.md: three objects, seven anchors, four rules."""

from __future__ import annotations

import torch
from style import color, figure, save

from boxwright.matching import match_iou

OBJECTS = {"A": (2, 12), "B": (4, 12), "C": (70, 80)}
ANCHORS = {1: (0, 10), 2: (10, 20), 3: (20, 30), 4: (3, 14), 5: (0, 22), 6: (20, 40), 7: (50, 60)}
RULES = {
    "SSD: bipartite, .5": {},
    "torchvision's SSD: last, .5": {"force": "last"},
    "RetinaNet: ties, .5 / .4": {"force": "ties", "negative": 0.4},
    "TF-SSD: none, > .5": {"force": None, "strict": True},
}


def strip(extents: dict[object, tuple[int, int]]) -> torch.Tensor:
    """Boxes of height 10 over these stretches."""
    return torch.tensor([[float(start), 0.0, float(end), 10.0] for start, end in extents.values()])


def main() -> None:
    drawn, (places, table) = figure(2, height=3.2)
    for row, (name, (start, end)) in enumerate(reversed(ANCHORS.items())):
        places.barh(row, end - start, left=start, height=0.55, color="none", edgecolor="0.35")
        places.text(start - 1, row, str(name), ha="right", va="center")
    for place, (name, (start, end)) in enumerate(OBJECTS.items()):
        places.axvspan(start, end, ymin=0.02, ymax=0.92, color=color(place), alpha=0.22, lw=0)
        places.text(
            (start + end) / 2 + (place == 1) * 2 - (place == 0) * 2, len(ANCHORS) - 0.2, name, color=color(place)
        )
    places.set(xlim=(-6, 84), ylim=(-0.6, len(ANCHORS) + 0.3), xlabel="pixels", title="three objects, seven anchors")
    places.set_yticks([])
    places.spines["left"].set_visible(False)
    labels = torch.arange(3)[None]
    for row, options in enumerate(reversed(RULES.values())):
        matches = match_iou(strip(ANCHORS), strip(OBJECTS)[None], labels, **options)
        for column, (state, target) in enumerate(
            zip(matches.state[0].tolist(), matches.gt_index[0].tolist(), strict=True)
        ):
            face = color(target) if state == 1 else ("0.82" if state == -1 else "white")
            table.barh(row, 0.92, left=column + 0.04, height=0.8, color=face, edgecolor="0.7")
            said = list(OBJECTS)[target] if state == 1 else ("ignored" if state == -1 else "")
            table.text(
                column + 0.5, row, said, ha="center", va="center", color="white" if state == 1 else "0.2", size=8
            )
    table.set(xlim=(0, 7), title="who answers for whom (white: background)")
    table.set_xticks([n + 0.5 for n in range(7)], [str(n) for n in ANCHORS])
    table.set_yticks(range(len(RULES)), list(reversed(RULES)))
    table.tick_params(length=0)
    for side in ("left", "bottom"):
        table.spines[side].set_visible(False)
    save(drawn, "matching")


if __name__ == "__main__":
    main()

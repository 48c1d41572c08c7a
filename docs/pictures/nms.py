"""The worked example of nms.md: six boxes on three objects, and what each kind leaves of them."""

from __future__ import annotations

import torch
from matplotlib.patches import Rectangle
from style import color, figure, save

from boxwright.nms import suppress

# Two upright objects side by side, whose best boxes overlap by .51, and one apart; each is found twice.
CANDIDATES = {
    "A1": (0.95, (0, 0, 40, 100)),
    "B1": (0.90, (13, 0, 53, 100)),
    "C1": (0.85, (74, 20, 114, 60)),
    "A2": (0.75, (2, 5, 41, 98)),
    "B2": (0.60, (17, 4, 58, 99)),
    "C2": (0.50, (79, 24, 117, 64)),
}
BOXES = torch.tensor([box for _, box in CANDIDATES.values()]).float()
SCORES = torch.tensor([score for score, _ in CANDIDATES.values()])
LABELS = torch.zeros(len(CANDIDATES), dtype=torch.int64)
KINDS = ("iou", "diou", "soft_linear", "soft_gaussian", "cluster_soft")
COLORS = {"A": color(0), "B": color(3), "C": color(2)}


def left_by(kind: str | None) -> dict[str, float]:
    """Score of each candidate that stays, by its name."""
    if kind is None:
        return {name: score for name, (score, _) in CANDIDATES.items()}
    keep, scores = suppress(BOXES, SCORES, LABELS, 0.5, kind)
    return {list(CANDIDATES)[place]: score for place, score in zip(keep.tolist(), scores.tolist(), strict=True)}


def main() -> None:
    kinds = (None, *KINDS)
    drawn, _ = figure(1, height=3.7)
    drawn.clear()
    axes = drawn.subplots(2, len(kinds), height_ratios=[1, 1.1])
    for column, kind in enumerate(kinds):
        places, bars = axes[:, column]
        left = left_by(kind)
        for row, (name, (_, (x1, y1, x2, y2))) in enumerate(CANDIDATES.items()):
            shade, score = COLORS[name[0]], left.get(name)
            if score is None:
                bars.text(0.03, row, "gone", va="center", color="0.5")
                continue
            style = "-" if name[1] == "1" else "--"
            places.add_patch(
                Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=shade, ls=style, lw=1.6, alpha=0.2 + 0.8 * score)
            )
            bars.barh(row, score, 0.7, color=shade, alpha=0.2 + 0.8 * score)
            bars.text(score + 0.03, row, f"{score:.2f}", va="center")
        places.set(xlim=(-4, 122), ylim=(104, -4), aspect="equal", title=kind or "candidates")
        places.set_xticks([])
        places.set_yticks([])
        bars.set(xlim=(0, 1.35), ylim=(len(CANDIDATES) - 0.5, -0.5))
        bars.set_xticks([])
        bars.set_yticks(range(len(CANDIDATES)), list(CANDIDATES) if column == 0 else [""] * len(CANDIDATES))
        bars.tick_params(length=0)
        bars.spines["bottom"].set_visible(False)
        for side in ("left", "bottom"):
            places.spines[side].set_visible(False)
    axes[1, 0].set_ylabel("score")
    save(drawn, "nms")


if __name__ == "__main__":
    main()

"""The worked example of evaluation.md: five objects, seven detections, each kind of error once, and what it costs."""

from __future__ import annotations

from matplotlib.patches import Rectangle
from style import color, figure, save

from boxwright.evaluate import ERROR_TYPES, detection_metrics, error_types

CLASSES = ("cat", "dog")
OBJECTS = [(0, 0, 0, 10, 10), (0, 20, 0, 30, 10), (1, 40, 0, 50, 10), (0, 60, 0, 70, 10), (0, 80, 0, 90, 10)]
FOUND = [
    (0.9, 0, 0, 10, 10),
    (0.8, 0, 0, 10, 9),
    (0.7, 20, 0, 30, 4),
    (0.6, 40, 0, 50, 10),
    (0.5, 40, 0, 50, 4),
    (0.4, 100, 0, 110, 10),
    (0.3, 80, 0, 90, 10),
]


def main() -> None:
    prediction = {"boxes": [box for _, *box in FOUND], "scores": [score for score, *_ in FOUND], "labels": [0] * 7}
    target = {"boxes": [box for _, *box in OBJECTS], "labels": [label for label, *_ in OBJECTS]}
    table = detection_metrics([prediction], [target], CLASSES)
    errors = error_types(table.matches)
    drawn, (scene, bars) = figure(2, height=2.9)
    for label, x1, y1, x2, y2 in OBJECTS:
        scene.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, color=color(2 * label), alpha=0.25, lw=0))
        scene.text((x1 + x2) / 2, 11, CLASSES[label], ha="center", color=color(2 * label))
    for row, (score, x1, y1, x2, y2) in enumerate(FOUND):
        kind = errors.kind[row]
        style = "-" if kind < 0 else "--"
        scene.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec="0.2", lw=1.2, ls=style))
        lower = 2 * (row in (1, 4))
        said = f"{score}\n{'right' if kind < 0 else ERROR_TYPES[kind]}"
        scene.text((x1 + x2) / 2, -2 - 2.6 * lower, said, ha="center", va="top", size=6.5)
    scene.text(65, -2, "missed", ha="center", va="top", size=6.5)
    scene.set(
        xlim=(-6, 116), ylim=(-13, 14), title="objects filled; detections, all as cat, outlined", xticks=[], yticks=[]
    )
    for side in ("left", "bottom"):
        scene.spines[side].set_visible(False)
    names = [name.replace("_", " ") for name in table.errors]
    losses = [cost.dap for cost in table.errors.values()]
    bars.barh(range(len(names)), losses, color=[color(0)] * 6 + ["0.6"] * 2)
    for row, loss in enumerate(losses):
        bars.text(loss + 0.008, row, f"{loss:.3f}", va="center")
    bars.set_yticks(range(len(names)), names)
    bars.invert_yaxis()
    bars.set(xlim=(0, 0.6), title=f"AP50 is {table.AP50:.3f}; what each kind costs")
    save(drawn, "evaluation")


if __name__ == "__main__":
    main()

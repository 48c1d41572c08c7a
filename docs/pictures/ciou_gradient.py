"""The aspect term of CIoU: the arctan, v, and its derivative by the width beside the printed formula."""

from __future__ import annotations

import math

import torch
from style import color, figure, save
from torch import Tensor


def angle(w: Tensor | float, h: float) -> Tensor:
    """atan(w / h)."""
    return torch.atan(torch.as_tensor(w, dtype=torch.float64) / h)


def main() -> None:
    drawn, (angles, values, slopes) = figure(3, height=3.0)
    h = 1.0
    w = torch.linspace(0.02, 6, 600, dtype=torch.float64, requires_grad=True)
    angles.plot(w.detach(), angle(w.detach(), h) / math.pi, color=color(0))
    for width, place in ((0.25, 1), (1.0, 2), (4.0, 3)):
        height = float(angle(width, h)) / math.pi
        angles.plot([width, width, 0], [0, height, height], color=color(place), lw=1, ls=":")
        angles.plot([width], [height], "o", color=color(place), ms=4)
        angles.annotate(f"{width:g} : 1", (width, height), xytext=(4, -10), textcoords="offset points")
    angles.axhline(0.5, color="0.6", lw=0.8)
    angles.set(ylim=(0, 0.55), xlim=(0, 6), xlabel="w, h = 1", title="atan(w / h), in units of pi")
    v = 4 / math.pi**2 * (angle(1.0, 1.0) - angle(w, h)) ** 2
    (slope,) = torch.autograd.grad(v.sum(), w)
    values.plot(w.detach(), v.detach(), color=color(0))
    values.set(xlim=(0, 6), xlabel="w, h = 1, target 1 x 1", title="v")
    for here in (0.4, 2.0):
        at = 4 / math.pi**2 * (math.pi / 4 - math.atan(here)) ** 2
        values.annotate(
            "", (here + (0.5 if here < 1 else -0.9), at), (here, at), arrowprops={"arrowstyle": "->", "color": "0.3"}
        )
        values.plot([here], [at], "o", color="0.3", ms=4)
    inside = w.detach()
    said = 8 / math.pi**2 * (math.pi / 4 - torch.atan(inside / h)) * h / (inside**2 + h**2)
    slopes.plot(inside, slope, color=color(0), label="derivative of v")
    slopes.plot(inside, said, color=color(1), ls="--", label="as printed, eq. 12")
    slopes.axhline(0, color="0.6", lw=0.8)
    slopes.set(xlim=(0, 6), xlabel="w, h = 1, target 1 x 1", title="dv/dw")
    slopes.legend(frameon=False, loc="lower right", fontsize=8)
    save(drawn, "ciou_gradient")


if __name__ == "__main__":
    main()

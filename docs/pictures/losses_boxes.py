"""Box losses and the length of their gradients over shift and scale, where boxes overlap and where they don't."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from style import color, figure, plt, save
from torch import Tensor

from boxwright import losses
from boxwright.boxes import convert_boxes

SIDE = 100.0
IMAGE = 300
WIDE = (1.4, 0.7)  # the predicted box's sides in those of its target, a square

PLACES = [color(place) for place in (0, 1, 2, 3, 4, 5, 7)] + ["0.2"]

ON_BOXES: dict[str, tuple[Callable[..., Tensor], str]] = {
    "IoU": (losses.iou_loss, "-"),
    "-ln IoU": (partial(losses.iou_loss, mode="log"), "--"),
    "GIoU": (losses.giou_loss, "-"),
    "DIoU": (losses.diou_loss, "-"),
    "CIoU": (losses.ciou_loss, "--"),
    "EIoU": (losses.eiou_loss, "-"),
    "SIoU": (losses.siou_loss, ":"),
    "WIoU": (losses.wiou_loss, "-."),
}
LATER: dict[str, tuple[Callable[..., Tensor], str]] = {
    "IoU": (losses.iou_loss, "-"),
    "alpha-IoU, alpha 3": (losses.alpha_iou_loss, "--"),
    "inner IoU, ratio .75": (losses.inner_iou_loss, "-"),
    "inner IoU, ratio 1.5": (partial(losses.inner_iou_loss, ratio=1.5), "--"),
    "MPDIoU, image of 3 sides": (partial(losses.mpdiou_loss, image_size=IMAGE), "-"),
    "focal EIoU": (losses.focal_eiou_loss, "-"),
}
ON_DELTAS: dict[str, Callable[..., Tensor]] = {
    "L1": losses.l1_loss,
    "L2": losses.l2_loss,
    "smooth L1, beta 1": losses.smooth_l1_loss,
    "smooth L1, beta .11": partial(losses.smooth_l1_loss, beta=1 / 9),
    "balanced L1": losses.balanced_l1_loss,
    "focal L1": losses.focal_l1_loss,
}


def boxes(shift: Tensor | float, scale: Tensor | float) -> Tensor:
    """Predictions (N, 4): ``WIDE`` times ``scale``, moved to the right by so many sides of the target."""
    shift, scale = torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64) for v in (shift, scale)))
    sides = torch.stack([scale * WIDE[0], scale * WIDE[1]], dim=-1)
    center = torch.stack([shift, torch.zeros_like(shift)], dim=-1)
    return SIDE * convert_boxes(torch.cat([center, sides], dim=-1), "cxcywh", "xyxy")


def curve(loss: Callable[..., Tensor], pred: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (N,), and lengths of their gradients by the four corners' coordinates, times the target's side."""
    pred = pred.requires_grad_()
    target = torch.tensor([-SIDE / 2, -SIDE / 2, SIDE / 2, SIDE / 2], dtype=pred.dtype).expand_as(pred)
    value = loss(pred, target)
    return value.detach(), torch.autograd.grad(value.sum(), pred)[0].norm(dim=-1) * SIDE


def draw(chosen: dict[str, tuple[Callable[..., Tensor], str]], x: Tensor, pred: Tensor, *axes: plt.Axes | None) -> None:
    """Values on the first axes, lengths of the gradients on the second; None: not."""
    for place, (name, (loss, style)) in enumerate(chosen.items()):
        for plot, y in zip(axes, curve(loss, pred), strict=True):
            if plot is not None:
                plot.plot(x, y, style, color=PLACES[place], label=name, lw=1.6)


def draw_shift() -> None:
    """Over a shift to the right: until the boxes touch, and beyond."""
    drawn, (value_axes, slope_axes, later_axes) = figure(3)
    shift = torch.linspace(0, 3, 601, dtype=torch.float64)
    draw(ON_BOXES, shift, boxes(shift, 1.0), value_axes, slope_axes)
    draw(LATER, shift, boxes(shift, 1.0), None, later_axes)
    for axes in (value_axes, slope_axes, later_axes):
        axes.axvspan((1 + WIDE[0]) / 2, 3, color="0.93", lw=0)
        axes.set(xlim=(0, 3), xlabel="shift / side of the target")
    value_axes.set(ylim=(0, 3.8), title="loss (gray: disjoint)")
    value_axes.legend(frameon=False, loc="upper right", fontsize=8)
    slope_axes.set(ylim=(-0.05, 2.5), title="length of its gradient")
    later_axes.set(ylim=(-0.05, 2.5), title="length of the gradient, others")
    later_axes.legend(frameon=False, loc="upper right", fontsize=8)
    save(drawn, "losses_boxes")


def draw_scale() -> None:
    """Over the predicted box's scale: around the target's center, and away from it."""
    drawn, (value_axes, slope_axes, far_axes) = figure(3)
    scale = torch.logspace(-1, 1, 401, dtype=torch.float64)
    draw(ON_BOXES, scale, boxes(0.0, scale), value_axes, slope_axes)
    draw(ON_BOXES, scale, boxes(2.5, scale), None, far_axes)
    far_axes.axvspan(0.1, 4 / WIDE[0], color="0.93", lw=0)
    for axes in (value_axes, slope_axes, far_axes):
        axes.set(xscale="log", xlim=(0.1, 10), xlabel="scale of the predicted box")
    value_axes.set(ylim=(0, 3), title="same center: loss")
    slope_axes.set(ylim=(0, 4), title="same center: gradient")
    far_axes.set(ylim=(-0.03, 1.5), title="shifted by 2.5: gradient")
    slope_axes.legend(frameon=False, loc="upper right", fontsize=8)
    save(drawn, "losses_boxes_scale")


def draw_deltas() -> None:
    """Over the difference of one delta."""
    drawn, (value_axes, slope_axes) = figure(2, height=3.2)
    d = torch.linspace(0, 2, 401, dtype=torch.float64)
    for place, (name, loss) in enumerate(ON_DELTAS.items()):
        delta = torch.stack([d, d * 0, d * 0, d * 0], dim=-1).requires_grad_()
        value = loss(delta, torch.zeros_like(delta))
        slope = torch.autograd.grad(value.sum(), delta)[0][:, 0]
        for axes, y in ((value_axes, value.detach()), (slope_axes, slope)):
            axes.plot(d, y, color=PLACES[place], label=name, lw=1.6)
    value_axes.set(xlim=(0, 2), ylim=(0, 2.5), xlabel="difference of one delta", title="losses on deltas")
    value_axes.legend(frameon=False, loc="upper left")
    slope_axes.set(xlim=(0, 2), ylim=(0, 2.5), xlabel="difference of one delta", title="slope")
    save(drawn, "losses_boxes_deltas")


if __name__ == "__main__":
    draw_shift()
    draw_scale()
    draw_deltas()

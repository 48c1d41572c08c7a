"""Classification losses and their gradients over the probability of the true class; soft targets and class weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from style import color, figure, plt, save
from torch import Tensor

from boxwright import losses

Curve = tuple[Tensor, Tensor]


def softmax(loss: Callable[..., Tensor], p: Tensor, label: int) -> Curve:
    """Loss and slope by the logit of a class of probability p, against one other."""
    logit = p.logit().requires_grad_()
    value = loss(torch.stack([logit, torch.zeros_like(logit)], dim=1), torch.full((len(p),), label))
    return value.detach(), torch.autograd.grad(value.sum(), logit)[0]


def sigmoid(loss: Callable[..., Tensor], p: Tensor, target: float) -> Curve:
    """Loss and slope of one element whose target is a number."""
    logit = p.logit().requires_grad_()
    value = loss(logit[:, None], torch.full_like(logit, target)[:, None], reduction="rows")
    return value.detach(), torch.autograd.grad(value.sum(), logit)[0]


def line(axes: plt.Axes, x: Tensor, y: Tensor, place: int, label: str, style: str = "-") -> None:
    axes.plot(x, y, style, color=color(place), label=label, lw=1.6)


def draw_curves() -> None:
    """Value and slope of a positive, slope of a negative."""
    drawn, (value_axes, slope_axes, negative_axes) = figure(3)
    p = torch.linspace(0.005, 0.995, 400, dtype=torch.float64)
    positives = {
        "cross entropy": (softmax(losses.cross_entropy, p, 0), "-"),
        "focal, gamma 1": (softmax(partial(losses.softmax_focal_loss, gamma=1.0), p, 0), "-"),
        "focal, gamma 2": (softmax(losses.softmax_focal_loss, p, 0), "-"),
        "focal, gamma 5": (softmax(partial(losses.softmax_focal_loss, gamma=5.0), p, 0), "-"),
        "poly, epsilon 1": (softmax(losses.poly_loss, p, 0), "--"),
        "poly, epsilon -1": (softmax(partial(losses.poly_loss, epsilon=-1.0), p, 0), "--"),
    }
    for place, (name, ((value, slope), style)) in enumerate(positives.items()):
        line(value_axes, p, value, place, name, style)
        line(slope_axes, p, slope.abs(), place, name, style)
    value_axes.set(ylim=(0, 5), xlabel="p of the true class", title="loss of a positive")
    value_axes.legend(frameon=False)
    slope_axes.set(yscale="log", ylim=(1e-4, 4), xlabel="p of the true class", title="its gradient by the logit")

    p = torch.logspace(-3, -0.01, 300, dtype=torch.float64)
    negatives = {  # gamma 2 stands for varifocal and quality focal loss too, which are 3/4 and 1 times it
        "binary cross entropy": (losses.binary_cross_entropy, 0),
        "focal, gamma 1": (partial(losses.sigmoid_focal_loss, gamma=1.0, alpha=None), 1),
        "gamma 2, quality focal, varifocal": (losses.quality_focal_loss, 2),
        "focal, gamma 5": (partial(losses.sigmoid_focal_loss, gamma=5.0, alpha=None), 3),
    }
    for name, (loss, place) in negatives.items():
        line(negative_axes, p, sigmoid(loss, p, 0.0)[1], place, name)
    negative_axes.set(
        xscale="log", yscale="log", ylim=(1e-22, 4), xlabel="p where nothing is", title="gradient of a negative"
    )
    negative_axes.legend(frameon=False, loc="lower right", fontsize=8, borderaxespad=0)
    save(drawn, "losses_classification")


def draw_targets() -> None:
    """Soft targets, and the weights of classes."""
    drawn, (value_axes, slope_axes, weight_axes) = figure(3)
    p = torch.linspace(0.005, 0.995, 400, dtype=torch.float64)
    soft = {
        "binary cross entropy": losses.binary_cross_entropy,
        "quality focal": losses.quality_focal_loss,
        "varifocal": losses.varifocal_loss,
    }
    for place, (name, loss) in zip((0, 4, 3), soft.items(), strict=True):
        value, slope = sigmoid(loss, p, 0.6)
        line(value_axes, p, value, place, name)
        line(slope_axes, p, slope, place, name)
    for axes in (value_axes, slope_axes):
        axes.axvline(0.6, color="0.6", lw=0.8, ls=":")
    value_axes.set(ylim=(0, 2.5), xlabel="p", title="a positive with IoU .6: loss")
    value_axes.legend(frameon=False, loc="upper right")
    slope_axes.axhline(0, color="0.6", lw=0.8)
    slope_axes.set(xlabel="p", title="its gradient by the logit")

    counts = torch.tensor([10, 30, 100, 300, 1000, 3000, 10000])
    for place, scheme in enumerate(("inverse", "effective", "inverse_sqrt", "inverse_log")):
        style = "o--" if scheme == "effective" else "o-"
        weights = losses.class_weights(counts, scheme)
        weight_axes.plot(counts, weights, style, color=color(place), label=scheme, ms=4, lw=1.6)
    weight_axes.set(xscale="log", yscale="log", xlabel="boxes of the class", title="weights of seven classes")
    weight_axes.legend(frameon=False, loc="lower left")
    save(drawn, "losses_classification_targets")


if __name__ == "__main__":
    draw_curves()
    draw_targets()

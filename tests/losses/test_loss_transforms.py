"""Every loss under torch's transforms: vmap, torch.func, torch.compile without a graph break, torch.export; and on a
device that can't be waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from boxwright import losses
from boxwright.parts import ClassLossInfo, part_info

ROWS, CLASSES = 7, 3
LABELS = torch.tensor([0, 1, 2, 3, -1, 0, 3])


def cases() -> list[Any]:
    """(loss, predictions, targets) of all losses, the classification of sigmoids with both kinds of targets."""
    draw = torch.Generator().manual_seed(0)
    logits, wide = (torch.randn(ROWS, columns, generator=draw) for columns in (CLASSES, CLASSES + 1))
    soft = torch.rand(ROWS, CLASSES, generator=draw)
    boxes = torch.rand(ROWS, 4, generator=draw) * 20
    boxes[:, 2:] += boxes[:, :2] + 5
    near = boxes + torch.randn(ROWS, 4, generator=draw)
    inputs = {
        "softmax": [("", wide, LABELS)],
        "sigmoid": [("", logits, LABELS), (" soft", logits, soft)],
        "distribution": [("", torch.randn(ROWS, 4, 9, generator=draw), torch.rand(ROWS, 4, generator=draw) * 8)],
        "boxes": [("", near, boxes)],
        "deltas": [("", near, boxes)],
    }
    options: dict[str, list[dict[str, Any]]] = {
        "mpdiou_loss": [{"image_size": 100}],
        "sigmoid_focal_loss": [{}, {"alpha": "batch"}, {"alpha": torch.tensor([0.1, 0.5, 0.9]), "gamma": 0.0}],
        "cross_entropy": [{}, {"weight": torch.tensor([1.0, 0.5, 2.0, 1.0])}, {"label_smoothing": 0.1}],
        "softmax_focal_loss": [{"alpha": torch.tensor([1.0, 0.5, 2.0, 1.0])}],
    }
    found = []
    for name, kind in losses.available().items():
        for bound in options.get(name, [{}]):
            loss = partial(getattr(losses, name), **bound)
            found += [
                pytest.param(loss, pred, target, id=f"{name}{suffix} {'-'.join(bound)}".strip())
                for suffix, pred, target in inputs[kind]
            ]
    return found


def gradient(loss: Callable[..., Tensor], pred: Tensor, target: Tensor) -> Tensor:
    leaf = pred.clone().requires_grad_()
    loss(leaf, target).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


CASES = cases()
every_loss = pytest.mark.parametrize(("loss", "pred", "target"), CASES)
compiling_every_loss = pytest.mark.parametrize(
    ("loss", "pred", "target"),
    [
        case
        if isinstance(part_info(case.values[0]), ClassLossInfo)
        else pytest.param(*case.values, id=case.id, marks=pytest.mark.slow)  # all together take a while
        for case in CASES
    ],
)


@every_loss
def test_vmap(loss: Any, pred: Tensor, target: Tensor) -> None:
    wanted = torch.stack([loss(pred, target), loss(pred + 1, target.flip(0))])
    both = torch.vmap(loss)(torch.stack([pred, pred + 1]), torch.stack([target, target.flip(0)]))
    torch.testing.assert_close(both, wanted)
    shared = torch.vmap(loss, in_dims=(0, None))(torch.stack([pred, pred + 1]), target)
    torch.testing.assert_close(shared, torch.stack([loss(pred, target), loss(pred + 1, target)]))


@every_loss
def test_torch_func_grad(loss: Any, pred: Tensor, target: Tensor) -> None:
    def total(pred: Tensor, target: Tensor) -> Tensor:
        return loss(pred, target).sum()

    wanted = gradient(loss, pred, target)
    torch.testing.assert_close(torch.func.grad(total)(pred, target), wanted)
    of_each = torch.vmap(torch.func.grad(total))(pred[None], target[None])
    torch.testing.assert_close(of_each, wanted[None])
    _, slope = torch.func.jvp(partial(total, target=target), (pred,), (torch.ones_like(pred),))
    torch.testing.assert_close(slope, wanted.sum(), rtol=1e-4, atol=1e-5)


@every_loss
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_waits_for_no_device(loss: Any, pred: Tensor, target: Tensor, reduction: str) -> None:
    """A tensor on "meta" has no values: whatever asks for one, or for a shape that depends on them, raises."""
    options = {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in loss.keywords.items()}
    leaf = pred.to("meta").requires_grad_()
    value = loss.func(leaf, target.to("meta"), **options, reduction=reduction)
    value.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.shape == pred.shape


@compiling_every_loss
def test_compile_without_a_graph_break(loss: Any, pred: Tensor, target: Tensor) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    leaf = pred.clone().requires_grad_()
    value = compiled(leaf, target)
    torch.testing.assert_close(value, loss(pred, target))
    value.sum().backward()
    torch.testing.assert_close(leaf.grad, gradient(loss, pred, target))


@compiling_every_loss
def test_export(loss: Any, pred: Tensor, target: Tensor) -> None:
    # Outside of what is traced, since older exporters know no partials
    function, options = loss.func, {name: v for name, v in loss.keywords.items() if not isinstance(v, Tensor)}

    class Supervised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, value in loss.keywords.items():
                if isinstance(value, Tensor):  # older exporters take buffers alone
                    self.register_buffer(name, value)

        def forward(self, pred: Tensor, target: Tensor) -> Tensor:
            result: Tensor = function(pred, target, **options, **dict(self.named_buffers()))
            return result

    exported = torch.export.export(Supervised(), (pred, target)).module()
    torch.testing.assert_close(exported(pred, target), loss(pred, target))


@pytest.mark.parametrize("loss", [losses.seesaw_loss, partial(losses.ghm_loss, momentum=0.5)])
def test_a_state_is_kept_by_compiled_losses_too(loss: Any) -> None:
    torch._dynamo.reset()
    columns = CLASSES + (loss is losses.seesaw_loss)
    pred = torch.randn(2, ROWS, columns)
    states = [losses.initial_state(loss, CLASSES) for _ in range(2)]
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for step in pred:
        torch.testing.assert_close(compiled(step, LABELS, state=states[0]), loss(step, LABELS, state=states[1]))
        torch.testing.assert_close(states[0], states[1])
    assert states[0] is not None
    assert states[0].any()

"""A device that is the CPU, but says "meta" and keeps a list of all that waits for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

# What they give, or its shape, depends on values; the kernel of NMS ends with the number of what stays.
_WAITING = ("nonzero", "_local_scalar_dense", "masked_select", "_unique", "unique", "repeat_interleave", "equal", "nms")
_DEVICE = torch.device("meta")


class _Remote(Tensor):
    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _Remote:
        made: _Remote = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=_DEVICE
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} ran outside of Elsewhere")


class Elsewhere(TorchDispatchMode):
    """Within it, tensors that ``send`` gives live on a device: ``waits`` names what waited, ``launched`` counts calls.

    A copy from the CPU waits too, unless it is non-blocking.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.launched = 0

    def send(self, *tensors: Tensor) -> list[Tensor]:
        return [_Remote(values) for values in tensors]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        remote = any(isinstance(value, _Remote) for value in tree_flatten((args, kwargs))[0])
        wanted = kwargs.get("device")
        arrives = wanted is not None and torch.device(wanted) == _DEVICE
        leaves = wanted is not None and not arrives
        if remote or arrives:
            self._note(func.overloadpacket.__name__, args, kwargs, remote, leaves)
        if arrives:
            kwargs["device"] = torch.device("cpu")
        args, kwargs = tree_map_only(_Remote, lambda value: value.held, (args, kwargs))
        result = func(*args, **kwargs)
        if leaves or not (remote or arrives):
            return result
        return tree_map_only(Tensor, _Remote, result)

    def _note(self, name: str, args: Any, kwargs: Any, remote: bool, leaves: bool) -> None:
        self.launched += 1
        indices = [value for value in tree_flatten(args[1:2])[0] if isinstance(value, Tensor)]
        by_mask = name.startswith("index") and any(index.dtype == torch.bool for index in indices)
        copied = any(isinstance(value, Tensor) for value in tree_flatten(args)[0]) and not kwargs.get("non_blocking")
        if leaves or by_mask or name.startswith(_WAITING) or (copied and not remote):
            self.waits.append(name)

"""Learning rates by layer: factors of the recipe's rate, and the time that a layer waits before it learns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn

from boxwright.errors import RecipeError
from boxwright.recipes import Recipe
from boxwright.text import did_you_mean
from boxwright.values import numbers_by_name

_NET = "net."
_STARTED = "start"  # stands for all layers that came with the start, in place of a prefix


class Rate(NamedTuple):
    """Learning rate factor of a layer, and its delay."""

    factor: float = 1.0
    """Factor of the recipe's learning rate."""
    delay: float = 0.0
    """Share of the training before which the layer does not change."""

    def at(self, done: float, factor: float) -> float:
        """Compute the layer's share of the peak learning rate.

        ``done`` is the share of the training that is done, ``factor`` the schedule's.
        """
        return self.factor * factor if done >= self.delay else 0.0


def layer_rates(names: Iterable[str], recipe: Recipe, started: Collection[str] = ()) -> dict[str, Rate]:
    """Find how each of a detector's parameters learns, by ``layer_lr`` and ``layer_delay`` of the recipe.

    The longest matching prefix counts; ``started``, the names that came with a start, match with length 0.

    Raises:
        RecipeError: For a prefix that no name has.
    """
    listed = list(names)
    factors = numbers_by_name("layer_lr", recipe.layer_lr)
    delays = numbers_by_name("layer_delay", recipe.layer_delay)
    for key, table in (("layer_lr", factors), ("layer_delay", delays)):
        for prefix in table:
            if prefix != _STARTED and not any(_has_prefix(name, prefix) for name in listed):
                layers = sorted({name.removeprefix(_NET).partition(".")[0] for name in listed})
                raise RecipeError(f"{key}: the network has no layer {prefix!r}{did_you_mean(prefix, layers)}")
    return {name: Rate(_value(name, factors, 1.0, started), _value(name, delays, 0.0, started)) for name in listed}


def _value(name: str, table: Mapping[str, float], default: float, started: Collection[str]) -> float:
    prefix = max(
        (prefix for prefix in table if prefix != _STARTED and _has_prefix(name, prefix)), key=len, default=None
    )
    if prefix is not None:
        return table[prefix]
    return table.get(_STARTED, default) if name in started else default


def _has_prefix(name: str, prefix: str) -> bool:
    return f"{name.removeprefix(_NET)}.".startswith(f"{prefix}.")


def parameter_groups(
    module: nn.Module, weight_decay: float, rates: Mapping[str, Rate] | None = None
) -> list[dict[str, Any]]:
    """Group the trainable weights for an optimizer: those with two or more dimensions decay; biases and norms do not.

    ``rates`` by name: two groups per rate, stored as ``rate``; the first two are those of the recipe's own rate,
    without it.
    """
    by_rate: dict[Rate, list[nn.Parameter]] = {Rate(): []}
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            by_rate.setdefault((rates or {}).get(name, Rate()), []).append(weight)
    groups: list[dict[str, Any]] = []
    for rate, weights in by_rate.items():
        said = {} if rate == Rate() else {"rate": list(rate)}  # plain, as checkpoints are
        groups.append({"params": [w for w in weights if w.ndim >= 2], "weight_decay": weight_decay, **said})
        groups.append({"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0, **said})
    return groups

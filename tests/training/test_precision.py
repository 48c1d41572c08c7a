"""Which arithmetic is chosen, and that it is said why."""

import pytest
from torch import nn

from boxwright.models.layers import has_depthwise
from boxwright.recipes import get_recipe
from boxwright.training import precision
from boxwright.training.precision import choose_precision

PLAIN = nn.Conv2d(4, 4, 3)
DEPTHWISE = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4))


@pytest.mark.parametrize(
    ("asked", "flags", "net", "name", "reason"),
    [
        ("auto", ["avx2"], PLAIN, "float32", "no bf16"),
        ("auto", ["avx512_bf16"], PLAIN, "bf16", "has bf16"),
        ("auto", ["amx_bf16"], DEPTHWISE, "float32", "depthwise"),
        ("bf16", ["bf16"], DEPTHWISE, "bf16", "as asked for"),
        ("bf16", [], PLAIN, "bf16", "only emulates"),
        ("float32", ["bf16"], PLAIN, "float32", "as asked for"),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch, asked: str, flags: list[str], net: nn.Module, name: str, reason: str
) -> None:
    monkeypatch.setattr(precision, "environment", lambda: {"cpu_flags": flags})
    chosen = choose_precision(get_recipe("lite320", precision=asked), "cpu", net)
    assert chosen.name == name
    assert reason in chosen.reason
    assert chosen.for_trainer == {"float32": "32-true", "bf16": "bf16-mixed"}[name]


def test_depthwise_is_found_by_shape() -> None:
    assert has_depthwise(DEPTHWISE)
    assert not has_depthwise(nn.Conv2d(4, 4, 3, groups=2))

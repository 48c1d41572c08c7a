"""Which arithmetic is chosen, and that it is said why."""

import pytest
import torch
from torch import nn

from boxwright.errors import RecipeError
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
    assert chosen.plugin("cpu").precision == {"float32": "32-true", "bf16": "bf16-mixed"}[name]


@pytest.mark.parametrize(
    ("card", "capability", "bf16", "asked", "name", "reason"),
    [
        ("NVIDIA A100-SXM4-40GB", (8, 0), True, "auto", "bf16", "this GPU has bf16"),
        ("Tesla T4", (7, 5), False, "auto", "fp16", "fp16 arithmetic and no bf16"),
        ("Tesla V100-SXM2-16GB", (7, 0), False, "auto", "fp16", "fp16 arithmetic and no bf16"),
        ("NVIDIA GeForce RTX 2080 Ti", (7, 5), False, "auto", "fp16", "fp16 arithmetic and no bf16"),
        ("NVIDIA GeForce GTX 1660 Ti", (7, 5), False, "auto", "float32", "no bf16"),
        ("NVIDIA T1000 8GB", (7, 5), False, "auto", "float32", "no bf16"),
        ("NVIDIA GeForce GTX 1080", (6, 1), False, "auto", "float32", "no bf16"),
        ("Tesla T4", (7, 5), False, "float32", "float32", "as asked for"),
        ("Tesla T4", (7, 5), False, "bf16", "bf16", "this GPU only emulates it"),
        ("NVIDIA A100-SXM4-40GB", (8, 0), True, "fp16", "fp16", "as asked for"),
    ],
)
def test_choice_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    card: str,
    capability: tuple[int, int],
    bf16: bool,
    asked: str,
    name: str,
    reason: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: card)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    chosen = choose_precision(get_recipe("lite320", precision=asked), "cuda", DEPTHWISE)
    assert chosen.name == name
    assert reason in chosen.reason


def test_a_processor_refuses_fp16() -> None:
    with pytest.raises(RecipeError, match="fp16 is for GPUs: on the processor set precision=bf16 or precision=float32"):
        choose_precision(get_recipe("lite320", precision="fp16"), "cpu", PLAIN)


def test_depthwise_is_found_by_shape() -> None:
    assert has_depthwise(DEPTHWISE)
    assert not has_depthwise(nn.Conv2d(4, 4, 3, groups=2))

"""Which arithmetic is chosen, and that it is said why."""

import pytest
import torch

from boxwright.errors import RecipeError
from boxwright.recipes import get_recipe
from boxwright.training import precision
from boxwright.training.distributed import Ranks
from boxwright.training.precision import choose_precision, run_precision
from boxwright.training.step_timing import StepSeconds

SLOWER, FASTER, NO_MATTER = StepSeconds(1.0, 1.04), StepSeconds(1.9, 1.0), StepSeconds(1.04, 1.0)


def never() -> StepSeconds:
    raise AssertionError("timed for nothing")


@pytest.mark.parametrize(
    ("asked", "flags", "seconds", "name", "reason"),
    [
        ("auto", ["avx2"], None, "float32", "this processor has no bf16 arithmetic"),
        ("auto", ["avx512_bf16"], FASTER, "bf16", "1.9x float32 here (timed)"),
        ("auto", ["amx_bf16"], SLOWER, "float32", "bf16 is 0.962x float32 here (timed)"),
        ("auto", ["amx_bf16"], NO_MATTER, "float32", "bf16 is 1.04x float32 here (timed)"),
        ("bf16", ["bf16"], None, "bf16", "as asked for"),
        ("bf16", [], None, "bf16", "as asked for; this processor only emulates it"),
        ("float32", ["bf16"], None, "float32", "as asked for"),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch, asked: str, flags: list[str], seconds: StepSeconds | None, name: str, reason: str
) -> None:
    monkeypatch.setattr(precision, "environment", lambda: {"cpu_flags": flags})
    timed = never if seconds is None else lambda: seconds
    chosen = choose_precision(get_recipe("lite320", precision=asked), "cpu", timed)
    assert chosen == (name, reason, seconds)
    assert chosen.plugin("cpu").precision == {"float32": "32-true", "bf16": "bf16-mixed"}[name]


def test_a_run_goes_on_as_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "environment", lambda: {"cpu_flags": ["amx_bf16"]})
    recipe = get_recipe("lite320")
    began = run_precision(recipe, "cpu", {}, Ranks(), lambda: FASTER)
    record = {"device": "cpu", **began.to_json()}
    assert run_precision(recipe, "cpu", record, Ranks(), never)[::2] == ("bf16", FASTER)
    assert run_precision(recipe, "cpu", {"steps": 3}, Ranks(), lambda: SLOWER).name == "float32"
    assert run_precision(recipe, "cpu", record | {"device": "cuda"}, Ranks(), lambda: SLOWER).name == "float32"
    asked = recipe.replace(precision="float32")
    assert run_precision(asked, "cpu", record, Ranks(), never).name == "float32"


@pytest.mark.parametrize("first", ["bf16", "float32"])
def test_all_processes_take_the_first_one_s(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """What the others would find plays no part, and they time nothing."""
    monkeypatch.setattr(precision, "environment", lambda: {"cpu_flags": ["amx_bf16"]})
    sent: list[int] = []

    def of_first(ranks: Ranks, number: int, accelerator: str) -> int:
        if ranks.first:
            sent.append(number)
        return sent[0]

    monkeypatch.setattr(Ranks, "of_first", of_first)
    seconds = FASTER if first == "bf16" else SLOWER
    chosen = [
        run_precision(get_recipe("lite320"), "cpu", {}, Ranks(rank, 2, 2), never if rank else lambda: seconds)
        for rank in range(2)
    ]
    assert [each.name for each in chosen] == [first, first]


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
    chosen = choose_precision(get_recipe("lite320", precision=asked), "cuda", never)
    assert chosen.name == name
    assert reason in chosen.reason


def test_a_processor_refuses_fp16() -> None:
    with pytest.raises(RecipeError, match="fp16 is for GPUs: on the processor set precision=bf16 or precision=float32"):
        choose_precision(get_recipe("lite320", precision="fp16"), "cpu", never)

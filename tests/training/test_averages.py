"""The averaged weights are, to the bit, what their formula gives tensor by tensor."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from boxwright.training.averages import Averages, newest_share
from boxwright.training.callbacks import AveragedWeights


class Tied(nn.Module):
    """Weights of two layers in one tensor, statistics, whole numbers, and a buffer that is replaced at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("wide", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("none", None)

    def step(self) -> None:
        with torch.no_grad():
            for p in self.parameters():
                p.add_(torch.randn_like(p))
            self.norm(torch.randn(4, 3))
        self.wide = torch.randn_like(self.wide)


def one_by_one(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
    return average + (current - average) * newest_share(0.9, int(updates))


def test_averages_are_those_of_each_tensor_alone() -> None:
    torch.manual_seed(0)
    module = Tied()
    ours = Averages(module, 0.9)
    theirs = AveragedModel(module, avg_fn=one_by_one, use_buffers=True)
    for _ in range(30):
        module.step()
        ours.update_parameters(module)
        theirs.update_parameters(module)
        found, wanted = ours.state_dict(), theirs.state_dict()
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert found[name].dtype == value.dtype, name
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-7)
    assert ours.module.second.weight is ours.module.first.weight
    assert not torch.equal(ours.module.first.weight, module.first.weight)


def test_a_restored_average_goes_on_where_it_stood(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Tied()
    whole = Averages(module, 0.9)
    for step in range(6):
        module.step()
        if step == 3:
            torch.save(whole.state_dict(), tmp_path / "state.pt")
            resumed = Averages(module, 0.9)
            resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
        whole.update_parameters(module)
        if step >= 3:
            resumed.update_parameters(module)
    assert resumed.n_averaged == 6
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_the_newest_weights_count_much_at_first() -> None:
    assert newest_share(0.9, 0) == pytest.approx(0.9)
    assert newest_share(0.9, 1) == pytest.approx(9 / 11)
    assert newest_share(0.9, 10_000) == pytest.approx(0.1)


def test_averages_are_on_the_device_of_the_training_before_the_module_is() -> None:
    """Else each update would fetch all weights to the host."""
    callback = AveragedWeights(0.9)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")))
    callback.setup(trainer, Tied(), "fit")  # type: ignore[arg-type]
    assert callback._average_model is not None
    assert {value.device.type for value in callback._average_model.module.state_dict().values()} == {"meta"}
    assert callback._average_model.n_averaged.device.type == "cpu"

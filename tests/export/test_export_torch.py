"""Files of torch.export are loaded and run where boxwright isn't."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from export_runs import lively_run

from boxwright.errors import RecipeError
from boxwright.export import export_run
from boxwright.export.suppression import by_torchvision
from boxwright.export.torch_graph import METADATA, to_program
from boxwright.nms import batched_nms
from command_line import Boxwright

ELSEWHERE = """
import sys

sys.modules["boxwright"] = None  # an import of it raises
sys.modules["torchvision"] = None
import numpy as np
import torch

raw, whole, pictures, out = sys.argv[1:]
images = torch.from_numpy(np.load(pictures))
extra = {"boxwright.json": ""}
found = torch.export.load(raw, extra_files=extra).module()(images)
assert extra["boxwright.json"].startswith("{")
del sys.modules["torchvision"]
import torchvision

found |= {f"whole_{name}": values for name, values in torch.export.load(whole).module()(images).items()}
np.savez(out, **{name: values.numpy() for name, values in found.items()})
"""


@pytest.mark.slow
def test_a_process_without_boxwright_finds_what_the_run_finds(tmp_path: Path, boxwright: Boxwright) -> None:
    run = lively_run(tmp_path / "run", "tiny-detector", vote=0.05)
    outcome = boxwright("export", run.folder, "--format", "torch", "--nms", "runtime", "--out", tmp_path / "raw")
    assert outcome.code == 0, outcome.err
    whole = export_run(run.folder, form="torch")
    assert whole.file == run.folder / "model.pt2"
    assert whole.agreement.pairs > 100
    pictures = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), np.uint8)
    pictures[:, 20:40, 20:50] = 255
    np.save(tmp_path / "pictures.npy", pictures)
    files = tmp_path / "raw" / "model.pt2", whole.file, tmp_path / "pictures.npy", tmp_path / "found.npz"
    subprocess.run([sys.executable, "-c", ELSEWHERE, *map(str, files)], check=True)
    found = np.load(tmp_path / "found.npz")
    assert found["scores"].shape == (5, len(run.load().anchors), 3)
    for row, expected in enumerate(run.load().predict(list(pictures))):
        count = int(found["whole_count"][row])
        assert count == len(expected.scores) > 0
        assert found["whole_scores"][row, :count] == pytest.approx(expected.scores.numpy(), abs=1e-4)
        assert found["whole_boxes"][row, :count] == pytest.approx(expected.boxes.numpy(), abs=0.05)
        assert found["whole_labels"][row, :count].tolist() == expected.labels.tolist()
    extra = {METADATA: ""}
    torch.export.load(whole.file, extra_files=extra)
    assert json.loads(extra[METADATA])["classes"] == list(run.recipe.classes)


@pytest.mark.parametrize("columns", [1, 4])
def test_suppression_by_columns(columns: int) -> None:
    rng = torch.Generator().manual_seed(0)
    corners = torch.rand(3, 60, 2, generator=rng) * 50
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(3, 60, 2, generator=rng)], -1)
    scores, labels = torch.rand(3, 60, generator=rng), torch.randint(columns, (3, 60), generator=rng)
    there = torch.rand(3, 60, generator=rng) < 0.8
    rows = torch.full((3, columns, 60), -1.0).scatter(1, labels[:, None], torch.where(there, scores, -1)[:, None])
    kept = by_torchvision(boxes, rows, 0.4)
    for image in range(3):
        own = there[image].nonzero().squeeze(1)
        left = own[batched_nms(boxes[image, own], scores[image, own], labels[image, own], 0.4)]
        assert 0 < len(left) < len(own)
        assert kept[image].nonzero().squeeze(1).tolist() == sorted(left.tolist())


class Doubting(torch.nn.Module):
    """What no graph can be made of."""

    def forward(self, images: torch.Tensor, valid_size: torch.Tensor | None = None) -> tuple[torch.Tensor]:
        return (images + 1 if images.sum() > 0 else images,)


def test_a_network_that_torch_cannot_export() -> None:
    with pytest.raises(RecipeError, match=r"^torch can't export this network: [^\n]{10,}$"):
        to_program(Doubting(), {"images": torch.zeros(2, 3)}, ("out",), dynamic=True)

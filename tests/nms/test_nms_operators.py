"""torchvision's suppression is found with and without torchvision's modules, and lets these be imported later."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import torch
from boxwright.nms import _torchvision

def load_other(path, load=torch.ops.load_library):
    torch.ops.load_library = load
    raise OSError(path)

{prepare}
boxes = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
scores = torch.tensor([.5, .9, .7])
kept = _torchvision.nms(boxes, scores, .5)
assert kept.tolist() == [1, 2], kept
print("torchvision" not in sys.modules)
import torchvision
assert torch.equal(torchvision.ops.nms(boxes, scores, .5), kept)
"""


@pytest.mark.parametrize(
    ("prepare", "alone"),
    [
        ("", "True"),
        ("_torchvision._LIBRARIES = ('absent',)", "False"),
        ("torch.ops.load_library = load_other", "False"),
        ("import torchvision", "False"),
    ],
)
def test_with_and_without_torchvision(prepare: str, alone: str) -> None:
    program = PROGRAM.format(prepare=prepare)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, alone), ran.stderr

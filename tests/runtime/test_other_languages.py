"""The resizes of docs/deploy.md in JavaScript and C++ are Pillow's, to a level of 255."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
NODE = """
const fs = require("fs"), [h, w, H, W] = process.argv.slice(3).map(Number);
process.stdout.write(resize(fs.readFileSync(process.argv[2]), h, w, H, W));
"""
CPP = """
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
int main(int, char** given) {
  std::ifstream file(given[1], std::ios::binary);
  Bytes rgb((std::istreambuf_iterator<char>(file)), {});
  const Bytes out = resize(rgb, atoi(given[2]), atoi(given[3]), atoi(given[4]), atoi(given[5]));
  std::cout.write(reinterpret_cast<const char*>(out.data()), out.size());
}
"""


def block(language: str) -> str:
    """The first block of that language on the page."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def javascript(folder: Path) -> list[str]:
    (folder / "resize.js").write_text(block("javascript") + NODE)
    return ["node", str(folder / "resize.js")]


def cpp(folder: Path) -> list[str]:
    (folder / "resize.cpp").write_text(block("cpp") + CPP)
    subprocess.run(["g++", "-O1", "-std=c++17", "-Wall", "-o", folder / "resize", folder / "resize.cpp"], check=True)
    return [str(folder / "resize")]


@pytest.mark.parametrize(("tool", "build"), [("node", javascript), ("g++", cpp)])
def test_resize_is_that_of_pillow(tool: str, build: object, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} isn't installed")
    command = build(tmp_path)  # type: ignore[operator]
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    (tmp_path / "pixels").write_bytes(pixels.tobytes())
    for height, width in ((32, 32), (130, 48), (90, 70)):
        ran = subprocess.run(
            [*command, tmp_path / "pixels", "90", "70", str(height), str(width)], capture_output=True, check=True
        )
        found = np.frombuffer(ran.stdout, np.uint8).reshape(height, width, 3)
        expected = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        assert np.abs(found.astype(int) - expected).max() <= 1

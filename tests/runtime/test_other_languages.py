"""The resizes of docs/deploy.md in JavaScript and C++ are Pillow's, and its JavaScript finds what the runtime finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from export_runs import lively_run
from PIL import Image

from boxwright.export import export_run
from boxwright.runtime import Predictor

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
NODE = """
const fs = require("fs"), [h, w, H, W] = process.argv.slice(3).map(Number);
process.stdout.write(resize(fs.readFileSync(process.argv[2]), h, w, H, W));
"""
WEB = """
const ort = require("onnxruntime-web"), fs = require("fs"), [file, pixels] = process.argv.slice(2);
const rgb = fs.readFileSync(pixels), h = 64, w = 64;
(async () => {
  const session = await ort.InferenceSession.create(fs.readFileSync(file), { executionProviders: ["wasm"] });
%s
  const n = Number(count.data[0]), numbers = (tensor, size) => Array.from(tensor.data.slice(0, n * size), Number);
  console.log(JSON.stringify({ boxes: numbers(boxes, 4), scores: numbers(scores, 1), labels: numbers(labels, 1) }));
  process.exit(0);
})();
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


def block(language: str, place: int = 0) -> str:
    """A block of that language on the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[place]


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


@pytest.mark.slow
def test_onnxruntime_web_finds_what_the_runtime_finds(tmp_path: Path) -> None:
    modules = os.environ.get("BOXWRIGHT_NODE_MODULES")
    if modules is None or shutil.which("node") is None:
        pytest.skip("needs node, and onnxruntime-web in the folder that BOXWRIGHT_NODE_MODULES names")
    file = export_run(lively_run(tmp_path / "run", "lite320", vote=0.05).folder).file
    script = (block("javascript") + WEB % block("javascript", 1)).replace("320", "64")
    (tmp_path / "web.js").write_text(script)
    # at the input's size: a level of difference would be another detection for weights that learned nothing
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    (tmp_path / "pixels").write_bytes(pixels.tobytes())
    ran = subprocess.run(
        ["node", tmp_path / "web.js", file, tmp_path / "pixels"],
        env={**os.environ, "NODE_PATH": modules},
        capture_output=True,
        check=True,
    )
    found, expected = json.loads(ran.stdout), Predictor(file)([pixels])[0]
    assert len(expected.scores) > 10
    assert found["labels"] == expected.labels.tolist()
    np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-4)
    np.testing.assert_allclose(np.reshape(found["boxes"], (-1, 4)), expected.boxes, atol=0.05)

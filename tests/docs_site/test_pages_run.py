"""The code of the pages runs: the how-to pages whole, from a data set to their last line; the others' Python."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import boxwright as bw
from command_line import Boxwright
from page_blocks import DOCS, Block, blocks, commands, make_folder, quick, quick_python

HOWTO = sorted((DOCS / "howto").glob("*.md"))
TRAINED = {"evaluate", "predict", "export", "serve", "start-from-a-run"}
"""Pages that begin with a run, runs/my-images-lite320."""
NEEDS = dict.fromkeys(("export", "serve"), ("onnx", "onnxscript", "onnxruntime"))

ALONE = ("anchors", "losses-boxes", "losses-classification", "matching", "mining", "nms", "simulate")
"""Pages whose Python needs nothing but itself."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a run of them, to be copied."""
    folder = tmp_path_factory.mktemp("pages")
    make_folder(folder)
    bw.train(
        folder / "my-images",
        out=folder / "runs" / "my-images-lite320",
        epochs=1,
        image_size=64,
        batch_size=4,
        workers=0,
        device="cpu",
    )
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to run a page in, which is the current one; what it imports from there is forgotten."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def run_block(block: Block, names: dict[str, Any], boxwright: Boxwright) -> None:
    if block.file is not None:
        Path(block.file).write_text(block.text, encoding="utf-8")
        importlib.invalidate_caches()
    elif block.language == "python":
        exec(compile(quick_python(block.text), "page", "exec"), names)
    elif block.language == "sh":
        for words in commands(block):
            outcome = boxwright(*quick(words))
            allowed = (0, 1) if words[1] == "check" else (0,)
            assert outcome.code in allowed, f"{' '.join(words)}\n{outcome.out}\n{outcome.err}"


def test_every_howto_page_is_known() -> None:
    assert len(HOWTO) == 17
    assert {page.stem for page in HOWTO} >= TRAINED


@pytest.mark.slow
@pytest.mark.parametrize("page", HOWTO, ids=lambda page: page.stem)
def test_a_howto_page_runs(page: Path, here: Path, boxwright: Boxwright) -> None:
    for package in NEEDS.get(page.stem, ()):
        pytest.importorskip(package)
    if page.stem not in TRAINED:
        shutil.rmtree(here / "runs")
    names: dict[str, Any] = {}
    for block in blocks(page):
        if not block.mark.startswith("not run: "):
            run_block(block, names, boxwright)


@pytest.mark.parametrize("page", HOWTO, ids=lambda page: page.stem)
def test_a_howto_page_says_of_each_block_what_it_is(page: Path) -> None:
    found = blocks(page)
    assert found
    for block in found:
        assert block.language in ("sh", "python", "yaml", "text")
        assert block.mark in ("", "slow") or block.mark.startswith("not run: ")
        if block.language == "python":
            ast.parse(block.text)
        if block.language == "sh" and not block.mark.startswith("not run: "):
            assert {words[0] for words in commands(block)} == {"boxwright"}


def test_what_stands_for_a_config_is_a_recipe() -> None:
    """Every `key: value` in the table of MMDetection's configs."""
    table = (DOCS / "howto" / "from-mmdetection.md").read_text(encoding="utf-8").partition("\n\n```")[0]
    pairs = re.findall(r"`(\w+): ([^`]+)`", table)
    assert len(pairs) == 9
    for key, value in pairs:
        bw.get_recipe("retinanet", **{key: value}).check_decided()


@pytest.mark.parametrize("name", ALONE)
def test_python_of_a_page_that_stands_alone(name: str) -> None:
    for block in blocks(DOCS / f"{name}.md"):
        if block.language == "python":
            exec(compile(block.text.replace("centers=500", "centers=20"), f"{name}.md", "exec"), {})


def test_python_of_the_pages_on_results(here: Path) -> None:
    test = bw.read_dataset("my-images", "test")
    truth = [test.target(image) for image in range(len(test))]
    detections = [bw.Detections(each.boxes, torch.linspace(1, 0.5, len(each.boxes)), each.labels) for each in truth]
    nothing = bw.Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    bw.evaluate.save_results("theirs.json", [nothing, *detections[1:]], test)
    names = {"bw": bw, "test": test, "dataset": test, "detections": detections}
    changes = {
        '"DATA"': '"my-images"',
        '["day", "night", ...]': '["day", "night", "day", "night"]',
        "inputs=24": "inputs=4",
    }
    for name in ("evaluation", "hardest", "inspect"):
        for block in blocks(DOCS / f"{name}.md"):
            if block.language == "python":
                text = block.text
                for before, after in changes.items():
                    text = text.replace(before, after)
                exec(compile(text, f"{name}.md", "exec"), names)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_all_python_of_a_page_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.text)

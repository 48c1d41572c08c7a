"""Colors, pipes and terminals: what NO_COLOR, FORCE_COLOR and TERM change, and that they change nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_line import Boxwright
from dataset_builders import write_coco

ESCAPE = re.compile("\x1b\\[[0-9;]*m")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    boxes = {split: {f"{split}.jpg": [("cat", 5, 5, 40, 40)]} for split in ("train", "val", "test")}
    return write_coco(tmp_path / "data", boxes, ("cat", "dog"))


def test_a_pipe_has_plain_lines(data: Path, boxwright: Boxwright) -> None:
    for arguments in (("check", data), ("start", "list"), ("parts", "matcher")):
        done = boxwright(*arguments)
        assert done.code == 0
        assert not re.search("[\x1b\r━│]", done.out + done.err)


@pytest.mark.parametrize(("setting", "colored"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_colors_change_nothing_else(
    setting: str, colored: bool, data: Path, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright
) -> None:
    plain = [boxwright(*arguments).out for arguments in (("check", data), ("start", "list"))]
    monkeypatch.setenv(setting, "1")
    done = [boxwright(*arguments).out for arguments in (("check", data), ("start", "list"))]
    assert [ESCAPE.sub("", text) for text in done] == plain
    assert bool(ESCAPE.search("".join(done))) == colored
    assert "\r" not in "".join(done)


def test_no_color_wins(data: Path, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    colors = re.compile("\x1b\\[[0-9;]*(3[0-7]|9[0-7]|4[0-7])[0-9;]*m")
    assert not colors.search("".join(boxwright("check", data)[1:]))


def test_json_is_json_whatever_the_colors(data: Path, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> None:
    plain = boxwright("check", data, "--json").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert boxwright("check", data, "--json").out == plain

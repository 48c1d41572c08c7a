"""Folders that keep things between runs, and the weights that were fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from boxwright._util.remembered import cache_folder
from boxwright.doctor.parts import Advice, Part
from boxwright.starts.cache import is_fetched
from boxwright.starts.known import KNOWN


def examine_caches() -> Part:
    """Look at whether the cache folders can be written."""
    folders = {"boxwright": _own(), "Hugging Face": _hugging_face(), "torch": _torch()}
    writable = {f"{name}: {folder}": is_writable(folder) for name, folder in folders.items() if folder is not None}
    missing = [] if folders["boxwright"] is not None else [_HOMELESS]
    facts = {name: "can be written" if there else "can't be written" for name, there in writable.items()}
    return Part(facts, (*missing, *cache_advice(writable)))


_HOMELESS = Advice("there is no home folder to keep weights in", "export BOXWRIGHT_CACHE=FOLDER")


def cache_advice(writable: Mapping[str, bool]) -> Iterator[Advice]:
    """Name the folders that can't be written."""
    variables = {"boxwright": "BOXWRIGHT_CACHE", "Hugging Face": "HF_HOME", "torch": "TORCH_HOME"}
    for name, there in writable.items():
        if not there:
            variable = variables[name.partition(":")[0]]
            yield Advice(f"the cache folder of {name} can't be written", f"export {variable}=FOLDER, one of yours")


def is_writable(folder: Path) -> bool:
    """Tell whether a folder can be written, or made where it is missing; nothing is made."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _own() -> Path | None:
    try:
        return cache_folder()
    except RuntimeError:
        return None


def _hugging_face() -> Path:
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME)


def _torch() -> Path:
    import torch

    return Path(torch.hub.get_dir()).parent


def examine_starts() -> Part:
    """Look at which published weights are fetched."""
    get = "not here yet: boxwright start fetch {}"
    return Part({name: "here" if is_fetched(name) else get.format(name) for name in KNOWN})

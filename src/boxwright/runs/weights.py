"""model.safetensors: the weights to use, and a hash that tells whether they are still those that were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from boxwright._util.writing import write_bytes
from boxwright.errors import RecipeError
from boxwright.runs.origins import weights_metadata

_HASH = "sha256"


def write_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors by name in one piece, with their hash in the metadata. Raises WriteError."""
    tensors = {name: value.contiguous() for name, value in weights.items()}
    # Not save_file, whose file only its owner may read
    write_bytes(path, _ordered(save(tensors, metadata={**metadata, _HASH: hash_of(tensors)})))


def _ordered(content: bytes) -> bytes:
    """Sort the file's metadata, which safetensors writes in any order: equal weights give equal bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file's tensors by name; the hash is checked where the file has one.

    Raises RecipeError where there are none, or they aren't those of the hash.
    """
    try:
        with safe_open(path, framework="pt") as file:
            recorded = (file.metadata() or {}).get(_HASH)
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it isn't iterable
    except Exception as error:  # the reader raises whatever a foreign file leads it into
        raise RecipeError(f"{path} holds no model: {(str(error) or 'empty').splitlines()[0]}") from None
    if recorded is not None and recorded != hash_of(weights):
        raise RecipeError(f"{path} is damaged: its tensors aren't those that were written (SHA-256)")
    return weights


def recorded_hash(path: Path) -> str | None:
    """Read the hash that a file records for its tensors; None if it has none or can't be read."""
    return weights_metadata(path).get(_HASH)


def hash_of(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

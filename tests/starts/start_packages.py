"""The packages of published weights where somebody has them, and made ones of the same form for everybody else."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from boxwright.starts.known import KNOWN, KnownStart


def package_of(name: str) -> Path:
    """The file of a start's package, out of the folder that BOXWRIGHT_STARTS names."""
    folder = os.environ.get("BOXWRIGHT_STARTS")
    path = Path(folder or ".") / KNOWN[name].file
    if folder is None or not path.is_file():
        pytest.skip(f"needs {KNOWN[name].file} ({KNOWN[name].command}) in the folder that BOXWRIGHT_STARTS names")
    return path


def made_start(monkeypatch: pytest.MonkeyPatch, name: str, path: Path, contents: list[bytes]) -> KnownStart:
    """A start of that name whose package is made, at ``path``, of these contents of its members."""
    members = dict(zip(KNOWN[name].members, contents, strict=True))
    write = write_tgz if path.suffix == ".tgz" else write_wheel
    write(path, members)
    start = replace(KNOWN[name], file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(KNOWN, name, start)
    return start


def write_wheel(path: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_tgz(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))


def tfjs_files(constants: Mapping[str, NDArray[Any]], nodes: list[dict[str, Any]]) -> list[bytes]:
    """A model.json and its values, float32 as half floats, as the published model has them."""
    weights, values = [], []
    for name, array in constants.items():
        half = array.dtype == np.float32
        weight = {"name": name, "shape": list(array.shape), "dtype": "float32" if half else "int32"}
        weights.append(weight | ({"quantization": {"dtype": "float16", "original_dtype": "float32"}} if half else {}))
        values.append(array.astype("<f2" if half else "<i4").tobytes())
    all_nodes = [*({"name": name, "op": "Const"} for name in constants), *nodes]
    manifest = [{"paths": ["model.bin"], "weights": weights}]
    model = {"format": "graph-model", "modelTopology": {"node": all_nodes}, "weightsManifest": manifest}
    return [json.dumps(model).encode(), b"".join(values)]


def as_json(text: bytes) -> dict[str, str]:
    return {"s": base64.b64encode(text).decode()}


# Protocol buffers, written: https://protobuf.dev/programming-guides/encoding


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number: int, value: bytes | str | int | float) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def shape_message(shape: tuple[int, ...]) -> bytes:
    return b"".join(field(2, field(1, side)) for side in shape)


def tensor_message(kind: int, shape: tuple[int, ...], values: bytes) -> bytes:
    """``values``: further fields of the TensorProto."""
    return field(1, kind) + field(2, shape_message(shape)) + values


def node_message(name: str, op: str, inputs: tuple[str, ...] = (), **attributes: bytes) -> bytes:
    """``attributes``: each an AttrValue."""
    entries = (field(5, field(1, key) + field(2, value)) for key, value in attributes.items())
    return field(1, name) + field(2, op) + b"".join(field(3, each) for each in inputs) + b"".join(entries)


def float_constant(name: str, array: NDArray[np.float32]) -> bytes:
    content = field(4, array.astype("<f4").tobytes())
    return node_message(name, "Const", value=field(8, tensor_message(1, array.shape, content)))


def graph_message(*nodes: bytes) -> bytes:
    return b"".join(field(1, node) for node in nodes)

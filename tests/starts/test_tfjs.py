"""TensorFlow.js graph models: arrays of every kind that is read, and faults by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from start_packages import as_json, tfjs_files

from boxwright.errors import RecipeError
from boxwright.starts.graph import constant
from boxwright.starts.tfjs import read_tfjs


def one_weight(weight: dict[str, Any]) -> bytes:
    model = {
        "modelTopology": {"node": [{"name": "w", "op": "Const"}]},
        "weightsManifest": [{"paths": ["w.bin"], "weights": [{"name": "w", **weight}]}],
    }
    return json.dumps(model).encode()


@pytest.mark.parametrize(
    ("weight", "values", "expected"),
    [
        ({"dtype": "float32"}, np.array([0.1, -2], "<f4"), np.array([0.1, -2], np.float32)),
        ({"dtype": "int32"}, np.array([7, -2], "<i4"), np.array([7, -2], np.int32)),
        ({"dtype": "bool"}, np.array([1, 0], "u1"), np.array([True, False])),
        (
            {"dtype": "float32", "quantization": {"dtype": "float16"}},
            np.array([0.1, -2], "<f2"),
            np.array([0.1, -2], np.float16).astype(np.float32),
        ),
        (
            {"dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}},
            np.array([0, 255], "u1"),
            np.array([-1, 126.5], np.float32),
        ),
        (
            {"dtype": "float32", "quantization": {"dtype": "uint16", "scale": 0.25, "min": 1.0}},
            np.array([4, 65535], "<u2"),
            np.array([2, 16384.75], np.float32),
        ),
    ],
)
def test_values(weight: dict[str, Any], values: np.ndarray, expected: np.ndarray) -> None:
    found = constant(read_tfjs(one_weight({"shape": [2], **weight}), values.tobytes()), "w")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_nodes_and_groups() -> None:
    nodes = [
        {"name": "y", "op": "Conv2D", "input": ["x", "w"], "attr": {"strides": {"list": {"i": ["1", 2]}}}},
        {
            "name": "z",
            "op": "Op",
            "attr": {"a": {"i": "-3"}, "b": {"b": False}, "f": {"f": 0.5}, "p": as_json(b"SAME")},
        },
        {"name": "t", "op": "Op", "attr": {"T": {"type": "DT_FLOAT"}, "shape": {"shape": {"dim": [{"size": "1"}]}}}},
    ]
    arrays = {"w": np.float32([[1, 2]]), "n": np.int32(5), "v": np.float32([3])}
    model, values = tfjs_files(arrays, nodes)
    content = json.loads(model)
    [group] = content["weightsManifest"]
    content["weightsManifest"] = [{**group, "weights": [weight]} for weight in group["weights"]]
    for graph in (read_tfjs(model, values), read_tfjs(json.dumps(content).encode(), values)):
        for name, array in arrays.items():
            np.testing.assert_array_equal(constant(graph, name), array)
        assert graph["y"].inputs == ("x", "w")
        assert graph["y"].attributes == {"strides": [1, 2]}
        assert graph["z"].attributes == {"a": -3, "b": False, "f": 0.5, "p": b"SAME"}
        assert graph["t"].attributes == {}


MODEL, VALUES = tfjs_files({"w": np.ones((2, 3), np.float32)}, [{"name": "y", "op": "Relu", "input": ["w"]}])


@given(st.integers(0, len(MODEL) - 1), st.integers(0, len(VALUES)))
def test_what_is_cut_off_is_refused(end: int, values: int) -> None:
    with pytest.raises(RecipeError, match=r"no TensorFlow\.js graph model, or damaged"):
        read_tfjs(MODEL[:end], VALUES[:values])


@pytest.mark.parametrize(
    ("model", "values", "reason"),
    [
        (MODEL, VALUES[:-1], "the values end before w"),
        (MODEL, VALUES + b"..", "2 bytes of values are left over"),
        (one_weight({"shape": [1], "dtype": "string"}), b"abcd", "w has the type string, which isn't read"),
        (one_weight({"shape": [-1], "dtype": "int32"}), b"", "a tensor has the shape"),
        (one_weight({"shape": [1 << 40], "dtype": "int32"}), b"", "a tensor has the shape"),
        (one_weight({"shape": "many", "dtype": "int32"}), b"", "Expected `array`, got `str`"),
        (b"{}", b"", "missing required field"),
        (b"[" * 100_000, b"", ""),
        (tfjs_files({}, [{"name": "a", "op": "b"}] * 2)[0], b"", "it has 'a' twice"),
        (tfjs_files({}, [{"name": "a", "op": "b", "attr": {"p": {"s": "?"}}}])[0], b"", ""),
        (tfjs_files({}, [{"name": "a", "op": "b", "attr": {"p": {"i": "x"}}}])[0], b"", "invalid literal"),
    ],
)
def test_what_is_wrong_is_said(model: bytes, values: bytes, reason: str) -> None:
    with pytest.raises(RecipeError, match=rf"no TensorFlow\.js graph model, or damaged: .*{reason}"):
        read_tfjs(model, values)

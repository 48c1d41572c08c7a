"""model.safetensors tells whether its weights are still those that were written."""

from pathlib import Path

import pytest
import torch
from run_builders import untrained
from safetensors.torch import load_file, save_file

import boxwright as bw
from boxwright.errors import RecipeError
from boxwright.runs.weights import hash_of, read_weights, write_weights

WEIGHTS = {
    "a": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
    "b": torch.tensor(3),
    "c": torch.tensor([True, False]),
    "d": torch.zeros(0, 4),
    "e": torch.ones(2, dtype=torch.bfloat16),
}


def test_round_trip_and_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_weights(tmp_path / name, WEIGHTS, {"classes": '["cät"]'})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for found in (read_weights(tmp_path / "one"), load_file(tmp_path / "one")):
        assert found.keys() == WEIGHTS.keys()
        assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


def test_a_flipped_bit_anywhere_is_refused_or_does_no_harm(tmp_path: Path) -> None:
    """None does where the hash or the names of the classes stand, which aren't the weights."""
    path = tmp_path / "model.safetensors"
    write_weights(path, WEIGHTS, {})
    whole, refused = path.read_bytes(), 0
    data = len(whole) - sum(value.numel() * value.element_size() for value in WEIGHTS.values())
    for place in range(0, 8 * len(whole), 7):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        found = read(path)
        refused += isinstance(found, str)
        if isinstance(found, str):
            assert "\n" not in found
        else:
            assert place < 8 * data
            assert found.keys() == WEIGHTS.keys()
            assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())
    assert refused > len(whole)


def read(path: Path) -> dict[str, torch.Tensor] | str:
    try:
        return read_weights(path)
    except RecipeError as error:
        return str(error)


def test_the_hash_tells_names_types_and_shapes_apart() -> None:
    others = [
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.zeros(2), "b": torch.zeros(2)},
    ]
    assert len({hash_of(each) for each in [{"a": torch.zeros(4)}, *others]}) == 5


def test_without_a_hash_it_loads(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "x.safetensors")
    assert torch.equal(read_weights(tmp_path / "x.safetensors")["a"], torch.ones(3))


def test_a_damaged_model_names_what_can_be_used_in_its_place(tmp_path: Path) -> None:
    run = untrained(tmp_path)
    content = bytearray(run.model_file.read_bytes())
    content[-1000] ^= 8
    run.model_file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"model\.safetensors is damaged: .*\(SHA-256\)$"):
        bw.load(tmp_path)
    torch.save({"state_dict": load_file(run.model_file)}, run.best_checkpoint)
    with pytest.raises(RecipeError, match=r"\(SHA-256\); .*best\.ckpt can be used in its place$"):
        bw.load(tmp_path)
    assert bw.load(run.best_checkpoint).classes == ("cat", "dog")


@pytest.mark.parametrize("content", [b"", b"something else", b"\xff" * 8, (9).to_bytes(8, "little") + b"{}"])
def test_what_is_no_such_file(tmp_path: Path, content: bytes) -> None:
    run = untrained(tmp_path)
    run.model_file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"model\.safetensors holds no model: [^\n]+$"):
        run.load()

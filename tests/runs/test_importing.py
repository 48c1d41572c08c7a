"""torchvision's files of weights become runs: the same detections under COCO's names."""

import argparse
import os
import socket
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torchvision.models import detection

import boxwright as bw
from boxwright.cli.app import app
from boxwright.errors import RecipeError, WriteError
from boxwright.runs import importing
from boxwright.runs.foreign import read_foreign
from boxwright.runs.importing import MODELS, import_weights
from boxwright.runs.start import resolve_start


def file_of(tmp_path: Path, columns: int, name: str = "ssd300_vgg16") -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=columns).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    return model, tmp_path / "weights.pth"


@pytest.mark.slow
def test_coco_weights_become_a_run(tmp_path: Path) -> None:
    model, weights = file_of(tmp_path, 91)
    detector = import_weights("ssd300_vgg16", weights, tmp_path / "run").load()
    assert detector.classes[0] == "person"
    assert detector.classes[11] == "unused 12"
    assert detector.classes[-1] == "toothbrush"
    assert len(set(detector.classes)) == 90
    image = torch.rand(3, 200, 260)
    with torch.no_grad():
        theirs = model([image])[0]
    ours = detector.predict(image, score=0.01)[0]
    assert len(ours.scores) == len(theirs["scores"]) > 0
    torch.testing.assert_close(ours.scores, theirs["scores"], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.boxes, theirs["boxes"], atol=0.05, rtol=0)
    assert torch.equal(ours.labels, theirs["labels"] - 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != "ssd300_vgg16"])
def test_published_files_have_constant_batch_norms(tmp_path: Path, name: str) -> None:
    """Without a count of batches: with the epsilon that torchvision builds them with, and COCO's names."""
    model, weights = file_of(tmp_path, 91, name)
    constant = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(constant, weights)
    detector = import_weights(name, weights, tmp_path / "run").load()
    assert detector.classes[17] == "dog"
    variance = detector.net.state_dict()["backbone.body.bn1.running_var"] + 1e-5
    eps = 1e-5 if name == "fcos_resnet50_fpn" else 0.0
    torch.testing.assert_close(variance, constant["backbone.body.bn1.running_var"] + eps, rtol=0, atol=1e-7)
    assert detector.recipe.resize == "shortest"
    assert (detector.recipe.image_size, detector.recipe.max_size) == (800, 1333)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    _, weights = file_of(tmp_path, 3)
    app(
        ["import", "torchvision", "ssd300_vgg16", str(weights), "--classes", "cat,dog", "--out", str(tmp_path / "run")],
        standalone_mode=False,
    )
    assert bw.load(tmp_path / "run").classes == ("cat", "dog")


@pytest.mark.slow
def test_a_run_and_the_weights_stay(tmp_path: Path) -> None:
    _, weights = file_of(tmp_path, 3)
    run = import_weights("ssd300_vgg16", weights, tmp_path / "run")
    with pytest.raises(WriteError, match=r"holds a run already: .* --overwrite"):
        import_weights("ssd300_vgg16", weights, run.folder)
    run.recipe_file.unlink()
    with pytest.raises(WriteError, match=r"model\.safetensors is there"):
        import_weights("ssd300_vgg16", weights, run.folder)
    run.model_file.unlink()
    run.model_file.hardlink_to(weights)
    with pytest.raises(WriteError, match="read by this very command"):
        import_weights("ssd300_vgg16", weights, run.folder, overwrite=True)
    run.model_file.unlink()
    run.model_file.touch()
    assert import_weights("ssd300_vgg16", weights, run.folder, overwrite=True).load().classes == ("class 1", "class 2")


@pytest.mark.slow
def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    _, weights = file_of(tmp_path, 3)
    with pytest.raises(RecipeError, match="did you mean 'ssd300_vgg16'"):
        import_weights("ssd300_vgg", weights, tmp_path / "run")
    with pytest.raises(RecipeError, match="Expected 2 class names but got 1"):
        import_weights("ssd300_vgg16", weights, tmp_path / "run", classes=["cat"])
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(RecipeError, match="holds no weights of torchvision's ssd300_vgg16"):
        import_weights("ssd300_vgg16", tmp_path / "other.pth", tmp_path / "run")
    (tmp_path / "text.pth").write_text("text")
    with pytest.raises(RecipeError, match=r"text\.pth holds no weights: Expected tensors by name"):
        import_weights("ssd300_vgg16", tmp_path / "text.pth", tmp_path / "run")
    with pytest.raises(RecipeError, match=r"can't read weights from .*absent\.pth"):
        import_weights("ssd300_vgg16", tmp_path / "absent.pth", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_published_weights_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = file_of(tmp_path, 91)
    asked = []

    def load(url: str, **options: Any) -> dict[str, torch.Tensor]:
        asked.append((url, options, socket.getdefaulttimeout()))
        return dict(model.state_dict())

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    before = socket.getdefaulttimeout()
    app(["import", "torchvision", "ssd300_vgg16", "--out", str(tmp_path / "run")], standalone_mode=False)
    start = resolve_start(tmp_path / "run")
    assert start.classes[0] == "person"
    assert start.origin == "torchvision's SSD300_VGG16_Weights.COCO_V1"
    assert start.license == "BSD-3-Clause"
    ((url, options, timeout),) = asked
    assert url == detection.SSD300_VGG16_Weights.COCO_V1.url
    assert options["check_hash"]
    assert options["weights_only"]
    assert timeout == 15
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize(
    "error",
    [URLError("Name or service not known"), TimeoutError("timed out"), RuntimeError("invalid hash value\nof it")],
)
def test_what_cannot_be_fetched_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    before = socket.getdefaulttimeout()
    with pytest.raises(RecipeError) as raised:
        import_weights("retinanet_resnet50_fpn", None, tmp_path / "run")
    text = str(raised.value)
    assert text.startswith("can't fetch https://")
    assert str(error).splitlines()[0] in text
    assert text.endswith("torchvision retinanet_resnet50_fpn retinanet_resnet50_fpn_coco-eeacb38b.pth takes the file")
    assert "\n" not in text
    assert not (tmp_path / "run").exists()
    assert socket.getdefaulttimeout() == before


LAYER = "head.classification_head.module_list.0.weight"
STATE = {"backbone.features.0.weight": torch.ones(2, 2), LAYER: torch.ones(12, 3)}


def prefixed(prefix: str, **others: Any) -> dict[str, Any]:
    return {**others, **{prefix + key: value for key, value in STATE.items()}}


ARGS = argparse.Namespace(lr=0.1, device=torch.device("cpu"), more=argparse.Namespace(names=["a"]))
LAST = {key: value * 0 for key, value in STATE.items()}
CHECKPOINTS: dict[str, Any] = {
    "plain": STATE,
    "model": {"model": STATE, "epoch": 3},
    "state_dict": {"state_dict": STATE},
    "torchvision's reference": {
        "model": STATE,
        "optimizer": {"state": {}},
        "lr_scheduler": {},
        "args": ARGS,
        "epoch": 3,
    },
    "module.": prefixed("module."),
    "model.module.": {"state_dict": prefixed("model.module.")},
    "Lightning": {"state_dict": prefixed("model.", **{"loss.weight": torch.ones(1)}), "hparams_name": None},
    "compiled": prefixed("_orig_mod."),
    "averaged": prefixed("module.", n_averaged=torch.tensor(7)),
    "averaged beside the last": {"model": LAST, "model_ema": prefixed("module.", n_averaged=torch.tensor(7))},
    "twice below": {"checkpoint": {"model": STATE}},
}


@pytest.mark.parametrize("form", CHECKPOINTS)
def test_checkpoints_of_training_scripts_are_looked_through(form: str, tmp_path: Path) -> None:
    torch.save(CHECKPOINTS[form], tmp_path / "weights.pth")
    found = importing._state_of(read_foreign(tmp_path / "weights.pth"), LAYER)
    assert found is not None
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


class Harm:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.file}",)


def test_nothing_is_unpickled_but_tensors_and_values(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "harmed"
    for content, name in [
        ({"model": STATE, "args": Harm(trace)}, "posix.system"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        ({"model": STATE, "args": argparse.Namespace(path=Path("x"), harm=Harm(trace))}, "posix.system"),
    ]:
        torch.save(content, path)
        with pytest.raises(RecipeError) as error:
            import_weights("ssd300_vgg16", path, tmp_path / "run")
        message = str(error.value)
        assert "weights.pth holds no weights: beside tensors it has objects" in message
        assert name in message
        assert "torch.save(model.state_dict(), file)" in message
        assert "trust" not in message
        assert "\n" not in message
    assert not trace.exists()
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_files_without_such_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    endless: dict[str, Any] = {"model": {"weight": torch.ones(1)}}
    endless["model"]["model"] = endless
    for content in ({}, {"model": {}}, {1: {"x" + LAYER: torch.ones(3)}}, endless, {LAYER: torch.tensor(1.0)}):
        torch.save(content, path)
        with pytest.raises(RecipeError, match=f"holds no weights of torchvision's ssd300_vgg16: it has no {LAYER}"):
            import_weights("ssd300_vgg16", path, tmp_path / "run")
    torch.save([torch.ones(1)], path)
    with pytest.raises(RecipeError, match="Expected tensors by name but got list"):
        import_weights("ssd300_vgg16", path, tmp_path / "run")
    os.mkfifo(tmp_path / "pipe.pth")
    for other in (tmp_path, tmp_path / "pipe.pth"):
        with pytest.raises(RecipeError, match=r"can't read weights from .*: it is no file"):
            import_weights("ssd300_vgg16", other, tmp_path / "run")


@pytest.mark.slow
def test_a_checkpoint_of_torchvisions_reference_script_becomes_a_run(tmp_path: Path) -> None:
    model, weights = file_of(tmp_path, 3)
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"model": state, "optimizer": {}, "args": ARGS, "epoch": 3}, weights)
    detector = import_weights("ssd300_vgg16", weights, tmp_path / "run", classes=["cat", "dog"]).load()
    first = model.state_dict()["backbone.features.0.weight"]
    assert torch.equal(detector.net.state_dict()["backbone.features.0.weight"], first)

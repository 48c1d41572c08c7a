"""torchvision's files of weights become runs: the same detections under COCO's names."""

from pathlib import Path

import pytest
import torch
from torchvision.models import detection

import boxwright as bw
from boxwright.cli.app import app
from boxwright.errors import RecipeError, WriteError
from boxwright.importing import MODELS, import_weights

pytestmark = pytest.mark.slow


def file_of(tmp_path: Path, columns: int, name: str = "ssd300_vgg16") -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=columns).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    return model, tmp_path / "weights.pth"


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


def test_the_command(tmp_path: Path) -> None:
    _, weights = file_of(tmp_path, 3)
    app(
        ["import", "torchvision", "ssd300_vgg16", str(weights), "--classes", "cat,dog", "--out", str(tmp_path / "run")],
        standalone_mode=False,
    )
    assert bw.load(tmp_path / "run").classes == ("cat", "dog")


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

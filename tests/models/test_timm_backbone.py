"""Feature maps of any timm model, and weights that need no network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import boxwright as bw
from boxwright.errors import BoxwrightError, BoxwrightWarning, MissingWeights, RecipeError
from boxwright.models import weights
from boxwright.models.timm_backbone import TimmBackbone, probe_feature_maps
from boxwright.runs.weights import write_weights
from boxwright.starts.cache import seal


def test_lite0_weights_fit_strictly_and_speak() -> None:
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(weights.lite0_weights())
    with torch.no_grad():
        scores = model(torch.randn(1, 3, 224, 224)).softmax(-1)
    assert scores.shape == (1, 1000)
    assert scores.max() > 0.02  # an untrained net says 0.001 of every class


def test_altered_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weights.lite0_weights.cache_clear()
    monkeypatch.setattr(weights, "LITE0_SHA256", "0" * 64)
    with pytest.raises(BoxwrightError, match="SHA-256"):
        weights.lite0_weights()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_any_backbone_gives_the_strides_asked_for(name: str) -> None:
    backbone = TimmBackbone(name, (8, 16, 32))
    outputs = backbone(torch.zeros(1, 3, 96, 64))
    assert [tuple(o.shape) for o in outputs] == [(1, m.channels, 96 // m.stride, 64 // m.stride) for m in backbone.maps]
    assert [m.stride for m in backbone.maps] == [8, 16, 32]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18x", {}, "unknown backbone 'resnet18x'; did you mean"),
        ("resnet18", {"strides": (8, 64)}, "no map of stride 64: it has"),
        ("swin_tiny_patch4_window7_224", {}, "no feature maps"),
    ],
)
def test_what_cannot_be_is_told(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        TimmBackbone(name, **{"strides": (8,), **options})  # type: ignore[arg-type]


def test_probe_names_the_modules() -> None:
    maps = probe_feature_maps("tf_efficientnet_lite0")
    assert [(m.module, m.channels, m.stride) for m in maps] == [
        ("blocks.0", 16, 2),
        ("blocks.1", 24, 4),
        ("blocks.2", 40, 8),
        ("blocks.4", 112, 16),
        ("blocks.6", 320, 32),
    ]


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "resnet18", "convnext_atto"])
def test_nothing_behind_the_last_map_is_kept(name: str) -> None:
    """Every weight that could learn does: unused ones cost time, and processes that share gradients refuse them."""
    backbone = TimmBackbone(name, (8, 16))
    sum(x.square().sum() for x in backbone(torch.randn(2, 3, 64, 64))).backward()
    unused = [name for name, weight in backbone.named_parameters() if weight.grad is None]
    assert unused == []


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    """Of the whole model, as timm and torchvision publish them."""
    torch.manual_seed(0)
    state = timm.create_model("resnet18").state_dict()
    file = tmp_path / f"weights{suffix}"
    torch.save(state, file) if suffix == ".pth" else save_file(state, file)
    torch.manual_seed(1)
    backbone = TimmBackbone("resnet18", (8, 16))
    backbone.load(str(file))
    for name, value in backbone.body.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_file_that_holds_no_such_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no file of pretrained weights at"):
        TimmBackbone("resnet18", (8,)).load(str(tmp_path / "absent.pth"))
    (tmp_path / "text.pth").write_text("text")
    with pytest.raises(RecipeError, match=r"text\.pth holds no weights: Expected tensors by name"):
        TimmBackbone("resnet18", (8,)).load(str(tmp_path / "text.pth"))
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    with pytest.raises(RecipeError, match="holds no weights of 'resnet18'"):
        TimmBackbone("resnet18", (8,)).load(str(tmp_path / "other.pth"))
    state = timm.create_model("resnet18").state_dict()
    del state["layer2.0.conv1.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(RecipeError, match=r"it lacks layer2\.0\.conv1\.weight"):
        TimmBackbone("resnet18", (8,)).load(str(tmp_path / "part.pth"))


def test_without_network_and_weights_all_is_learnt_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: object) -> torch.nn.Module:
        if pretrained:
            raise OSError("no route to host\nand more lines")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.warns(BoxwrightWarning, match="no route to host.*pretrained=FILE") as warned:
        detector = bw.create_detector("retinanet", 2, backbone="resnet18", image_size=128, width=32)
    assert "freeze=0" in str(warned[0].message)
    assert "and more lines" not in str(warned[0].message)
    recipe = detector.recipe
    assert (recipe.pretrained, recipe.freeze, recipe.norm_mode) == (False, 0, "train")
    assert all(p.requires_grad for p in detector.parameters())


def test_fetched_weights_are_taken_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path))
    name = "tf_efficientnet_lite1"
    monkeypatch.setattr(timm, "create_model", refuse_downloads(timm.create_model))
    backbone = TimmBackbone(name, (8, 16))
    with pytest.raises(
        MissingWeights, match=rf"can't get pretrained weights of '{name}' \(no network\); boxwright start"
    ):
        backbone.load(True)
    torch.manual_seed(3)
    state = timm.create_model(name).state_dict()
    write_weights(tmp_path / "starts" / name / "model.safetensors", state, {})
    seal(name)
    backbone.load(True)
    for key, value in backbone.body.state_dict().items():
        assert torch.equal(value, state[key]), key


def refuse_downloads(create: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """timm without a network: weights come out of files alone."""

    def create_model(name: str, **options: Any) -> nn.Module:
        if options.get("pretrained") and not (options.get("pretrained_cfg_overlay") or {}).get("file"):
            raise OSError("no network")
        return create(name, **options)

    return create_model

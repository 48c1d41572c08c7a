"""Backbones: maps of any timm model, freezing, folding, weights that need no network."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn.modules.batchnorm import _BatchNorm

import boxwright as bw
from boxwright.errors import BoxwrightError, BoxwrightWarning, RecipeError
from boxwright.models import weights
from boxwright.models.backbones import Backbone, fold_batch_norm, probe_feature_maps


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
    backbone = Backbone(name, (8, 16, 32), pretrained=False, freeze=1)
    outputs = backbone(torch.zeros(1, 3, 96, 64))
    assert [tuple(o.shape) for o in outputs] == [(1, m.channels, 96 // m.stride, 64 // m.stride) for m in backbone.maps]
    assert [m.stride for m in backbone.maps] == [8, 16, 32]


def test_frozen_stages_neither_learn_nor_follow_the_data() -> None:
    torch.manual_seed(0)
    backbone = Backbone("tf_efficientnet_lite0", (8, 16, 32), freeze=2).train()
    frozen = [backbone.body.conv_stem, backbone.body.blocks[0], backbone.body.blocks[1]]
    assert not any(p.requires_grad for module in frozen for p in module.parameters())
    assert not any(isinstance(m, _BatchNorm) for module in frozen for m in module.modules())
    assert all(p.requires_grad for p in backbone.body.blocks[2].parameters())
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm)]
    assert norms
    assert all(m.training for m in norms)
    assert not any(m.training for m in Backbone("resnet18", (8,), pretrained=False, norm_mode="eval").modules()
                   if isinstance(m, _BatchNorm))  # fmt: skip


def test_folding_changes_no_output() -> None:
    images = torch.rand(2, 3, 64, 64)
    plain = Backbone("tf_efficientnet_lite0", (8, 16, 32)).eval()
    folded = Backbone("tf_efficientnet_lite0", (8, 16, 32), freeze=3).eval()
    with torch.no_grad():
        before, after = plain(images), folded(images)
        for a, b in zip(before, after, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * float(a.abs().max()))
    fold_batch_norm(plain.requires_grad_(False))
    assert not any(isinstance(m, _BatchNorm) for m in plain.modules())


def test_structure_depends_on_the_recipe_alone() -> None:
    """A model that was saved from pretrained weights loads into one that was built without."""
    trained = Backbone("tf_efficientnet_lite0", (8, 16), freeze=2)
    empty = Backbone("tf_efficientnet_lite0", (8, 16), freeze=2, pretrained=False)
    empty.load_state_dict(trained.state_dict())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18x", {}, "unknown backbone 'resnet18x'; did you mean"),
        ("resnet18", {"strides": (8, 64)}, "no map of stride 64: it has"),
        ("resnet18", {"freeze": 9}, "freeze in 0..5"),
        ("swin_tiny_patch4_window7_224", {}, "no feature maps"),
    ],
)
def test_what_cannot_be_is_told(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Backbone(name, **{"strides": (8,), "pretrained": False, **options})  # type: ignore[arg-type]


def test_probe_names_the_modules() -> None:
    maps = probe_feature_maps("tf_efficientnet_lite0")
    assert [(m.module, m.channels, m.stride) for m in maps] == [
        ("blocks.0", 16, 2),
        ("blocks.1", 24, 4),
        ("blocks.2", 40, 8),
        ("blocks.4", 112, 16),
        ("blocks.6", 320, 32),
    ]


def test_large_depthwise_kernels_can_stay() -> None:
    backbone = Backbone("tf_efficientnet_lite0", (8, 16, 32), pretrained=False, freeze_depthwise=5)
    convolutions = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    frozen = [m for m in convolutions if not m.weight.requires_grad]
    assert len(frozen) == 9
    assert all(m.groups == m.in_channels and m.kernel_size == (5, 5) for m in frozen)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "resnet18", "convnext_atto"])
def test_nothing_behind_the_last_map_is_kept(name: str) -> None:
    """Every weight that could learn does: unused ones cost time, and processes that share gradients refuse them."""
    backbone = Backbone(name, (8, 16), pretrained=False)
    sum(x.square().sum() for x in backbone(torch.randn(2, 3, 64, 64))).backward()
    unused = [name for name, weight in backbone.named_parameters() if weight.grad is None]
    assert unused == []


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    """Of the whole model, as timm and torchvision publish them."""
    torch.manual_seed(0)
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    file = tmp_path / f"weights{suffix}"
    torch.save(state, file) if suffix == ".pth" else save_file(state, file)
    torch.manual_seed(1)
    backbone = Backbone("resnet18", (8, 16), pretrained=str(file))
    for name, value in backbone.body.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_file_that_holds_no_such_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no file of pretrained weights at"):
        Backbone("resnet18", (8,), pretrained=str(tmp_path / "absent.pth"))
    (tmp_path / "text.pth").write_text("text")
    with pytest.raises(RecipeError, match=r"text\.pth holds no weights: Expected tensors by name"):
        Backbone("resnet18", (8,), pretrained=str(tmp_path / "text.pth"))
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    with pytest.raises(RecipeError, match="holds no weights of 'resnet18'"):
        Backbone("resnet18", (8,), pretrained=str(tmp_path / "other.pth"))
    state = timm.create_model("resnet18").state_dict()
    del state["layer2.0.conv1.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(RecipeError, match=r"it lacks layer2\.0\.conv1\.weight"):
        Backbone("resnet18", (8,), pretrained=str(tmp_path / "part.pth"))


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

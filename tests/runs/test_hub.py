"""Runs on the Hub and back, against a stand-in of its HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from hub_stand_in import TOKEN, Hub, running_hub
from huggingface_hub import constants, file_download
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

import boxwright as bw
from boxwright._util.writing import write_json
from boxwright.errors import RecipeError
from boxwright.evaluate.thresholds import Thresholds
from boxwright.runs import Run
from boxwright.runs.hub import HubAddress, fetch_run, fetch_snapshot, hub_address
from boxwright.runs.pushing import push_run
from boxwright.runs.start import resolve_start
from boxwright.runs.thresholds import write_thresholds
from boxwright.runs.weights import recorded_hash
from command_line import Boxwright
from dataset_builders import write_picture
from tiny_runs import keep_tiny_run

CELLS = HubAddress("jane/cells")
CLASSES = ("cat", "<b>*dog*|")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        for module in (constants, file_download):  # older releases keep a copy there
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", running.address + TEMPLATE, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.chdir(tmp_path)
        disable_progress_bars()
        yield running
        enable_progress_bars()


TEMPLATE = "/{repo_id}/resolve/{revision}/{filename}"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return keep_tiny_run(tmp_path / "run", CLASSES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hf://a/b", "hf://a/b"),
        ("hf:/a/b", "hf://a/b"),  # as a path
        ("hf://a/b.c_d-e@v1.0", "hf://a/b.c_d-e@v1.0"),
        ("hf://a/b@refs/pr/1", "hf://a/b@refs/pr/1"),
    ],
)
def test_addresses(text: str, said: str) -> None:
    assert str(hub_address(text)) == said
    assert str(hub_address(Path(text))) == said


@pytest.mark.parametrize(
    "text", ["hf://", "hf://a", "hf://a/b/c", "hf://a/..", "hf://a/b@", "hf://a/b@../c", "hf://a b/c"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(RecipeError, match="Expected hf://USER/NAME or"):
        hub_address(text)


def test_paths_are_no_addresses() -> None:
    assert [hub_address(text) for text in ("runs/a", "hf", "/hf://a/b", "http://a/b")] == [None] * 4


def test_a_run_goes_there_and_comes_back(hub: Hub, run: Run, tmp_path: Path) -> None:
    write_thresholds(run.thresholds_file, Thresholds.unmeasured(CLASSES, 0.25))
    pushed = push_run(run, CELLS)
    assert pushed.files == ("README.md", "recipe.yaml", "thresholds.json", "model.safetensors")
    assert pushed.url == f"{hub.address}/jane/cells/commit/{hub.commit('jane/cells')}"
    assert not pushed.measured
    there = hub.repos["jane/cells"][0]
    assert set(there) == {".gitattributes", *pushed.files}
    for name in pushed.files[1:]:
        assert there[name] == (run.folder / name).read_bytes()
    back, own = bw.load("hf://jane/cells"), run.load()
    picture = torch.rand(3, 50, 70)
    for ours, theirs in zip(own.predict([picture])[0], back.predict([picture])[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert back.thresholds == own.thresholds
    assert resolve_start("hf://jane/cells").classes == CLASSES
    assert not (tmp_path / "runs").exists()


def test_each_revision_is_a_run_folder_of_its_own(hub: Hub, run: Run) -> None:
    push_run(run, CELLS)
    first = fetch_run(CELLS)
    assert first == Path("runs") / f"cells@{hub.commit('jane/cells')[:7]}"
    assert {path.name for path in first.iterdir()} == {".boxwright", "README.md", "recipe.yaml", "model.safetensors"}
    (first / "note.txt").write_text("mine")
    hub.asked.clear()
    assert fetch_run(CELLS) == first
    assert not [asked for asked in hub.asked if "resolve" in asked], "what is here was fetched again"
    write_thresholds(run.thresholds_file, Thresholds.unmeasured(CLASSES, 0.25))
    push_run(run, CELLS)
    second = fetch_run(CELLS)
    assert second != first
    assert (second / "thresholds.json").is_file()
    assert (first / "note.txt").read_text() == "mine"
    assert fetch_run(HubAddress("jane/cells", hub.commit("jane/cells", 1))) == first


def test_thresholds_that_are_gone_go_there_too(hub: Hub, run: Run) -> None:
    write_thresholds(run.thresholds_file, Thresholds.unmeasured(CLASSES, 0.25))
    push_run(run, CELLS)
    run.thresholds_file.unlink()
    push_run(run, CELLS)
    assert "thresholds.json" not in hub.repos["jane/cells"][0]


def test_nothing_else_is_fetched_and_no_code_runs(hub: Hub, run: Run, tmp_path: Path, boxwright: Boxwright) -> None:
    push_run(run, CELLS)
    files = dict(hub.repos["jane/cells"][0])
    evil = b"raise SystemExit('code of the Hub ran')"
    names = ("../evil.py", "/evil.py", "a/../../evil.py", "sub/recipe.yaml", "my_parts.py", "last.ckpt")
    hub.put("jane/cells", {**files, **dict.fromkeys(names, evil)})
    bw.load("hf://jane/cells")
    snapshot = fetch_snapshot(CELLS)
    assert {path.name for path in snapshot.iterdir()} == {"README.md", "recipe.yaml", "model.safetensors"}
    assert not list(tmp_path.rglob("evil.py"))
    recipe = files["recipe.yaml"].replace(b"coder: distribution:bins=17", b"coder: my_parts:coder")
    assert recipe != files["recipe.yaml"]
    hub.put("jane/cells", {**files, "recipe.yaml": recipe, "my_parts.py": evil})
    with pytest.raises(RecipeError, match="my_parts"):
        bw.load("hf://jane/cells")


def test_the_card(hub: Hub, run: Run) -> None:
    figures = {
        "model": recorded_hash(run.model_file),
        "data": "zoo",
        "split": "test",
        "images": 7,
        "options": [],
        "protocol": "COCO",
        "certainty": "",
        "metrics": {
            "AP": 0.5,
            "AP50": 0.75,
            "AP75": None,
            "per_class": {
                "cat": {"AP": 0.5, "AP50": 0.75, "AP75": None, "targets": 40},
                "<b>*dog*|": {"AP": None, "AP50": None, "AP75": None, "targets": 0},
            },
            "errors": {"missed": {"dAP": 0.125, "count": 3}},
            "intervals": {"AP": [0.4, 0.6], "per_class": {"cat": {"AP": [None, None]}}},
        },
    }
    write_json(run.figures_file("test"), figures)
    write_json(run.figures_file("val"), {**figures, "model": "of other weights", "data": "another zoo"})
    assert push_run(run, CELLS, license="cc-by-4.0").measured
    card = hub.repos["jane/cells"][0]["README.md"].decode()
    _, header, text = card.split("---\n", 2)
    said = yaml.safe_load(header)
    assert (said["license"], said["pipeline_tag"]) == ("cc-by-4.0", "object-detection")
    (result,) = said["model-index"][0]["results"]
    assert result["dataset"] == {"name": "zoo", "type": "custom", "split": "test"}
    assert result["metrics"] == [{"type": "AP", "value": 0.5}, {"type": "AP50", "value": 0.75}]
    assert "| **all** | 40 | 0.500 [0.400, 0.600] | 0.750 | - |" in text
    assert "| cat | 40 | 0.500 | 0.750 | - |" in text
    assert "| &lt;b&gt;\\*dog\\*\\| | 0 | - | - | - |" in text
    assert "<b>" not in text
    assert "another zoo" not in text, "figures of other weights"
    assert "- Measured on fewer than 30 objects: &lt;b&gt;\\*dog\\*\\|." in text
    assert "- Most is lost to errors of the kind missed." in text
    assert 'bw.load("hf://jane/cells")' in text
    assert "- This model: cc-by-4.0." in text


def test_nothing_of_people_s_is_replaced(hub: Hub, run: Run, boxwright: Boxwright) -> None:
    hub.put("jane/cells", {"README.md": b"# My own words"})
    code, out, err = boxwright("push", run.folder, "hf://jane/cells")
    assert (code, out) == (2, "")
    assert err == (
        "boxwright: hf://jane/cells has a README.md that boxwright didn't write: name another repository, or add "
        "--overwrite\n"
    )
    hub.put("jane/other", {"model.safetensors": b"mine"})
    assert "has a model.safetensors that" in boxwright("push", run.folder, "hf://jane/other").err
    assert hub.repos["jane/cells"][0] == {"README.md": b"# My own words"}
    code, out, _ = boxwright("push", run.folder, "hf://jane/cells", "--overwrite", "--private")
    assert code == 0
    assert "the card has no AP: boxwright eval" in out
    assert "pushed README.md, recipe.yaml, model.safetensors\n" in out
    assert boxwright("push", run.folder, "hf://jane/cells").code == 0, "its own card is no obstacle"


def test_commands_take_addresses(hub: Hub, run: Run, tmp_path: Path, boxwright: Boxwright) -> None:
    push_run(run, CELLS, private=True)
    assert "jane/cells" in hub.private
    write_picture(tmp_path / "photo.png", 1)
    code, out, _ = boxwright("predict", "hf://jane/cells", "photo.png")
    folder = f"runs/cells@{hub.commit('jane/cells')[:7]}"
    assert code == 0
    assert f"the detections are in {folder}/predictions/detections.json" in out
    assert not list((tmp_path / "hub-cache").rglob("detections.json"))


ASK = "where there is a network type hf download jane/cells --local-dir cells, a run folder"


def test_one_line_each(hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> None:
    def said(*arguments: object) -> str:
        code, out, err = boxwright(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err.removeprefix("boxwright: ").strip()

    push_run(run, CELLS, private=True)
    hub.put("jane/empty", {"README.md": b"a README"})
    photo = run.recipe_file
    assert said("predict", "hf://jane/no", photo).startswith("no model hf://jane/no, or it is private: type hf auth")
    assert said("predict", "hf://jane/cells@v9", photo) == "hf://jane/cells@v9: no such branch, tag or commit"
    assert said("predict", "hf://jane/empty", photo) == "hf://jane/empty is no run: it has no recipe.yaml"
    assert said("predict", "hf://jane/-cells", photo).startswith("hf://jane/-cells: ")
    assert said("push", run.folder, "jane/cells") == "Expected hf://USER/NAME but got jane/cells"
    assert "main branch: leave out @v1" in said("push", run.folder, "hf://jane/cells@v1")
    assert said("push", run.model_file, "hf://jane/cells").endswith("model.safetensors is no run folder")
    assert said("push", run.folder, "hf://joe/cells") == (
        "hf://joe/cells: the token may not do this: one that may write comes from hf auth login"
    )
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere")
    assert said("predict", "hf://jane/cells", photo).startswith("no model hf://jane/cells, or it is private")
    assert said("push", run.folder, "hf://jane/new") == (
        "hf://jane/new: the Hub wants a token: type hf auth login, or set HF_TOKEN"
    )


def test_without_a_network(hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    push_run(run, CELLS)
    kept = fetch_snapshot(CELLS)
    nowhere = "http://127.0.0.1:9"  # refused at once
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nowhere)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", nowhere + TEMPLATE)
    assert fetch_snapshot(CELLS) == kept, "what was fetched before counts"
    with pytest.raises(
        RecipeError, match=r"^hf://jane/new is not here yet, and the Hub can't be reached \([^\n]*hf download"
    ):
        fetch_snapshot(HubAddress("jane/new"))
    with pytest.raises(RecipeError, match=r"^hf://jane/cells: the Hub can't be reached \([^\n]*"):
        push_run(run, CELLS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RecipeError, match=r"^hf://jane/new is not here yet[^\n]*$"):
        fetch_snapshot(HubAddress("jane/new"))
    with pytest.raises(RecipeError, match=r"^hf://jane/cells: [^\n]*$"):
        push_run(run, CELLS)


def test_what_does_not_load_is_not_pushed(hub: Hub, run: Run) -> None:
    run.model_file.write_bytes(b"damaged")
    with pytest.raises(RecipeError, match="holds no model"):
        push_run(run, CELLS)
    assert not hub.repos

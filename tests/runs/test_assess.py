"""What is written of people's files, and where a run's page lies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from boxwright._util.ownership import is_marked
from boxwright.errors import RecipeError
from boxwright.runs import Run
from boxwright.runs.assess import evaluate_run, predict_to_folder
from dataset_builders import write_coco, write_picture
from tiny_runs import keep_tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return keep_tiny_run(tmp_path_factory.mktemp("runs") / "run", ("cat", "dog"))


def test_every_file_is_told_with_its_drawing_or_its_fault(run: Run, tmp_path: Path) -> None:
    """Pictures of one name, of an odd format and of none, and one whose name a file system can't take longer."""
    files = [tmp_path / name for name in ("x.jpg", "a/x.jpg", "X.png", "long" * 60 + ".jpg", "broken.jpg")]
    for seed, file in enumerate(files[:-1]):
        write_picture(file, seed)
    files[-1].write_bytes(b"no image")
    said: list[str] = []
    found = predict_to_folder(run.folder, files, tmp_path / "out", save_images=True, say=said.append)
    images = json.loads(found.images.read_text())
    assert [image["drawing"] for image in images] == ["x.jpg", "x-2.jpg", "X-3.jpg", "long" * 50 + ".jpg", None]
    assert [Path(image["file_name"]) for image in images] == files
    assert [image["image_id"] for image in images] == [1, 2, 3, 4, 5]
    assert [image["fault"] is None for image in images] == [True] * 4 + [False]
    assert "broken.jpg: not a readable image" in images[-1]["fault"]
    assert {path.name for path in (tmp_path / "out").glob("*.jpg")} == {image["drawing"] for image in images[:-1]}
    assert list(found.faults) == files[-1:]
    assert said[-1] == f"left out: {found.faults[files[-1]]}"
    assert is_marked(tmp_path / "out")


def test_a_folder_of_people_is_not_marked(run: Run, tmp_path: Path) -> None:
    write_picture(tmp_path / "x.png", 1)
    predict_to_folder(run.folder, [tmp_path / "x.png"], tmp_path)
    assert not is_marked(tmp_path)


@pytest.mark.parametrize("score", [3, -0.1, float("nan")])
def test_scores_out_of_range(run: Run, score: float, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"Expected a score in 0\.\.1 but got"):
        predict_to_folder(run.folder, [], tmp_path, score=score)


def test_a_picture_longer_than_jpeg_can_be(run: Run, tmp_path: Path) -> None:
    Image.new("L", (66_000, 8)).save(tmp_path / "strip.png")
    predict_to_folder(run.folder, [tmp_path / "strip.png"], tmp_path / "out", save_images=True)
    with Image.open(tmp_path / "out" / "strip.jpg") as drawn:
        assert drawn.width == 65_500


def test_a_damaged_record_is_told_before_anything_is_computed(run: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(run.folder, tmp_path / "run"))
    for content in (b"{", b"[1]", b"\xff", b'"' + b"[" * 3000):
        copy.data_file.write_bytes(content)
        with pytest.raises(RecipeError, match=r"data\.json is damaged"):
            evaluate_run(copy.folder, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("split", "name"),
    [("test", "report.html"), ("val", "report-val.html"), (None, "report-all.html"), ("../up", "report-_.._up.html")],
)
def test_the_page_of_a_split(split: str | None, name: str, tmp_path: Path) -> None:
    assert Run(tmp_path).report_file(split) == tmp_path / name
    assert Run(tmp_path).results_file(split).parent == tmp_path / "predictions"


def test_the_command_of_an_evaluation_is_what_ran(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files as they were typed, and all options that change what is measured."""
    write_coco(tmp_path / "data", {"test": {"a.jpg": [("cat", 5, 5, 25, 20)]}}, ("cat", "dog"))
    (tmp_path / "link").symlink_to("data")
    shutil.copytree(run.folder, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    options = {"classes": ["dog", "cat"], "exif": "ignore", "max_pixels": 1_000_000, "allow_links": True}
    found = evaluate_run("run/model.safetensors", "link", "test", nms="soft_linear", nms_agnostic=True, **options)
    assert found.record["commands"] == [
        "boxwright eval run/model.safetensors link --split test --set 'classes=[dog, cat]' --set exif=ignore "
        "--set max_pixels=1000000 --allow-links --nms soft_linear --nms-agnostic"
    ]
    found = evaluate_run("run", "data", "test", save_thresholds=True)
    assert found.record["commands"] == ["boxwright eval run data --split test --save-thresholds"]

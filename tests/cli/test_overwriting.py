"""No command replaces a file that it reads, that its data set refers to, or that boxwright didn't write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import boxwright as bw
from boxwright.cli.demo import run_demo
from boxwright.errors import DataError
from boxwright.evaluate import save_results
from command_line import Boxwright
from dataset_builders import write_coco, write_picture, write_voc, write_yolo
from tiny_runs import keep_tiny_run

CLASSES = ("cat", "dog")
BOXES = [("cat", 5.0, 5.0, 35.0, 30.0), ("dog", 40.0, 20.0, 60.0, 50.0)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and run/, of which each test has a copy."""
    root = tmp_path_factory.mktemp("made")
    splits = {split: {f"{split}-{n}.jpg": BOXES for n in range(3)} for split in ("train", "val", "test")}
    write_coco(root / "data", splits, CLASSES)
    keep_tiny_run(root / "run", CLASSES)
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with data, run, found.json (results), mine.json and mine.html."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    test = bw.read_dataset("data", "test")
    save_results("found.json", [{"boxes": [[5, 5, 35, 30]], "scores": [0.9], "labels": [0]}] * 3, test)
    (tmp_path / "mine.json").write_text('{"notes": "of years", "split": "train", "classes": [], "corrections": []}')
    (tmp_path / "mine.html").write_text("<html>my page</html>")
    return tmp_path


JSON_WRITERS = ["check data --json mine.json", "eval found.json data --json mine.json", "parts miner --json mine.json"]
WRITERS = [
    "eval found.json data --save-detections mine.json",
    "eval found.json data --save-targets mine.json",
    "inspect data --images 1 --run run --out mine.html",
    "hardest data --run run --top 2 --out mine.html",
    "hardest data --run run --top 2 --out mine.of.html",  # its list has the name of people's file
]


@pytest.mark.parametrize("line", WRITERS)
def test_what_people_wrote_stays_unless_they_say_otherwise(line: str, place: Path, boxwright: Boxwright) -> None:
    (place / "mine.of.json").write_text("[1]")
    before = contents(place)
    code, _, err = boxwright(*line.split())
    assert code == 2
    assert err.startswith("boxwright: mine.")
    assert err.endswith("is there, and boxwright didn't write it: write elsewhere, or add --overwrite\n")
    assert contents(place) == before
    assert boxwright(*line.split(), "--overwrite").code == 0
    assert contents(place) != before
    assert boxwright(*line.split()).code == 0  # now it is boxwright's own


@pytest.mark.parametrize("line", JSON_WRITERS)
def test_json_replaces_only_what_json_wrote(line: str, place: Path, boxwright: Boxwright) -> None:
    file, command = place / "mine.json", line.partition(" ")[0]
    file.unlink()
    assert boxwright(*line.split()).code == 0
    assert json.loads(file.read_text())["command"] == command
    assert boxwright(*line.split()).code == 0
    for others in ("", '{"generator": "boxwright 1"}', "mine"):  # an empty label file, a run's data.json, a person's
        file.write_text(others)
        code, _, err = boxwright(*line.split())
        assert (code, file.read_text()) == (2, others)
        assert "mine.json is there, and --json didn't write it" in err


READ = [
    "eval found.json data --save-targets data/annotations/instances_val.json",
    "eval found.json data --save-targets data/images/train/train-0.jpg",
    "eval found.json data --save-targets link.json",
    "eval found.json data --save-detections found.json",
    "eval found.json data --save-detections data/annotations/instances_train.json",
    "eval found.json data --save-targets data/annotations/instances_test.json",
    "eval run data --save-detections run/recipe.yaml",
    "eval run data --save-detections run/data.json",
    "inspect data --run run --out run/model.safetensors",
    "inspect data --recipe my.yaml --out my.yaml",
    "hardest data --run run --out data/annotations/instances_train.html",
    "hardest data --run run --out run/data.html",
    "hardest data --apply mine.json --out mine.json",
    "hardest data --apply mine.json --out data/annotations/instances_train.json",
    "predict run data/images/test --out data/images/test --save-images",
    "predict run data/images/test/test-0.jpg --out data/images/test --save-images",
    "predict run data/**/*.jpg --out data/images/test --save-images",
]


@pytest.mark.parametrize("line", READ)
def test_what_a_command_reads_is_never_replaced(line: str, place: Path, boxwright: Boxwright) -> None:
    (place / "link.json").symlink_to("data/annotations/instances_train.json")
    (place / "my.yaml").write_text("detector: lite320\nimage_size: 64\nwidth: 16\npretrained: false\nfreeze: 0\n")
    (place / "run" / "data.json").write_text(json.dumps({"generator": "boxwright 0", "training": {}}))
    before = contents(place)
    code, _, err = boxwright(*line.split(), "--overwrite")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "is read by this very command, or part of its data set" in err
    assert contents(place) == before
    assert boxwright(*line.split()).code == 2
    assert contents(place) == before


@pytest.mark.parametrize("name", ["data.yaml", "train/labels/a.txt", "train/images/a.png", "Annotations/a.xml", "list"])
def test_every_file_of_a_data_set_is_part_of_it(name: str, tmp_path: Path, boxwright: Boxwright) -> None:
    if name in ("Annotations/a.xml", "list"):
        write_voc(tmp_path, {"a": BOXES, "b": BOXES}, {"train": ["a"], "val": ["b"]})
        name = "ImageSets/Main/val.txt" if name == "list" else name
    else:
        config = "train: train/images\nval: train/images\nnames: [cat, dog]\n"
        write_yolo(tmp_path, {"train": {"a.png": BOXES, "b.png": BOXES}}, CLASSES, config=config)
    before = contents(tmp_path)
    code, _, err = boxwright("inspect", tmp_path, "--out", tmp_path / name, "--overwrite")
    assert (code, contents(tmp_path)) == (2, before)
    assert "part of its data set" in err


def test_new_files_may_lie_beside_the_data(place: Path, monkeypatch: pytest.MonkeyPatch, boxwright: Boxwright) -> None:
    monkeypatch.chdir(place / "data")
    for _ in range(2):
        assert boxwright("eval", "../found.json", ".", "--save-targets", "targets.json").code == 0
        assert boxwright("inspect", ".", "--run", "../run", "--images", 1, "--out", "inspect.html").code == 0
        assert boxwright("predict", "../run", "images/test", "--out", "found", "--save-images").code == 0
    assert boxwright("check", ".").out == boxwright("check", place / "data").out


def test_drawings_lie_beside_photos_of_another_kind(place: Path, boxwright: Boxwright) -> None:
    """x.png's drawing is x.jpg: new, then boxwright's own, and no photo to predict."""
    for name in ("photos/x.png", "photos/y.png"):
        write_picture(place / name, 1)
    assert boxwright("predict", "run", "photos", "--out", "photos", "--save-images").code == 0
    first = contents(place / "photos")
    assert set(first) == {"x.png", "y.png", "x.jpg", "y.jpg", "detections.json", "images.json"}
    code, _, err = boxwright("predict", "run", "photos", "--out", "photos", "--save-images")
    assert code == 0
    assert "left out 2 of the pictures at photos: boxwright drew them" in err
    assert contents(place / "photos") == first
    (place / "photos" / "y.jpg").write_bytes(b"mine")
    assert boxwright("predict", "run", "photos/x.png", "photos/y.png", "--out", "photos", "--save-images").code == 2
    assert (place / "photos" / "y.jpg").read_bytes() == b"mine"


def test_each_split_has_a_page_of_its_own(place: Path, boxwright: Boxwright) -> None:
    code, out, _ = boxwright("eval", "run", "data")
    assert code == 0
    assert "the report is in run/report.html" in out
    assert "split test of data: 3 images, 6 boxes" in out
    page = (place / "run" / "report.html").read_bytes()
    code, out, _ = boxwright("eval", "run", "data", "--split", "val")
    assert code == 0
    assert "the report is in run/report-val.html" in out
    assert "split val of data: 3 images, 6 boxes" in out
    assert (place / "run" / "report.html").read_bytes() == page
    assert b"on 3 val images" in (place / "run" / "report-val.html").read_bytes()


def test_a_report_of_people_stays(place: Path, boxwright: Boxwright) -> None:
    (place / "run" / "report.html").write_text("my own notes")
    assert boxwright("eval", "run", "data").code == 2
    assert (place / "run" / "report.html").read_text() == "my own notes"
    assert boxwright("eval", "run", "data", "--overwrite").code == 0


def test_accepted_corrections_are_peoples_own(place: Path, boxwright: Boxwright) -> None:
    line = ("hardest", "data", "--run", "run", "--top", 2)
    assert boxwright(*line).code == 0
    listed = json.loads((place / "run" / "hardest.json").read_text())
    listed["corrections"][0]["accepted"] = True
    (place / "run" / "hardest.json").write_text(json.dumps(listed))
    code, _, err = boxwright(*line)
    assert code == 2
    assert "hardest.json has accepted corrections" in err
    assert boxwright("hardest", "data", "--apply", "run/hardest.json", "--out", "new.json").code == 0
    assert boxwright("hardest", "data", "--apply", "run/hardest.json", "--out", "new.json").code == 2
    assert boxwright("hardest", "data", "--apply", "run/hardest.json", "--out", "new.json", "--overwrite").code == 0
    assert boxwright(*line, "--overwrite").code == 0


def test_the_page_is_no_json(place: Path, boxwright: Boxwright) -> None:
    code, _, err = boxwright("hardest", "data", "--run", "run", "--out", "new.json")
    assert code == 2
    assert "Expected a page, new.html say, but got new.json" in err


@pytest.mark.parametrize("name", ["errors.csv", "curves.png", "simulation.json", "final_errors.npz", "simulate.html"])
def test_a_simulation_replaces_its_own_alone(name: str, tmp_path: Path, boxwright: Boxwright) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    assert boxwright("simulate", "--losses", "iou", "--centers", 1, "--out", tmp_path / "out").code == 2
    assert contents(tmp_path / "out") == {name: b"mine"}


@pytest.mark.parametrize("name", ["data", "run"])
def test_the_demo_needs_a_place_of_its_own(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"holds {name} already"):
        run_demo(tmp_path, minutes=1, console=None)


def test_drawn_pictures_and_json_say_whose_they_are(place: Path, boxwright: Boxwright) -> None:
    assert boxwright("predict", "run", "data/images/test", "--out", "found", "--save-images").code == 0
    for file in (place / "found").glob("*.jpg"):
        with Image.open(file) as picture:
            assert picture.info["comment"].startswith(b"made by boxwright ")
    assert json.loads(boxwright("check", "data", "--json").out)["generator"].startswith("boxwright ")

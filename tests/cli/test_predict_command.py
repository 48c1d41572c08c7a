"""``boxwright predict`` as people type it: what is said, and how it ends."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from boxwright.evaluate import Thresholds, detection_metrics
from boxwright.runs.thresholds import write_thresholds
from command_line import Boxwright
from dataset_builders import write_picture
from tiny_runs import keep_tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keep_tiny_run(tmp_path_factory.mktemp("runs") / "run", ("cat", "dog")).folder


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos, and two files that are called so."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.png"):
        write_picture(tmp_path / "photos" / name, 1)
    (tmp_path / "broken").mkdir()
    for name in ("c.jpg", "d.jpg"):
        (tmp_path / "broken" / name).write_bytes(b"no image")
    return tmp_path


def test_it_says_where_everything_is(run: Path, photos: Path, boxwright: Boxwright) -> None:
    code, out, err = boxwright("predict", run, "photos", "--out", "found")
    assert (code, err) == (0, "")
    assert out.splitlines()[2:] == ["the detections are in found/detections.json"]
    code, out, _ = boxwright("predict", run, "photos", "broken", "--out", "found", "--save-images")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()[:4]] == ["photos/a.jpg", "photos/b.png", *["left out"] * 2]
    assert out.splitlines()[4:] == [
        "the detections are in found/detections.json",
        "the pictures are in found; which is whose is in found/images.json",
    ]
    code, out, _ = boxwright("predict", run, "photos")
    assert f"the detections are in {run}/predictions/detections.json" in out


def test_nothing_that_could_be_read_is_exit_code_1(run: Path, photos: Path, boxwright: Boxwright) -> None:
    code, out, _ = boxwright("predict", run, "broken", "--out", "found", "--save-images")
    assert code == 1
    assert out.splitlines()[-1] == "not one image could be read"
    assert "the pictures are" not in out


@pytest.mark.parametrize("source", ["", "**a", "nowhere", "photos/*.gif", "pipe.jpg"])
def test_no_image_is_exit_code_2(source: str, run: Path, photos: Path, boxwright: Boxwright) -> None:
    os.mkfifo(photos / "pipe.jpg")
    code, out, err = boxwright("predict", run, source, "--out", "found")
    assert (code, out) == (2, "")
    assert err.startswith("boxwright: no image at ")
    assert source in err
    assert not (photos / "found").exists()


def test_a_pipe_among_photos_is_left_out(run: Path, photos: Path, boxwright: Boxwright) -> None:
    os.mkfifo(photos / "pipe.jpg")
    code, _, err = boxwright("predict", run, "pipe.jpg", "photos", "--out", "found")
    assert code == 0
    assert err == "boxwright: warning: left out pipe.jpg: it is no regular file\n"


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("high", "Expected 0 to 1, precision=P or recall=R but got high"),
        ("1.5", "Expected 0 to 1 but got 1.5"),
        ("nan", "Expected 0 to 1 but got nan"),
        ("precision=2", "Expected precision=P or recall=R, above 0 and up to 1, but got 'precision=2'"),
        ("precision=0.9", "precision 0.9 needs a validation, and this model has none: boxwright eval RUN"),
    ],
)
def test_scores_that_cannot_be(score: str, message: str, run: Path, photos: Path, boxwright: Boxwright) -> None:
    code, out, err = boxwright("predict", run, "photos", "--out", "found", "--score", score)
    assert (code, out) == (2, "")
    assert message in err
    assert not (photos / "found").exists()


def test_a_score_a_precision_or_what_the_run_keeps(
    tmp_path_factory: pytest.TempPathFactory, photos: Path, boxwright: Boxwright
) -> None:
    own = keep_tiny_run(tmp_path_factory.mktemp("runs") / "run", ("cat", "dog"))
    boxes = [{"boxes": [[1, 1, 9, 9]], "labels": [0]}] * 12
    table = detection_metrics([{**each, "scores": [0.5]} for each in boxes], boxes, ("cat", "dog"))
    write_thresholds(own.thresholds_file, Thresholds.of(table.matches, table.classes, split="val", default=0.3))
    heads = {
        (): "predict keeps scores above cat 0.250, dog 0.250 (all classes together: 0 objects): the best F1 on val",
        ("--score", "recall=.8"): "for recall 0.8 expect what val (12 images) had, with 95 % intervals over images:",
        ("--score", "0.25"): "photos/a.jpg: ",
    }
    for options, head in heads.items():
        code, out, _ = boxwright("predict", own.folder, "photos", "--out", "found", *options)
        assert code == 0
        assert out.startswith(head)


def test_a_list_on_standard_input(
    run: Path, photos: Path, boxwright: Boxwright, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = b"photos/b.png\nnowhere.jpg\n\nphotos/a.jpg\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    code, out, err = boxwright("predict", run, "-", "--out", "found", "--format", "csv,yolo", "--save-crops")
    assert code == 0
    assert err == "boxwright: warning: left out line 2 of standard input: nowhere.jpg: no such file\n"
    assert [line.split(":")[0] for line in out.splitlines()[:2]] == ["photos/b.png", "photos/a.jpg"]
    assert out.splitlines()[2:] == [
        "the detections are in found/detections.json",
        "the crops are in found/crops",
        "what is for csv is in found/csv",
        "what is for yolo is in found/yolo",
    ]
    assert (photos / "found" / "yolo" / "labels" / "a.txt").is_file()


def test_what_cannot_be_wished_is_exit_code_2(
    run: Path, photos: Path, boxwright: Boxwright, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "clip.mp4").write_bytes(b"no video")
    monkeypatch.setitem(sys.modules, "av", None)
    for options, message in {
        ("photos", "--format", "yolo,tfrecord"): "Expected formats out of coco, csv, yolo, voc but got 'tfrecord'",
        ("photos", "--every", "0"): "Expected a number of at least 1 but got 0",
        ("photos", "--save-video"): "there is no video among the files",
        ("clip.mp4",): "videos need PyAV: pip install 'boxwright[video]'",
    }.items():
        code, out, err = boxwright("predict", run, *options, "--out", "found")
        assert (code, out) == (2, "")
        assert message in err
        assert not (photos / "found").exists()

"""What predict writes for labeling tools is a data set to our own readers, for images and for videos."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import boxwright as bw
from boxwright.check import check_dataset
from boxwright.data import DetectionDataset
from boxwright.errors import RecipeError, WriteError
from boxwright.runs import Run
from boxwright.runs.assess import predict_to_folder
from boxwright.runs.outputs import places_below
from dataset_builders import exif_with, picture, write_picture
from tiny_runs import keep_tiny_run

CLASSES = ("café 車", "a/../b", "ant hill")
ALL = {"formats": ("coco", "csv", "yolo", "voc"), "save_crops": True}
READ = {"csv": "tensorflow", "yolo": "yolo", "voc": "voc"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return keep_tiny_run(tmp_path_factory.mktemp("runs") / "run", CLASSES, max_detections=8)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Two of one name in two folders, two that differ by the suffix alone, one on its side, and one that is none."""
    files = [tmp_path / "photos" / name for name in ("a/x.jpg", "b/x.jpg", "b/x.png", "ü ß.png")]
    for seed, file in enumerate(files):
        write_picture(file, seed)
    files += [tmp_path / "photos" / "turned.jpg", tmp_path / "photos" / "none.jpg"]
    Image.fromarray(picture(9)).save(files[4], exif=exif_with(6))
    files[5].write_bytes(b"no image")
    return files


def predict(run: Run, files: list[Path], out: Path, **options: Any) -> list[str]:
    said: list[str] = []
    predict_to_folder(run.folder, files, out, say=said.append, **{"score": 0.0, "batch": 1, **options})
    return said


def by_image(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Entries of detections.json by file name, and frame where there is one."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for entry in json.loads((folder / "detections.json").read_text()):
        entries.setdefault(f"{entry['file_name']}:{entry.get('frame', '')}", []).append(entry)
    return entries


def assert_agrees(dataset: DetectionDataset, place: int, entries: list[dict[str, Any]]) -> None:
    """The targets of an image are the detections, whatever their order."""
    target = dataset.target(place)
    read = [(dataset.classes[label], *box) for label, box in zip(target.labels, target.boxes.tolist(), strict=True)]
    wanted = [(e["category"], e["bbox"][0], e["bbox"][1], *np.add(e["bbox"][:2], e["bbox"][2:])) for e in entries]
    for got, one in zip(sorted(read), sorted(wanted), strict=True):
        assert got[0] == one[0]
        assert got[1:] == pytest.approx(one[1:], abs=1e-3)


@pytest.mark.parametrize("name", READ)
def test_a_format_is_a_data_set(name: str, run: Run, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "found"
    predict(run, photos, out, formats=(name,), copy_images=True)
    dataset = bw.read_dataset(out / name)
    entries = by_image(out)
    assert (dataset.layout, len(dataset)) == (READ[name], 5)
    assert set(dataset.classes) <= set(CLASSES)
    assert dataset.left_out.faults == ()
    folder = {"csv": "", "yolo": "images/", "voc": "JPEGImages/"}[name]
    for place in range(5):
        file = tmp_path / "photos" / dataset.name(place).removeprefix(folder)
        assert dataset.path(place).read_bytes() == file.read_bytes()
        assert_agrees(dataset, place, entries[f"{file}:"])
    assert check_dataset(out / name).errors == 0


def test_labels_alone_fit_the_photos(run: Run, photos: list[Path], tmp_path: Path) -> None:
    """Put beside the images they make them a data set."""
    out = tmp_path / "found"
    predict(run, photos[:5], out, **ALL)
    homes = {"csv": (".", "."), "yolo": ("labels", "images"), "voc": ("Annotations", "JPEGImages")}
    for name, (own, images) in homes.items():
        shutil.copytree(out / name, tmp_path / name)
        shutil.copytree(tmp_path / "photos", tmp_path / name / images, dirs_exist_ok=True)
        (tmp_path / name / images / "none.jpg").unlink()
        dataset = bw.read_dataset(tmp_path / name)
        assert (len(dataset), dataset.left_out.faults) == (5, ()), (name, own)


def test_crops_are_what_lies_in_the_boxes(run: Run, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "found"
    predict(run, [photos[2]], out, save_crops=True)
    entries = by_image(out)[f"{photos[2]}:"]
    assert len(entries) == 8
    pixels = np.asarray(Image.open(photos[2]).convert("RGB")).astype(int)
    folders = dict(zip(CLASSES, ("café 車", "a_.._b", "ant hill"), strict=True))
    for number, entry in enumerate(entries, start=1):
        x, y, width, height = entry["bbox"]
        left, top = int(x), int(y)
        right, bottom = int(np.ceil(x + width)), int(np.ceil(y + height))
        with Image.open(out / "crops" / folders[entry["category"]] / f"x-{number}.jpg") as crop:
            cut = pixels[top:bottom, left:right]
            assert crop.size == (cut.shape[1], cut.shape[0])
            assert np.abs(np.asarray(crop).astype(int) - cut).mean() < 12
    assert len(list((out / "crops").rglob("*.jpg"))) == 8


def test_an_interrupted_command_ends_as_one_in_one_go(run: Run, photos: list[Path], tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    predict(run, photos, tmp_path / "whole", **ALL, copy_images=True)
    with pytest.raises(KeyboardInterrupt):
        predict(run, photos, tmp_path / "found", **ALL, copy_images=True, advance=stop)
    predict(run, photos, tmp_path / "found", **ALL, copy_images=True)
    assert_same_files(tmp_path / "whole", tmp_path / "found")


def assert_same_files(one: Path, other: Path) -> None:
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert len(names) > 10
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_corrected_labels_stay(run: Run, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "found"
    predict(run, photos[:1], out, formats=("yolo",))
    label = out / "yolo" / "labels" / "x.txt"
    label.write_text("0 .5 .5 1 1\n")
    with pytest.raises(WriteError, match=r"yolo isn't empty, and .* corrected since: write elsewhere, or add --overwr"):
        predict(run, photos[:1], out, formats=("coco", "yolo"))
    assert label.read_text() == "0 .5 .5 1 1\n"
    predict(run, photos[:1], out, formats=("coco", "yolo"), overwrite=True)
    assert label.read_text() != "0 .5 .5 1 1\n"


def test_what_is_read_is_never_written_over(run: Run, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "found"
    predict(run, photos[:2], out, formats=("csv",), copy_images=True)
    with pytest.raises(WriteError, match="csv holds what this very command reads: write to another place"):
        predict(run, [out / "csv" / "a" / "x.jpg"], out, formats=("csv",), copy_images=True, overwrite=True)


def test_a_file_where_a_folder_is_due(run: Run, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "yolo").write_text("mine")
    with pytest.raises(WriteError, match=r"can't write .*yolo: not a directory"):
        predict(run, photos, tmp_path / "found", formats=("yolo",), overwrite=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ("coco", "tfrecord")}, "Expected formats out of coco, csv, yolo, voc but got 'tfrecord'"),
        ({"copy_images": True}, "images are copied beside what a labeling tool reads: add --format yolo, voc or csv"),
        ({"save_video": True}, "--save-video draws on videos, and there is no video among the files"),
    ],
)
def test_what_cannot_be_wished(options: dict[str, Any], message: str, run: Run, photos: list[Path]) -> None:
    with pytest.raises(RecipeError, match=message):
        predict(run, photos, Path("nowhere"), **options)


def test_places_stay_apart_and_inside(tmp_path: Path) -> None:
    names = ["a/x.jpg", "b/x.jpg", "b/x.png", "b/X.gif", "b/../c/y.jpg", "c.d.jpg", "clip.mp4", "clip/0.jpg", "ü.jpg"]
    places = places_below([tmp_path / name for name in names])
    assert [place.stem for place in places] == [
        *("a/x", "b/x.jpg", "b/x.png", "b/X.gif", "c/y", "c.d", "clip.mp4", "clip/0", "ü"),
    ]
    assert [place.image for place in places] == [name.replace("b/../", "") for name in names]
    assert places[6].frame(12) == ("clip.mp4/000012", "clip.mp4/000012.jpg")
    twice = places_below([tmp_path / "x.jpg", tmp_path / "x.jpg", tmp_path / "X.jpg"])
    assert [place.stem for place in twice] == ["x.jpg", "x.jpg-2", "X.jpg-3"]
    assert [place.image for place in twice] == ["x.jpg", "x.jpg-2.jpg", "X.jpg-3.jpg"]
    assert places_below([]) == []


def clips(folder: Path) -> list[Path]:
    """A whole video, one without its end, and one that is none."""
    from video_builders import cut, write_clip

    (folder / "none.mp4").write_bytes(b"no video")
    return [write_clip(folder / "a.mp4", 7), cut(write_clip(folder / "b.mkv", 20), 0.4), folder / "none.mp4"]


def test_videos_are_told_frame_by_frame(run: Run, photos: list[Path], tmp_path: Path) -> None:
    from boxwright.runs.videos import read_frames

    files = [*clips(tmp_path), photos[0]]
    out = tmp_path / "found"
    said = predict(run, files, out, every=3, formats=("coco", "csv", "yolo"), copy_images=True, save_video=True)
    images = json.loads((out / "images.json").read_text())
    assert [(image["frame"], image["seconds"]) for image in images[:3]] == [(0, 0), (3, 0.3), (6, 0.6)]
    assert [image["image_id"] for image in images] == list(range(1, len(images) + 1))
    faults = {Path(image["file_name"]).name: image["fault"] for image in images if image["fault"]}
    assert sorted(faults) == ["b.mkv", "none.mp4"]
    assert "could be read" in faults["b.mkv"]
    assert "not a readable video" in faults["none.mp4"]
    assert said[0] == faults["b.mkv"]
    assert said[3].startswith(f"{files[0]}: 3 frames, ")
    dataset = bw.read_dataset(out / "yolo")
    entries = by_image(out)
    assert len(dataset) == len(images) - 2
    for place in range(3):
        assert dataset.name(place) == f"images/a.mp4/{3 * place:06d}.jpg"
        assert_agrees(dataset, place, entries[f"{files[0]}:{3 * place}"])
    assert [frame.seconds for frame in read_frames(out / "a.mp4")] == pytest.approx([0, 0.3, 0.6], abs=1e-3)
    assert 1 <= len(list(read_frames(out / "b.mp4"))) == len([i for i in images if "b.mkv" in i["file_name"]]) - 1
    assert not (out / "none.mp4").exists()
    rows = (out / "csv" / "detections.csv").read_text().splitlines()
    assert rows[1].startswith("a.mp4/000000.jpg,96,64,")
    assert rows[1].endswith(",1,0,0.0")


def test_a_video_goes_on_within_it(run: Run, tmp_path: Path) -> None:
    files = clips(tmp_path)
    wanted = {"formats": ("csv", "voc"), "copy_images": True, "save_video": True, "every": 2}
    predict(run, files, tmp_path / "whole", **wanted)
    for stop_at in (2, 4, 5):

        def stop(done: int, total: int | None, stop_at: int = stop_at) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            predict(run, files, tmp_path / "found", **wanted, advance=stop)
    said = predict(run, files, tmp_path / "found", **wanted)
    assert said[0] == "going on after the first 5 images"
    assert_same_files(tmp_path / "whole", tmp_path / "found")


def test_few_frames_are_in_memory_at_a_time(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from video_builders import write_clip

    from boxwright.models.detector import Detector
    from boxwright.runs import asked, finish
    from boxwright.runs.predict import no_detections
    from boxwright.runs.videos import Frame, read_frames

    alive: set[int] = set()
    most = []

    def watched(*args: Any) -> Iterator[Frame]:
        for count, frame in enumerate(read_frames(*args)):
            alive.add(count)
            weakref.finalize(frame.pixels, alive.discard, count)
            most.append(len(alive))
            yield frame

    for module in (asked, finish):
        monkeypatch.setattr(module, "read_frames", watched)
    monkeypatch.setattr(Detector, "predict_inputs", lambda self, inputs, *_: [no_detections()] * len(inputs))
    predict(run, [write_clip(tmp_path / "a.mp4", 60)], tmp_path / "found", save_video=True)
    assert len(most) == 120
    assert max(most) <= 12
    assert not alive

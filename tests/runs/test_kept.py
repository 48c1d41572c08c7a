"""Detections that are kept as they come: what an interrupted command goes on with, and what it begins anew."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from boxwright._util.locking import locked
from boxwright._util.stopping import Terminated
from boxwright.data import read_dataset
from boxwright.demo_data import make_digits
from boxwright.errors import BoxwrightWarning, RecipeError, WriteError
from boxwright.evaluate import read_results
from boxwright.models.detector import Detector
from boxwright.runs import Run, assess
from boxwright.runs.assess import evaluate_run, predict_to_folder
from boxwright.runs.kept import Say, keep_detections, work_of
from boxwright.types import Detections
from dataset_builders import write_picture
from tiny_runs import keep_tiny_run

SOME = Detections(torch.tensor([[0.1, 2, 3.3, 4]]), torch.tensor([0.7]), torch.tensor([1]))
NONE = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return keep_tiny_run(tmp_path_factory.mktemp("runs") / "run", [str(digit) for digit in range(10)])


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "photos" / f"{name}.png" for name in "abcde"]
    for seed, file in enumerate(files):
        write_picture(file, seed)
    files[1].write_bytes(b"no image")
    return files


def interrupt_after(images: int) -> Callable[[int, int], None]:
    def advance(done: int, total: int) -> None:
        if done == images:
            raise KeyboardInterrupt

    return advance


def fail_after(found: list[Detections | str], path: Path, error: type[BaseException], say: Say) -> None:
    with keep_detections(path, {"model": "a"}, 3, say) as kept:
        for each in found:
            kept.append(each)
        raise error


def predict(run: Run, photos: list[Path], out: Path, **options: Any) -> list[str]:
    said: list[str] = []
    predict_to_folder(run.folder, photos, out, say=said.append, batch=1, **{"score": 0.0, **options})
    return said


def test_lines_read_back_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "x.part.jsonl"
    with keep_detections(path, {"model": "a"}, 3, print) as kept:
        for found in (SOME, "x\udcff.jpg: no image", NONE):
            kept.append(found)
        first, fault, last = kept
        assert fault == "x\udcff.jpg: no image"
        for got, wanted in ((first, SOME), (last, NONE)):
            assert isinstance(got, Detections)
            assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(got, wanted, strict=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("torn", [b"", b'{"boxes":[[1,2', b'{"fault":"x"}', b"\0\0\0\n", b'{"boxes":[]}\n'])
def test_it_goes_on_after_the_last_whole_line(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.part.jsonl"
    said: list[str] = []
    with pytest.raises(ZeroDivisionError):
        fail_after([SOME, "no image"], path, ZeroDivisionError, print)
    with path.open("ab") as file:
        file.write(torn)
    with keep_detections(path, {"model": "a"}, 3, said.append) as kept:
        assert kept.done == 2
        kept.append(NONE)
        assert [found if isinstance(found, str) else len(found.boxes) for found in kept] == [1, "no image", 0]
    assert said == ["going on after the first 2 of 3 images"]


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.part.jsonl"
    with (
        locked(path.with_suffix(".lock")),
        pytest.raises(RecipeError, match="is in use by"),
        keep_detections(path, {}, 3, print),
    ):
        pass


def test_an_interrupted_prediction_ends_as_one_in_one_go(run: Run, photos: list[Path], tmp_path: Path) -> None:
    whole = predict(run, photos, tmp_path / "whole", save_images=True)
    with pytest.raises(KeyboardInterrupt):
        predict(run, photos, tmp_path / "found", save_images=True, advance=interrupt_after(3))
    assert not (tmp_path / "found" / "detections.json").exists()
    said = predict(run, photos, tmp_path / "found", save_images=True)
    assert said == ["going on after the first 3 of 5 images", *whole[3:]]
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == [".boxwright", "a.jpg", "c.jpg", "d.jpg", "detections.json", "e.jpg", "images.json"]
    for name in names:
        assert (tmp_path / "found" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    entries = json.loads((tmp_path / "found" / "detections.json").read_text())
    assert {entry["image_id"] for entry in entries} == {1, 3, 4, 5}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
def test_who_stops_is_told_how_to_go_on(stop: type[BaseException], tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(stop):
        fail_after([SOME], tmp_path / "x.part.jsonl", stop, said.append)
    assert said == ["stopped after 1 of 3 images: the same command goes on there"]


def test_other_work_begins_anew(run: Run, photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict(run, photos, tmp_path / "found", advance=interrupt_after(3))
    with pytest.warns(BoxwrightWarning, match="keeps what was found with another score and outputs: starting anew"):
        said = predict(run, photos, tmp_path / "found", score=0.2, save_images=True)
    assert len(said) == 5


def test_what_makes_other_work(run: Run, photos: list[Path]) -> None:
    detector = run.load()
    same = work_of(detector, photos, 0.3)
    assert work_of(run.load(), photos, 0.3) == same

    def others() -> list[str]:
        return [key for key, value in work_of(detector, photos, 0.3).items() if value != same[key]]

    detector.recipe = detector.recipe.replace(nms="diou")
    assert others() == ["recipe"]
    next(detector.parameters()).data.add_(1)
    assert others() == ["model", "recipe"]
    assert work_of(run.load(), photos[::-1], 0.3)["images"] != same["images"]
    write_picture(photos[0], 9)
    assert others() == ["model", "recipe", "images"]


def test_people_s_own_lines_are_not_replaced(run: Run, photos: list[Path], tmp_path: Path) -> None:
    mine = tmp_path / "detections.part.jsonl"
    mine.write_text('{"mine": 1}\n')
    with pytest.raises(WriteError, match="boxwright didn't write it"):
        predict(run, photos, tmp_path)
    assert mine.read_text() == '{"mine": 1}\n'


def test_an_interrupted_evaluation_has_the_same_metrics(run: Run, tmp_path: Path) -> None:
    data = make_digits(tmp_path / "digits", images={"test": 5}, size=64)
    whole = evaluate_run(run.folder, data, batch=1)
    results = run.results_file("test")
    written = results.read_bytes()
    results.unlink()
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(run.folder, data, batch=1, advance=interrupt_after(2))
    assert not results.exists()
    said: list[str] = []
    again = evaluate_run(run.folder, data, batch=1, say=said.append)
    assert said == ["going on after the first 2 of 5 images"]
    assert results.read_bytes() == written
    np.testing.assert_equal(again.metrics.numbers, whole.metrics.numbers)
    assert len(read_results(results, read_dataset(data, "test")).score) == len(json.loads(written)) > 0


def test_memory_does_not_grow_with_the_images(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the images take as much, but for the list of their files; each has a hundred detections."""
    many = Detections(torch.rand(100, 4), torch.rand(100), torch.zeros(100, dtype=torch.int64))
    detector = run.load()
    monkeypatch.setattr(assess, "_load", lambda *_, **options: detector)
    monkeypatch.setattr(Detector, "predict_inputs", lambda self, inputs, *_: [many] * len(inputs))

    def peak(images: int) -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        predict_to_folder(run.folder, photos[:1] * images, tmp_path / f"{images}", batch=8)
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        peak(10)
        few, more = peak(30), peak(240)
    finally:
        tracemalloc.stop()
    written = (tmp_path / "240" / "detections.json").stat().st_size
    assert written > 3_000_000
    assert more - few < 0.02 * written

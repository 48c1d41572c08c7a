from __future__ import annotations

import contextlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from boxwright.data import read_dataset
from boxwright.errors import DataError, WriteError
from boxwright.evaluate import detection_metrics, read_results, save_results, save_targets


@dataclass
class Dataset:
    """What evaluation asks of a data set."""

    names: list[str]
    image_ids: np.ndarray
    category_ids: np.ndarray
    classes: tuple[str, ...]
    offsets: np.ndarray
    xywh: np.ndarray
    labels: np.ndarray
    code: np.ndarray
    areas: np.ndarray

    def name(self, place: int) -> str:
        return self.names[place]

    def coco_json(self) -> dict[str, Any]:
        image = np.repeat(np.arange(len(self.names)), np.diff(self.offsets))
        return {
            "images": [
                {"id": int(key), "file_name": name} for key, name in zip(self.image_ids, self.names, strict=True)
            ],
            "categories": [
                {"id": int(key), "name": name} for key, name in zip(self.category_ids, self.classes, strict=True)
            ],
            "annotations": [
                {
                    "id": row + 1,
                    "image_id": int(self.image_ids[image[row]]),
                    "category_id": int(self.category_ids[self.labels[row]]),
                    "bbox": self.xywh[row].tolist(),
                    "area": float(self.areas[row]),
                    "iscrowd": int(self.code[row] == 1),
                }
                for row in range(len(self.labels))
            ],
        }


@pytest.fixture
def dataset() -> Dataset:
    random = np.random.default_rng(0)
    counts = [4, 0, 6, 3]
    total = sum(counts)
    xywh = np.concatenate([random.uniform(0, 50, (total, 2)), random.uniform(8, 60, (total, 2))], axis=1)
    return Dataset(
        names=["sub/b.jpg", "a.jpg", "c.jpg", "d.jpg"],
        image_ids=np.array([40, 7, 12, 9]),
        category_ids=np.array([3, 18]),
        classes=("cat", "dog"),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        xywh=xywh,
        labels=random.integers(0, 2, total),
        code=(random.random(total) < 0.2).astype(np.uint8),
        areas=xywh[:, 2:].prod(axis=1) * 0.9,
    )


def predictions(dataset: Dataset, per_image: int = 130) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    entries = []
    for _ in range(len(dataset.image_ids)):
        source = dataset.xywh[random.integers(0, len(dataset.xywh), per_image)]
        low = source[:, :2] + random.normal(0, 3, (per_image, 2))
        boxes = np.concatenate([low, low + source[:, 2:]], axis=1).astype(np.float32)
        scores = random.uniform(0, 1, per_image).astype(np.float32) ** 8
        entries.append({"boxes": boxes, "scores": scores, "labels": random.integers(0, 2, per_image)})
    return entries


def run_pycocotools(truth_file: Path, results_file: Path) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_file))
        evaluator = COCOeval(truth, truth.loadRes(str(results_file)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats


def test_pycocotools_on_the_saved_files_says_the_same(dataset, tmp_path):
    kept = save_results(tmp_path / "found.json", predictions(dataset), dataset)
    save_targets(tmp_path / "truth.json", dataset)
    expected = run_pycocotools(tmp_path / "truth.json", tmp_path / "found.json")
    read = read_results(tmp_path / "found.json", dataset)
    for columns in (kept, read):
        table = detection_metrics(columns, dataset, dataset.classes)
        ours = np.array(list(table.numbers.values()))[:12]
        np.testing.assert_allclose(np.nan_to_num(ours, nan=-1), expected, rtol=0, atol=1e-9)
        assert table.AP > 0.001
    for name in ("image", "label", "score", "xywh"):
        np.testing.assert_array_equal(getattr(read, name), getattr(kept, name))
    assert kept.score.min() >= 0.001
    assert np.bincount(kept.image).max() <= 100


def test_a_data_set_from_files(tmp_path):
    """Our own reader's data set: ids out of order, a crowd, an image without boxes; no image file is needed."""
    sizes = {"width": 120, "height": 120}
    images = [{"id": key, "file_name": f"{key % 7}.jpg", **sizes} for key in (40, 8, 13, 9)]
    random = np.random.default_rng(2)
    notes = []
    for row, image in enumerate([40, 40, 8, 8, 8, 9, 9]):
        box = [*random.uniform(0, 50, 2).tolist(), *random.uniform(8, 60, 2).tolist()]
        note = {
            "id": row + 5,
            "image_id": image,
            "category_id": 6 - 3 * (row % 2),
            "bbox": box,
            "area": 0.8 * box[2] * box[3],
        }
        notes.append({**note, "iscrowd": int(row == 3)})
    truth = {"images": images, "categories": [{"id": 6, "name": "b"}, {"id": 3, "name": "c"}], "annotations": notes}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "test.json").write_text(json.dumps(truth))
    dataset = read_dataset(tmp_path, "test")
    kept = save_results(tmp_path / "found.json", predictions(dataset), dataset)
    save_targets(tmp_path / "truth.json", dataset)
    numbers = list(detection_metrics(kept, dataset, dataset.classes).numbers.values())[:12]
    for name in ("annotations/test.json", "truth.json"):
        expected = run_pycocotools(tmp_path / name, tmp_path / "found.json")
        np.testing.assert_allclose(np.nan_to_num(numbers, nan=-1), expected, rtol=0, atol=1e-9)
    assert numbers[1] > 0.001


def test_entries_say_image_and_class_in_words(dataset, tmp_path):
    save_results(tmp_path / "found.json", predictions(dataset, 2), dataset)
    first, entry, *_ = json.loads((tmp_path / "found.json").read_text())
    assert list(entry) == ["image_id", "category_id", "bbox", "score", "file_name", "category"]
    assert first.keys() - entry.keys() == {"generator"}
    assert (entry["image_id"], entry["file_name"]) == (40, "sub/b.jpg")


def write(path, *entries):
    path.write_text(json.dumps([{"bbox": [0, 0, 5, 5], "score": 0.5, **entry} for entry in entries]))
    return path


@pytest.mark.parametrize(
    "entry",
    [
        {"image_id": 12, "category_id": 18},
        {"image_id": 12, "category_id": 18, "segmentation": [], "area": 3},
        {"image_id": 12, "category_id": 18, "file_name": "images/c.jpg", "category": "dog"},
        {"image_id": 999, "category_id": 999, "file_name": "c.jpg", "category": "dog"},
        {"image_id": "c", "file_name": "elsewhere/c.jpg", "category": "dog"},
        {"image_id": 7, "category_id": 3, "file_name": "c.jpg", "category": "dog"},  # another data set's numbers
    ],
)
def test_ids_and_names(entry, dataset, tmp_path):
    columns = read_results(write(tmp_path / "found.json", entry), dataset)
    assert (columns.image.tolist(), columns.label.tolist()) == ([2], [1])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"image_id": 1, "category_id": 3}, r"image_id 1 not in the data, which has 4 from 40, 7, 12, \.\.\."),
        ({"image_id": 40, "category_id": 1}, r"category_id 1 not in the data, which has 2 from 3, 18\. Ids are"),
        ({"image_id": 40, "category_id": 3, "file_name": "z.jpg"}, r"image_id 40 \(z\.jpg\) not in the data"),
        ({"category_id": 3}, r"image_id None not in the data"),
        ({"image_id": 40, "category_id": 3, "bbox": [0, 0, 1]}, r"not a COCO results file.*length 4"),
        ({"image_id": 40, "category_id": 3, "score": None}, r"not a COCO results file.*\$\[0\]\.score"),
    ],
)
def test_what_belongs_to_nothing_is_named(entry, message, dataset, tmp_path):
    with pytest.raises(DataError, match=message):
        read_results(write(tmp_path / "found.json", entry), dataset)


@pytest.mark.parametrize(
    "entry",
    [
        {"image_id": "12", "category_id": "18"},
        {"image_id": 12.0, "category_id": 18.0},
        {"image_id": "c.jpg", "category_id": "dog"},
        {"image_id": "12", "category_id": 18, "bbox": ["0", "0.0", 5, 5], "score": "0.5"},
        {"image_id": 12, "category_id": 18, "file_name": None, "category": 7},
    ],
)
def test_entries_are_read_as_leniently_as_ground_truth(entry, dataset, tmp_path):
    columns = read_results(write(tmp_path / "found.json", entry), dataset)
    assert (columns.image.tolist(), columns.label.tolist()) == ([2], [1])
    assert (columns.xywh.tolist(), columns.score.tolist()) == ([[0, 0, 5, 5]], [0.5])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_results_in_any_unicode(encoding, dataset, tmp_path):
    dataset.names[2] = "größe.jpg"
    path = write(tmp_path / "found.json", {"file_name": "größe.jpg", "category": "dog"})
    text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
    path.write_bytes(text.encode(encoding))
    assert read_results(path, dataset).image.tolist() == [2]
    path.write_bytes(text.replace("0.5", "null").encode(encoding))
    with pytest.raises(
        DataError, match=r"entry 0: score is None.* \(Expected `float`, got `null` - at `\$\[0\]\.score`\)"
    ):
        read_results(path, dataset)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            '[{"image_id": 40, "category_id": 3, "bbox": [0, 0, 5, NaN], "score": 0.5}]',
            r"entry 0: bbox is \[0, 0, 5, nan\]",
        ),
        (
            '[GOOD, {"image_id": 40, "category_id": 3, "bbox": [0, 0, 5, 5], "score": Infinity}]',
            "entry 1: score is inf",
        ),
        (
            '[GOOD, GOOD, {"image_id": 40, "category_id": 3, "bbox": [0, 0, 5, 5], "score": "high"}]',
            "entry 2: score is 'high'",
        ),
        ('[GOOD, {"image_id": 40, "category_id": 3, "segmentation": [], "score": 1}]', "entry 1: bbox is None"),
        (
            '[GOOD, {"image_id": [4], "category_id": 3, "bbox": [0, 0, 5, 5], "score": 1}]',
            r"entry 1: image_id is \[4\]",
        ),
        ('[GOOD, {"image_id": true, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 1}]', "entry 1: image_id is True"),
        ('[GOOD, {"image_id": 40, "category_id": 3, "bbox": {"x": 1}, "score": 1}]', "entry 1: bbox is {'x': 1}"),
        ("[GOOD, 7]", "entry 1 is 7"),
        ("[GOOD, null]", "entry 1 is None"),
        ("[GOOD, ", "not a COCO results file.*line 1 column"),
        ("7", "it is no list"),
        ("", "not a COCO results file"),
        ('{"images": [], "annotations": [], "categories": []}', "it is ground truth"),
        (
            '[GOOD, {"image_id": 99, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 1}]',
            "entry 1: image_id 99 not in the data",
        ),
        (
            '[GOOD, {"image_id": "099", "category_id": 3, "bbox": [0, 0, 5, 5], "score": 1}]',
            "entry 1: image_id '099' not",
        ),
        (
            '[GOOD, {"image_id": 40.5, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 1}]',
            r"entry 1: image_id 40\.5 not",
        ),
        ("[" * 5000, "not a COCO results file"),
        ('[{"file_name": "\\ud800"}]', "entry 0: bbox is None"),
    ],
)
def test_the_first_faulty_entry_is_named_in_a_line(entries, message, dataset, tmp_path):
    good = '{"image_id": 40, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 0.5}'
    path = tmp_path / "found.json"
    path.write_text(entries.replace("GOOD", good))
    with pytest.raises(DataError, match=message) as error:
        read_results(path, dataset)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    str(error.value).encode()  # no surrogate reaches a terminal


def test_bytes_that_are_no_text_and_what_is_no_file(dataset, tmp_path):
    path = tmp_path / "found.json"
    path.write_bytes(b'[{"image_id": 40, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 0.5, "file_name": "\xff"}]')
    with pytest.raises(DataError, match=r"entry 0: image_id 40 \(.*\) not in the data"):
        read_results(path, dataset)
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("pipe.json", "."):
        with pytest.raises(DataError, match="can't be read"):
            read_results(tmp_path / name, dataset)


def test_pycocotools_counts_what_is_marked_ignore_and_we_do_not(tmp_path):
    """The one choice that differs: it overwrites the key with iscrowd."""
    box = {"image_id": 1, "category_id": 1, "area": 100.0, "iscrowd": 0}
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 90, "height": 90}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {**box, "id": 1, "bbox": [0, 0, 10, 10]},
            {**box, "id": 2, "bbox": [40, 40, 10, 10], "ignore": 1},
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "test.json").write_text(json.dumps(truth))
    write(tmp_path / "found.json", {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]})
    dataset = read_dataset(tmp_path, "test")
    table = detection_metrics(read_results(tmp_path / "found.json", dataset), dataset, dataset.classes)
    assert table.numbers["AP"] == pytest.approx(1)
    assert 'difficult and "ignore": 1 ignored' in table.protocols["AP"]
    theirs = run_pycocotools(tmp_path / "annotations" / "test.json", tmp_path / "found.json")
    assert theirs[0] == pytest.approx(51 / 101)


def test_the_first_five_unknown_ids_are_named(dataset, tmp_path):
    entries = [{"image_id": 100 + place // 2, "category_id": 3} for place in range(14)]
    with pytest.raises(DataError, match="image_id 100, 101, 102, 103, 104 and 2 more not in the data"):
        read_results(write(tmp_path / "found.json", *entries), dataset)


def test_the_last_part_of_a_name_two_images_share(dataset, tmp_path):
    """A full name decides; its last part, once two images share it, only confirms the id."""
    dataset.names = ["one/a.jpg", "two/a.jpg", "c.jpg", "d.jpg"]
    entry = {"image_id": 40, "category_id": 3}
    names = ["two/a.jpg", "other/a.jpg", "one/a.jpg"]
    columns = read_results(write(tmp_path / "found.json", *({**entry, "file_name": name} for name in names)), dataset)
    assert columns.image.tolist() == [1, 0, 0]
    with pytest.raises(DataError, match=r"image_id 12 \(a\.jpg\) not in the data"):
        read_results(write(tmp_path / "found.json", {"image_id": 12, "category_id": 3, "file_name": "a.jpg"}), dataset)


def test_names_that_are_no_unicode_are_written_and_read_back(dataset, tmp_path):
    """A Latin-1 file name as the file system gives it, and a lone surrogate of a JSON."""
    dataset.names = [os.fsdecode(b"caf\xe9.jpg"), "\ud83d.jpg", "ü.jpg", "d.jpg"]
    kept = save_results(tmp_path / "found.json", predictions(dataset), dataset)
    save_targets(tmp_path / "truth.json", dataset)
    read = read_results(tmp_path / "found.json", dataset)
    np.testing.assert_array_equal(read.image, kept.image)
    np.testing.assert_array_equal(read.score, kept.score)
    images = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))["images"]
    assert [image["file_name"] for image in images] == dataset.names


def test_own_files_are_replaced_and_others_only_where_it_is_said(dataset, tmp_path):
    for save in (lambda path, **how: save_results(path, predictions(dataset), dataset, **how),
                 lambda path, **how: save_targets(path, dataset, **how)):  # fmt: skip
        save(tmp_path / "own.json")
        save(tmp_path / "own.json")
        mine = tmp_path / "mine.json"
        mine.write_text('{"images": []}')
        with pytest.raises(WriteError, match=r"mine\.json is there, and boxwright didn't write it"):
            save(mine)
        assert mine.read_text() == '{"images": []}'
        save(mine, overwrite=True)
        assert mine.stat().st_size > 100


@pytest.mark.parametrize("content", [b"\x9f\xff", b'[{"score": "\xff"}]', b'["\\ud800"]', b"[" * 5000 + b'"\\ud8'])
def test_bytes_that_are_no_text(content, dataset, tmp_path):
    (tmp_path / "found.json").write_bytes(content)
    with pytest.raises(DataError, match="not a COCO results file"):
        read_results(tmp_path / "found.json", dataset)


def test_numbers_that_are_not_finite(dataset, tmp_path):
    path = tmp_path / "found.json"
    path.write_text('[{"image_id": 40, "category_id": 3, "bbox": [0, 0, 5, 1e999], "score": 0.5}]')
    with pytest.raises(DataError, match=r"found\.json: not a COCO results file.*out of range"):
        read_results(path, dataset)


def test_files_that_are_no_results(dataset, tmp_path):
    with pytest.raises(DataError, match=r"none\.json: can't be read \(No such file"):
        read_results(tmp_path / "none.json", dataset)
    (tmp_path / "dict.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="not a COCO results file, a list of image_id, category_id, bbox, score"):
        read_results(tmp_path / "dict.json", dataset)
    assert len(read_results(write(tmp_path / "empty.json"), dataset)) == 0

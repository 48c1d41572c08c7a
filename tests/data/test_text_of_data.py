"""Names and text in whatever encoding, and files that are no files: each is read, or named in one line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from boxwright.check import CheckReport, check_dataset
from boxwright.data import DetectionDataset, read_dataset
from boxwright.errors import DataError
from dataset_builders import Box, coco_content, voc_xml, write_coco, write_picture, write_text, write_voc, write_yolo

SOUND: list[Box] = [("dog", 10, 12, 40, 50), ("cat", 45, 5, 75, 30)]
CONFIG = "names: [dog, cat]\ntrain: train/images\n"
JSON = "annotations/instances_train.json"


def coco(root: Path, name: str = "b.jpg") -> Path:
    return write_coco(root, {"train": {"a.jpg": SOUND, name: SOUND}}, ("dog", "cat"))


def yolo(root: Path, config: str | None = CONFIG) -> Path:
    return write_yolo(root, {"train": {"a.jpg": SOUND, "b.jpg": SOUND}}, ("dog", "cat"), config=config)


def found(report: CheckReport) -> list[tuple[str, str]]:
    return [(finding.kind, finding.file) for finding in report.findings]


def saved(data: DetectionDataset) -> None:
    """All that is written of a data set can be written."""
    msgspec.json.encode(data.coco_json())
    json.dumps([data.name(i) for i in range(len(data))]).encode()


def test_file_names_that_are_no_utf8(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    write_voc(tmp_path, {"a": SOUND, "b": SOUND})
    for folder, suffix in ((b"JPEGImages", b".jpg"), (b"Annotations", b".xml")):
        os.rename(root + b"/" + folder + b"/b" + suffix, root + b"/" + folder + b"/caf\xe9" + suffix)
    os.makedirs(root + b"/ImageSets/Main")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_bytes(b"a\ncaf\xe9\n")
    data = read_dataset(tmp_path, "train")
    assert [data.name(i) for i in range(2)] == ["JPEGImages/a.jpg", "JPEGImages/caf\\udce9.jpg"]
    assert data.path(1).is_file()
    assert data.subset([1]).path(0).is_file()
    saved(data)
    report = check_dataset(tmp_path)
    assert report.findings == ()
    json.dumps(report.to_json()).encode()


@pytest.mark.parametrize("written", [b"caf\xe9.jpg", b"caf\\udce9.jpg"], ids=["bytes", "escaped"])
def test_json_that_is_no_utf8_costs_nothing(tmp_path: Path, written: bytes) -> None:
    """What os.listdir gives for such a name, Python's json writes as \\udce9."""
    coco(tmp_path)
    folder = os.fsencode(tmp_path / "images" / "train")
    os.rename(folder + b"/b.jpg", folder + b"/caf\xe9.jpg")
    path = tmp_path / JSON
    path.write_bytes(path.read_bytes().replace(b"b.jpg", written))
    data = read_dataset(tmp_path, "train")
    assert (len(data), data.name(1), data.has_images) == (2, "caf\\udce9.jpg", True)
    assert data.path(1).is_file()
    saved(data)
    assert check_dataset(tmp_path).findings == ()


def test_half_a_surrogate_pair_in_json(tmp_path: Path) -> None:
    coco(tmp_path)
    path = tmp_path / JSON
    path.write_text(path.read_text().replace("b.jpg", "\\ud800.jpg").replace('"dog"', '"\\udfffdog"'))
    data = read_dataset(tmp_path, "train")
    assert data.classes == ("\\udfffdog", "cat")
    assert [fault.kind for fault in data.left_out.faults] == ["missing-image"]
    saved(data)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_everything_in_another_unicode(tmp_path: Path, encoding: str) -> None:
    def recode(*paths: Path) -> None:
        for path in paths:
            path.write_bytes(path.read_text().encode(encoding))

    plain = read_dataset(coco(tmp_path / "coco"), "train")
    recode(tmp_path / "coco" / JSON)
    assert read_dataset(tmp_path / "coco", "train").boxes.tolist() == plain.boxes.tolist()
    write_text(yolo(tmp_path / "yolo") / "train.txt", "train/images/a.jpg\ntrain/images/b.jpg\n")
    write_text(tmp_path / "yolo" / "data.yaml", "names: [dog, cat]\ntrain: train.txt\n")
    plain = read_dataset(tmp_path / "yolo", "train")
    labels = tmp_path / "yolo" / "train" / "labels"
    recode(tmp_path / "yolo" / "train.txt", tmp_path / "yolo" / "data.yaml", labels / "a.txt", labels / "b.txt")
    assert len(plain) == 2
    assert read_dataset(tmp_path / "yolo", "train").boxes.tolist() == plain.boxes.tolist()
    assert check_dataset(tmp_path / "yolo").findings == ()
    lists = {"train": ["a"], "val": ["b"]}
    write_voc(tmp_path / "voc", {"a": SOUND, "b": SOUND}, lists)
    recode(*(tmp_path / "voc" / "ImageSets" / "Main" / f"{name}.txt" for name in lists))
    if encoding != "utf-32":  # which XML hasn't
        recode(tmp_path / "voc" / "Annotations" / "a.xml")
    assert len(read_dataset(tmp_path / "voc", "train")) == 1
    assert check_dataset(tmp_path / "voc").findings == ()


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("gb2312", "汽车"),
        ("gbk", "汽車"),
        ("GB18030", "汽车"),
        ("shift_jis", "車両"),
        ("Shift-JIS", "車両"),
        ("euc-kr", "자동차"),
        ("euc-jp", "車両"),
        ("big5", "汽車"),
        ("windows-1252", "café"),
        ("iso-8859-1", "café"),
        ("koi8-r", "кот"),
        ("utf-16", "車"),
        ("UTF-8", "車"),
    ],
)
def test_xml_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str, name: str) -> None:
    write_voc(tmp_path, {"a": SOUND})
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + voc_xml("a.jpg", [(name, 1, 2, 30, 40)])
    (tmp_path / "Annotations" / "a.xml").write_bytes(text.encode(encoding))
    assert read_dataset(tmp_path).classes == (name,)


@pytest.mark.parametrize("declared", ["", '<?xml version="1.0" encoding="UTF-8"?>'])
def test_xml_that_is_no_utf_8_and_does_not_say_so(tmp_path: Path, declared: str) -> None:
    write_voc(tmp_path, {"a": SOUND, "b": SOUND})
    text = declared + voc_xml("a.jpg", [("汽车", 1, 2, 30, 40)])
    (tmp_path / "Annotations" / "a.xml").write_bytes(text.encode("gbk"))
    (fault,) = read_dataset(tmp_path).left_out.faults
    assert fault.message == "XML that can't be parsed: it is no UTF-8, and declares no other encoding"


def test_xml_that_says_utf_16_and_is_utf_8(tmp_path: Path) -> None:
    """As programs write it that make the text first and the file then."""
    write_voc(tmp_path, {"a": SOUND})
    text = '<?xml version="1.0" encoding="utf-16"?>' + voc_xml("a.jpg", [("café", 1, 2, 30, 40)])
    (tmp_path / "Annotations" / "a.xml").write_text(text, encoding="utf-8")
    assert read_dataset(tmp_path).classes == ("café",)


@pytest.mark.parametrize("declared", ["punycode", "unicode_escape", "rot13", "hex", "gb2312", "nonsense"])
def test_xml_in_no_encoding_or_another(tmp_path: Path, declared: str) -> None:
    write_voc(tmp_path, {"a": SOUND, "b": SOUND})
    text = f'<?xml version="1.0" encoding="{declared}"?>'.encode() + b"<annotation>\xff\xff</annotation>"
    (tmp_path / "Annotations" / "a.xml").write_bytes(text)
    assert ("unreadable-annotation", "Annotations/a.xml") in found(check_dataset(tmp_path))


def test_class_names_have_no_outer_blanks(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc", {"a": [("dog ", 10, 12, 40, 50)], "b": [("\u3000dog", 10, 12, 40, 50)]})
    coco(tmp_path / "coco")
    path = tmp_path / "coco" / JSON
    path.write_text(path.read_text().replace('"dog"', '" dog\\n"').replace('"cat"', '"  "'))
    yolo(tmp_path / "yolo", 'names: ["dog ", "  "]\ntrain: train/images\n')
    yolo(tmp_path / "list", None)
    (tmp_path / "list" / "classes.txt").write_bytes(b" dog\r\n\r\ncaf\xe9 \r\n\r\n")
    assert read_dataset(tmp_path / "voc").classes == ("dog",)
    assert read_dataset(tmp_path / "coco").classes == ("dog", "20")
    assert read_dataset(tmp_path / "yolo").classes == ("dog", "class_1")
    assert read_dataset(tmp_path / "list").classes == ("dog", "class_1", "café")
    for folder in tmp_path.iterdir():
        data = read_dataset(folder)
        assert read_dataset(folder, classes=data.classes).boxes.tolist() == data.boxes.tolist()


def test_names_of_a_yaml_stay_as_written(tmp_path: Path) -> None:
    names = ("yes", "no", "007", "1.0", "null", "~", "2024-01-01", "0x1F", "1_000", "class_9")
    yolo(tmp_path, f"names: [{', '.join(names[:-1])}, '']\ntrain: train/images\n")
    assert read_dataset(tmp_path).classes == names
    yolo(tmp_path, "names:\n  0: off\n  1: On\ntrain: train/images\nval:\ntest: null\n")
    assert read_dataset(tmp_path).classes == ("off", "On")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
YAMLS = [
    "names: !!timestamp abc",
    "names: !!int abc",
    "names: !!bool maybe",
    "names: !!float a",
    "? [a]\n: b",
    "{[a]: b}",
    "[" * 3000,
    f"names: [{'9' * 5000}]\ntrain: 2020-13-45\nnc: {'9' * 5000}",
    BOMB + "names: [*i]",
    BOMB + "names: *i",
    'names: ["\\ud800"]',
    "names: {²: a}",
    "names: {x: a}",
    "names: [[a, b]]",
    "names: {0: {a: b}}",
    "names: a",
    "- a",
    "train: [",
    "train: a\ntrain: b",
    "\x00",
    "nc: -1",
    "nc: 99999999999999999999",
    "train: ['\\0', {a: b}, [c]]\npath: [a]",
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", YAMLS, ids=range(len(YAMLS)))
def test_yaml_that_is_hard_to_read_is_one_line_or_read(tmp_path: Path, text: str) -> None:
    yolo(tmp_path, text)
    start = time.process_time()
    try:
        report = check_dataset(tmp_path)
    except DataError as error:
        said = str(error)
    else:
        said = f"{tmp_path / 'data.yaml'}: {(report.images, report.boxes)}"
    assert said.startswith(f"{tmp_path / 'data.yaml'}: ")
    assert "\n" not in said
    assert len(said) < 500
    assert said.endswith(" (2, 4)") or said.partition(": ")[2]
    assert time.process_time() - start < 2


@pytest.mark.parametrize("path", ["a/" * 3000, "../" * 1500 + "a", "a/../" * 700, "/" + "a/" * 2040, "a" * 9000])
def test_absurd_paths_take_no_time(tmp_path: Path, path: str) -> None:
    yolo(tmp_path / "yaml", f"names: [dog, cat]\ntrain: {path}\nval: train/images\n")
    yolo(tmp_path / "list", "names: [dog, cat]\ntrain: train.txt\n")
    write_text(tmp_path / "list" / "train.txt", f"train/images/a.jpg\n{path}.jpg\n")
    coco(tmp_path / "coco", path + ".jpg") if len(path) < 200 else coco(tmp_path / "coco")
    json_path = tmp_path / "coco" / JSON
    json_path.write_text(json_path.read_text().replace("b.jpg", path + ".jpg"))
    write_voc(tmp_path / "voc", {"a": SOUND, "b": SOUND})
    write_text(tmp_path / "voc" / "Annotations" / "c.xml", voc_xml(path + ".jpg", SOUND))
    for folder in ("yaml", "list", "coco", "voc"):
        (tmp_path / folder / "a" / "a" / "a").mkdir(parents=True)
        start = time.process_time()
        report = check_dataset(tmp_path / folder)
        assert time.process_time() - start < 2
        assert report.images >= 1
        assert any("a" in finding.message for finding in report.findings if finding.severity in ("error", "warning"))


SPECIAL: list[tuple[Callable[[Path], object], str, str]] = [
    (yolo, "train/images/b.jpg", "unreadable-image"),
    (yolo, "train/images/c.png", "unreadable-image"),
    (yolo, "train/labels/b.txt", "unreadable-annotation"),
    (yolo, "classes.txt", "unreadable-annotation"),
    (lambda root: yolo(root, None), "data.yaml", "unreadable-annotation"),
    (lambda root: yolo(root, None), "train.txt", "unreadable-annotation"),
    (coco, "images/train/b.jpg", "unreadable-image"),
    (coco, "annotations/instances_val.json", "unreadable-annotation"),
    (coco, "train.json", "unreadable-annotation"),
    (lambda root: write_voc(root, {"a": SOUND, "b": SOUND}), "Annotations/b.xml", "unreadable-annotation"),
    (lambda root: write_voc(root, {"a": SOUND, "b": SOUND}), "JPEGImages/b.jpg", "unreadable-image"),
    (lambda root: write_voc(root, {"a": SOUND}, {"val": ["a"]}), "ImageSets/Main/train.txt", "unreadable-annotation"),
]


@pytest.mark.parametrize(("make", "file", "kind"), SPECIAL)
@pytest.mark.parametrize("what", ["pipe", "link"])
def test_what_is_no_file_is_a_finding_and_waits_for_nobody(
    tmp_path: Path, make: Callable[[Path], object], file: str, kind: str, what: str
) -> None:
    make(tmp_path)
    path = tmp_path / file
    path.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(path)
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    report = check_dataset(tmp_path)
    messages = [f.message for f in report.findings if (f.kind, f.file) == (kind, file)]
    assert messages
    assert "a pipe, a device or a socket" in messages[0]
    assert len(read_dataset(tmp_path)) >= 1


def test_json_with_a_pipe_for_images_alone(tmp_path: Path) -> None:
    root = tmp_path
    write_picture(root / "images" / "a.jpg", 1)
    os.mkfifo(root / "images" / "b.jpg")
    write_text(root / "train.json", json.dumps(coco_content({"a.jpg": SOUND, "b.jpg": SOUND}, ("dog", "cat"))))
    assert [fault.kind for fault in read_dataset(root, "train").left_out.faults] == ["unreadable-image"]

"""One made-up broken set for each kind of finding, and clean ones with none."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from boxwright._util.ownership import mark_folder
from boxwright.check import CheckReport, check_dataset
from boxwright.check.report import ERRORS, WARNINGS
from boxwright.data import formats, read_dataset
from boxwright.errors import DataError
from dataset_builders import (
    Box,
    coco_content,
    exif_with,
    picture,
    voc_object,
    voc_xml,
    write_coco,
    write_picture,
    write_text,
    write_voc,
    write_yolo,
)
from real_data import SHARED

SOUND: list[Box] = [("dog", 10, 12, 40, 50), ("cat", 45, 5, 75, 30)]
STEMS = ("a", "b", "c", "d", "e", "f")
LISTS = {"train": ("a", "b"), "val": ("c", "d"), "test": ("e", "f"), "trainval": ("a", "b", "c", "d")}
CLASSES = ("dog", "cat")


def voc(root: Path) -> Path:
    """A clean VOC set with splits."""
    return write_voc(root, dict.fromkeys(STEMS, SOUND), LISTS)


def coco(root: Path) -> Path:
    """A clean COCO set with splits."""
    splits = {split: {f"{stem}.jpg": SOUND for stem in LISTS[split]} for split in ("train", "val", "test")}
    return write_coco(root, splits, CLASSES)


def yolo(root: Path) -> Path:
    """A clean YOLO set with splits."""
    lists = {"train": LISTS["train"], "valid": LISTS["val"], "test": LISTS["test"]}
    splits = {split: {f"{stem}.jpg": SOUND for stem in stems} for split, stems in lists.items()}
    config = "names: [dog, cat]\ntrain: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    return write_yolo(root, splits, CLASSES, config=config)


def with_boxes(*boxes: Box, extra: str = "") -> Callable[[Path], None]:
    """Sound boxes first, so these have numbers from 2."""
    return lambda root: put(root / "Annotations" / "b.xml", voc_xml("b.jpg", [*SOUND, *boxes], extra=extra))


def put(path: Path, text: str) -> None:
    write_text(path, text)


def change_json(split: str, change: Callable[[dict[str, list[dict[str, object]]]], object]) -> Callable[[Path], None]:
    def breaking(root: Path) -> None:
        path = root / "annotations" / f"instances_{split}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return breaking


def three_categories(content: dict[str, list[dict[str, object]]]) -> None:
    content["categories"] += [{"id": 30, "name": "bird"}, {"id": 30, "name": "x"}]


def name_ids(content: dict[str, list[dict[str, object]]]) -> None:
    for image in content["images"]:
        image["id"] = f"no {image['id']}"
    for box in content["annotations"]:
        box["image_id"] = f"no {box['image_id']}"


def append_key(file: str, text: str) -> Callable[[Path], None]:
    return lambda root: put(root / file, (root / file).read_text().rstrip()[:-1] + f", {text}}}")


def save(name: str, image: Image.Image, **options: object) -> Callable[[Path], None]:
    return lambda root: image.save(root / "JPEGImages" / name, **options)


def turned() -> Callable[[Path], None]:
    exif = Image.Exif()
    exif[0x0112] = 3
    return save("b.jpg", Image.fromarray(picture(1)), exif=exif)


def frames(kind: str) -> Callable[[Path], None]:
    """An animation, or a file of several pages, under the image's name."""
    first, second = (Image.fromarray(picture(seed)) for seed in (1, 61))  # Pillow 11.0 spoils an MPO of three
    return save("b.jpg", first, format=kind, save_all=True, append_images=[second])


def zero_tail(root: Path) -> None:
    path = root / "JPEGImages" / "b.jpg"
    data = path.read_bytes()
    path.write_bytes(data[:-800] + bytes(800))


def ends_early(root: Path) -> None:
    path = root / "JPEGImages" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-700] + b"\xff\xd9")


def deep(root: Path) -> None:
    """A PNG of 12 bits in 16 under the image's name."""
    values = picture(1)[..., 0].astype(np.uint16) * 16
    Image.fromarray(values).save(root / "JPEGImages" / "b.jpg", "PNG")


def cut(root: Path) -> None:
    path = root / "JPEGImages" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-400])


def outside_link(root: Path) -> None:
    target = write_picture(root.parent / "elsewhere.jpg", 50)
    (root / "JPEGImages" / "b.jpg").unlink()
    (root / "JPEGImages" / "b.jpg").symlink_to(target)


def copy(source: str, target: str) -> Callable[[Path], None]:
    return lambda root: shutil.copy(root / "JPEGImages" / source, root / "JPEGImages" / target) and None


def relist(split: str, *stems: str) -> Callable[[Path], None]:
    return lambda root: put(root / "ImageSets" / "Main" / f"{split}.txt", "\n".join(stems))


def all_of(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def breaking(root: Path) -> None:
        for step in steps:
            step(root)

    return breaking


B = "Annotations/b.xml"
X = "Annotations/x.xml"
IMAGE = "JPEGImages/b.jpg"
NAN = voc_object("dog", "nan", 1, 20, 20)
WORDS = voc_object("dog", "left", 1, 20, 20)
BARE = "<object><name>dog</name></object>"
POINTS = "<x1>5</x1><y1>40</y1><x2>25</x2><y2>45</y2><x3>9</x3><y3>58</y3>"
POLYGON = f"<object><name>dog</name><polygon>{POINTS}</polygon></object>"
TURNED = (
    "<object><name>dog</name><robndbox><cx>60</cx><cy>45</cy><w>20</w><h>10</h><angle>0.3</angle></robndbox></object>"
)
BILLION = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation><filename>&b;</filename></annotation>'
YAML_WITHOUT_NAMES = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
AGAIN = '"categories": [{"id": 10, "name": "dog"}, {"id": 20, "name": "cat"}]'
TRAIN_JSON = "annotations/instances_train.json"

# kind, clean set, how it is broken, file and box of the finding, words of the message
CASES = [
    ("zero-area", voc, with_boxes(("dog", 10, 10, 10, 30)), B, 2, ""),
    ("inverted-box", voc, with_boxes(("dog", 30, 10, 10, 30)), B, 2, ""),
    ("outside-box", voc, with_boxes(("dog", 81, 10, 99, 30)), B, 2, ""),
    ("outside-box", voc, with_boxes(("dog", 80, 10, 99, 30)), B, 2, ""),
    ("bad-number", voc, with_boxes(extra=NAN), B, 2, ""),
    ("bad-number", voc, with_boxes(extra=WORDS), B, 2, ""),
    ("bad-number", voc, with_boxes(extra=BARE), B, 2, ""),
    ("unreadable-image", voc, cut, IMAGE, None, "truncated"),
    ("unreadable-image", voc, lambda root: put(root / IMAGE, "text"), IMAGE, None, ""),
    ("missing-image", voc, lambda root: (root / IMAGE).unlink(), B, None, IMAGE),
    ("missing-image", voc, relist("test", "e", "f", "gone"), "ImageSets/Main/test.txt", None, "gone"),
    ("unreadable-annotation", voc, lambda root: put(root / B, "<annotation>"), B, None, "XML"),
    ("unreadable-annotation", coco, lambda root: put(root / TRAIN_JSON, '{"images": ['), TRAIN_JSON, None, "JSON"),
    ("refused", voc, lambda root: put(root / B, BILLION), B, None, "entities"),
    ("path-outside", voc, lambda root: put(root / B, voc_xml("../../b.jpg", SOUND)), B, None, "../../b.jpg"),
    ("path-outside", voc, outside_link, B, None, ""),
    (
        "path-outside",
        coco,
        change_json("train", lambda content: content["images"][0].update(file_name="../a.jpg")),
        TRAIN_JSON,
        None,
        "../a.jpg",
    ),
    (
        "label-out-of-range",
        coco,
        change_json("train", lambda content: content["annotations"][1].update(category_id=77)),
        TRAIN_JSON,
        1,
        "a.jpg",
    ),
    (
        "label-out-of-range",
        yolo,
        lambda root: put(root / "train/labels/a.txt", "0 .5 .5 .2 .2\n2 .3 .3 .2 .2\n1 .3 .3 .2 .2\n"),
        "train/labels/a.txt",
        1,
        "",
    ),
    ("image-in-two-splits", voc, relist("test", "e", "f", "a"), "ImageSets/Main/test.txt", None, "a.jpg"),
    ("partly-outside", voc, with_boxes(("dog", 60, 10, 82, 30)), B, 2, "2.0 px"),
    ("small-box", voc, with_boxes(("dog", 60, 40, 63, 50)), B, 2, ""),
    ("extreme-aspect", voc, with_boxes(("dog", 5, 52, 75, 58)), B, 2, ""),
    ("whole-image-box", voc, with_boxes(("dog", 0, 0, 80, 59.5)), B, 2, ""),
    ("duplicate-box", voc, with_boxes(("dog", 10, 12, 40, 49)), B, 2, "box 0"),
    ("duplicate-box-two-classes", voc, with_boxes(("cat", 10, 12, 40, 49)), B, 2, "box 0"),
    ("orphan-image", voc, lambda root: write_picture(root / "JPEGImages/x.jpg", 60), "JPEGImages/x.jpg", None, ""),
    ("orphan-image", coco, lambda root: write_picture(root / "images/val/x.jpg", 60), "images/val/x.jpg", None, ""),
    ("orphan-label", yolo, lambda root: put(root / "train/labels/x.txt", ""), "train/labels/x.txt", None, ""),
    (
        "orphan-label",
        coco,
        change_json("train", lambda content: content["annotations"][1].update(image_id=5)),
        TRAIN_JSON,
        1,
        "image_id 5",
    ),
    ("size-mismatch", voc, lambda root: put(root / B, voc_xml("b.jpg", SOUND, size=(80, 60))), B, None, "60x80"),
    ("not-rgb", voc, save("b.jpg", Image.fromarray(picture(1)).convert("L")), IMAGE, None, "L"),
    ("not-rgb", voc, save("b.jpg", Image.fromarray(picture(1)).convert("CMYK")), IMAGE, None, "CMYK"),
    ("exif-rotated", voc, turned(), IMAGE, None, "3"),
    ("exif-unknown", voc, save("b.jpg", Image.fromarray(picture(1)), exif=exif_with(65537)), IMAGE, None, "65537"),
    ("exif-unknown", voc, save("b.jpg", Image.fromarray(picture(1)), exif=exif_with("6")), IMAGE, None, "'6'"),
    ("deep-image", voc, deep, IMAGE, None, "I;16"),
    ("first-frame", voc, frames("WEBP"), IMAGE, None, "the first"),
    ("first-frame", voc, frames("PNG"), IMAGE, None, "the first"),
    ("first-frame", voc, frames("TIFF"), IMAGE, None, "the first"),
    ("first-frame", voc, frames("MPO"), IMAGE, None, "the first"),
    ("incomplete-image", voc, ends_early, IMAGE, None, "copy the file again"),
    ("unreadable-image", voc, zero_tail, IMAGE, None, "bytes are zeros"),
    ("identical-images", voc, copy("a.jpg", "b.jpg"), IMAGE, None, "a.jpg"),
    # both are in trainval, but that is the union of train and val
    ("identical-images", voc, copy("a.jpg", "c.jpg"), "JPEGImages/c.jpg", None, "(leakage: train and val)"),
    ("identical-images", voc, copy("a.jpg", "e.jpg"), "JPEGImages/e.jpg", None, "(leakage: train and test)"),
    ("near-identical-images", voc, save("b.jpg", Image.fromarray(picture(0)), quality=30), IMAGE, None, "a.jpg"),
    ("no-boxes", voc, lambda root: put(root / B, voc_xml("b.jpg")), IMAGE, None, ""),
    (
        "absent-class",
        voc,
        lambda root: [put(root / f"Annotations/{n}.xml", voc_xml(f"{n}.jpg", SOUND[:1])) for n in "ef"],
        "ImageSets/Main/test.txt",
        None,
        "'cat'",
    ),
    ("name-mismatch", voc, lambda root: put(root / B, voc_xml("a.jpg", SOUND)), B, None, "a.jpg"),
    (
        "listed-twice",
        coco,
        change_json("train", lambda content: content["images"].append({**content["images"][0], "id": 5})),
        TRAIN_JSON,
        None,
        "a.jpg",
    ),
    ("listed-twice", voc, lambda root: put(root / "Annotations/x.xml", voc_xml("b.jpg", SOUND)), X, None, IMAGE),
    ("missing-split", yolo, lambda root: shutil.rmtree(root / "test"), "data.yaml", None, "test"),
    (
        "image-id-twice",
        coco,
        change_json("train", lambda content: content["images"].append({**content["images"][0], "file_name": "x.jpg"})),
        TRAIN_JSON,
        None,
        "a.jpg and x.jpg",
    ),
    (
        "category-id-twice",
        coco,
        change_json("train", three_categories),
        TRAIN_JSON,
        None,
        "'bird' and 'x'",
    ),
    (
        "repeated-key",
        coco,
        append_key(TRAIN_JSON, '"categories": [{"id": 10, "name": "dog"}, {"id": 20, "name": "cat"}]'),
        TRAIN_JSON,
        None,
        "'categories'",
    ),
    (
        "renumbered-ids",
        coco,
        change_json("train", name_ids),
        TRAIN_JSON,
        None,
        "'no 2001'",
    ),
    ("no-class-names", yolo, lambda root: put(root / "data.yaml", YAML_WITHOUT_NAMES), "data.yaml", None, "numbers"),
    (
        "class-count",
        yolo,
        lambda root: put(root / "data.yaml", (root / "data.yaml").read_text() + "\nnc: 5\n"),
        "data.yaml",
        None,
        "nc is 5, but names",
    ),
    ("unused-file", voc, lambda root: put(root / "classes.txt", "dog"), "classes.txt", None, "VOC"),
    ("unused-file", yolo, lambda root: put(root / "lists" / "train.txt", "a"), "lists/train.txt", None, "YOLO"),
    ("boxwright-output", coco, lambda root: mark_folder(root / "runs/a", "run"), "runs/a", None, "boxwright"),
    ("box-from-polygon", voc, with_boxes(extra=POLYGON), B, None, "1 objects"),
    ("angle-lost", voc, with_boxes(extra=TURNED), B, None, "1 objects"),
    (
        "odd-columns",
        yolo,
        lambda root: put(root / "train/labels/a.txt", "0,.5,.5,.2,.2\n1 .3 .3 .2 .2\n"),
        "train/labels/a.txt",
        None,
        "commas",
    ),
]
SIMILAR = [("dog", 10, 12, 40, 50), ("Dog ", 45, 5, 75, 30), ("cat", 5, 5, 25, 25)]


@pytest.mark.parametrize("clean", [voc, coco, yolo])
def test_a_clean_set_has_no_finding(tmp_path: Path, clean: Callable[[Path], Path]) -> None:
    report = check_dataset(clean(tmp_path))
    assert report.findings == ()
    assert (report.images, report.boxes, report.exit_code) == (6, 12, 0)


@pytest.mark.parametrize(
    ("kind", "clean", "break_it", "file", "box", "words"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_each_fault_is_found_and_nothing_else(
    tmp_path: Path,
    kind: str,
    clean: Callable[[Path], Path],
    break_it: Callable[[Path], object],
    file: str,
    box: int | None,
    words: str,
) -> None:
    root = clean(tmp_path / "data")
    before = snapshot(root)
    break_it(root)
    broken = snapshot(root)
    assert broken != before
    report = check_dataset(root)
    assert snapshot(root) == broken  # a check changes nothing
    found = [(finding.kind, finding.file, finding.box) for finding in report.findings]
    # a file that can't be read leaves its image without annotation, and a split perhaps without a class
    follows = {"orphan-image", "absent-class", "missing-image"} - {kind}
    assert [entry for entry in found if entry[0] not in follows] == [(kind, file, box)]
    finding = next(finding for finding in report.findings if finding.kind == kind)
    assert finding.severity == ("error" if kind in ERRORS else "warning")
    assert words in finding.message
    assert report.exit_code == any(finding.severity == "error" for finding in report.findings)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_names_that_differ_by_case_or_blanks(tmp_path: Path) -> None:
    report = check_dataset(write_voc(tmp_path, {"a": SIMILAR}))
    assert [(finding.kind, finding.file) for finding in report.findings] == [
        ("similar-class-names", "Annotations/a.xml")
    ]


def test_every_kind_has_a_made_up_set() -> None:
    others = {"similar-class-names", "no-usable-box", "nothing-to-train", "followed-link"}
    others |= {"wrong-unit", "wrong-form", "class-ids-from-one"}  # test_hints.py
    others |= {"no-split", "not-a-box"}  # tests of readers
    assert {case[0] for case in CASES} | others == ERRORS | WARNINGS


def test_the_first_frame_of_a_gif_is_read(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / IMAGE).unlink()
    first, *others = (Image.fromarray(picture(seed)).quantize(64) for seed in (1, 61, 62))
    first.save(root / "JPEGImages/b.gif", save_all=True, append_images=others)
    put(root / B, voc_xml("b.gif", SOUND))
    report = check_dataset(root)
    assert [(finding.kind, finding.file) for finding in report.findings] == [
        ("first-frame", "JPEGImages/b.gif"),
        ("not-rgb", "JPEGImages/b.gif"),
    ]
    assert report.exit_code == 0
    data = read_dataset(root, "train")
    np.testing.assert_array_equal(data.decode(1), np.asarray(first.convert("RGB")))


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
@pytest.mark.parametrize("named", ["b.avif", "b.jpg"])
def test_an_avif_is_read_beside_its_annotation(tmp_path: Path, named: str) -> None:
    root = voc(tmp_path)
    (root / IMAGE).unlink()
    Image.fromarray(picture(1)).save(root / "JPEGImages/b.avif")
    put(root / B, voc_xml(named, SOUND))
    assert check_dataset(root).findings == ()
    assert len(read_dataset(root, "train")) == 2


@pytest.mark.parametrize("suffix", [".heic", ".jxl"])
def test_a_picture_that_needs_a_plugin_is_an_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    root = voc(tmp_path)
    (root / IMAGE).unlink()
    start = {".heic": b"\0\0\0\x18ftypheic", ".jxl": b"\xff\x0a"}[suffix]
    (root / f"JPEGImages/b{suffix}").write_bytes(start + bytes(99))
    findings = check_dataset(root).findings
    assert [(finding.kind, finding.file) for finding in findings] == [("unreadable-image", f"JPEGImages/b{suffix}")]
    assert "pip install pillow-" in findings[0].message


def test_a_rounded_box_is_only_counted(tmp_path: Path) -> None:
    root = voc(tmp_path)
    with_boxes(("dog", 60, 10, 81, 30), ("cat", -1, 40, 20, 58))(root)
    report = check_dataset(root)
    assert report.findings == ()
    assert report.rounded == 2


def test_each_copy_names_a_copy_in_another_split(tmp_path: Path) -> None:
    root = voc(tmp_path)
    copy("a.jpg", "b.jpg")(root)
    copy("a.jpg", "e.jpg")(root)
    copy("a.jpg", "f.jpg")(root)
    messages = {finding.file: finding.message for finding in check_dataset(root).findings}
    assert len(messages) == 3
    assert "leakage" not in messages["JPEGImages/b.jpg"]
    assert re.search(r"a\.jpg \(leakage: train and test\)", messages["JPEGImages/e.jpg"])
    assert re.search(r"a\.jpg \(leakage: train and test\)", messages["JPEGImages/f.jpg"])


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = voc(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 80)
    write_picture(root / IMAGE, 1, 60, 170)  # above twice the limit Pillow itself raises
    report = check_dataset(root)
    assert [(finding.kind, finding.file) for finding in report.findings] == [("refused", IMAGE)]


def test_counts_of_splits_and_classes(tmp_path: Path) -> None:
    root = voc(tmp_path)
    with_boxes(("dog", 5, 52, 5, 58), ("dog", 20, 52, 30, 59))(root)
    report = check_dataset(root)
    assert report.classes == ("cat", "dog")
    assert [(split.name, split.images, split.boxes) for split in report.splits] == [
        ("train", 2, (2, 3)),
        ("val", 2, (2, 2)),
        ("test", 2, (2, 2)),
        ("trainval", 4, (4, 5)),
    ]
    assert report.boxes == 14
    content = json.loads(json.dumps(report.to_json()))
    assert {"images", "boxes", "findings"} <= content.keys()
    assert content["findings"][0] == {
        "severity": "error",
        "kind": "zero-area",
        "file": B,
        "box": 2,
        "message": "no area: (5, 52, 5, 58)",
    }


def test_classes_narrow_the_check(tmp_path: Path) -> None:
    root = voc(tmp_path)
    with_boxes(("dog", 5, 52, 5, 58))(root)
    report = check_dataset(root, classes=["cat"])
    assert (report.findings, report.boxes, report.classes) == ((), 6, ("cat",))
    with pytest.raises(DataError, match="no class 'cow'"):
        check_dataset(root, classes=["cow"])


def test_progress_counts_every_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = voc(tmp_path)
    opened: list[str] = []
    original = Image.open

    def count(path: Path, *rest: object, **options: object) -> Image.Image:
        opened.append(Path(path).name)
        return original(path, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", count)
    calls: list[tuple[int, int]] = []
    check_dataset(root, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 6) for i in range(1, 7)]
    assert sorted(opened) == [f"{stem}.jpg" for stem in STEMS]


def test_what_is_no_data_set_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        check_dataset(tmp_path / "nowhere")
    write_text(tmp_path / "notes.txt", "x")
    with pytest.raises(DataError, match="no data set found"):
        check_dataset(tmp_path)


def test_an_image_in_two_coco_files(tmp_path: Path) -> None:
    root = tmp_path
    for seed, stem in enumerate(STEMS):
        write_picture(root / "images" / f"{stem}.jpg", seed)
    for split in ("train", "val"):
        names = {f"{stem}.jpg": SOUND for stem in (*LISTS[split], "e")}
        write_text(root / "annotations" / f"{split}.json", json.dumps(coco_content(names, CLASSES)))
    write_text(root / "annotations" / "test.json", json.dumps(coco_content({"f.jpg": SOUND}, CLASSES)))
    report = check_dataset(root)
    assert [(f.kind, f.file, f.message) for f in report.findings] == [
        ("image-in-two-splits", "annotations/val.json", "e.jpg is in train and in val")
    ]


def kinds(report: CheckReport) -> dict[str, int]:
    names, counts = np.unique([finding.kind for finding in report.findings], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data sets are not here")
def test_the_faults_of_the_real_sets_are_found() -> None:
    cells = check_dataset(SHARED / "data" / "bccd")
    assert kinds(cells) == {"zero-area": 2, "duplicate-box": 7, "near-identical-images": 1}
    assert (cells.images, cells.boxes, cells.exit_code) == (364, 4888, 1)
    raccoons = check_dataset(SHARED / "data" / "raccoon")
    found = kinds(raccoons)
    assert (found["identical-images"], found["not-rgb"], raccoons.exit_code) == (4, 3, 0)
    assert found == {"identical-images": 4, "not-rgb": 3, "near-identical-images": 3, "whole-image-box": 1}


def test_an_image_all_of_whose_boxes_are_erroneous(tmp_path: Path) -> None:
    root = voc(tmp_path)
    put(root / B, voc_xml("b.jpg", [("dog", 5, 5, 5, 9), ("dog", 90, 5, 95, 9)]))
    report = check_dataset(root)
    assert sorted((finding.kind, finding.file) for finding in report.findings) == [
        ("no-usable-box", IMAGE),
        ("outside-box", B),
        ("zero-area", B),
    ]


NOTHING = [
    (voc, lambda root: [put(root / f"Annotations/{n}.xml", voc_xml(f"{n}.jpg")) for n in "ab"], "2 images has a box"),
    (voc, lambda root: [(root / f"JPEGImages/{n}.jpg").unlink() for n in "ab"], "none of 2 images can be read"),
    (voc, relist("train"), "there is no image"),
    (voc, lambda root: [put(f, voc_xml(f"{f.stem}.jpg")) for f in (root / "Annotations").iterdir()], "no class"),
    (coco, lambda root: [put(f, json.dumps(NO_IMAGE)) for f in (root / "annotations").iterdir()], "no image"),
    (coco, change_json("train", lambda content: content["annotations"].clear()), "2 images has a box"),
    (yolo, lambda root: [put(f, "9 .5 .5 .1 .1") for f in (root / "train/labels").iterdir()], "2 images has a box"),
    (coco, change_json("train", lambda content: [b.update(iscrowd=1) for b in content["annotations"]]), "has a box"),
]
NO_IMAGE: dict[str, list[object]] = {"images": [], "annotations": [], "categories": []}


@pytest.mark.parametrize(("clean", "break_it", "words"), NOTHING)
def test_nothing_to_train_on(
    tmp_path: Path, clean: Callable[[Path], Path], break_it: Callable[[Path], object], words: str
) -> None:
    root = clean(tmp_path)
    break_it(root)
    report = check_dataset(root)
    (finding,) = [finding for finding in report.findings if finding.kind == "nothing-to-train"]
    assert words in finding.message
    assert "nothing to train on in train" in finding.message
    assert report.exit_code == 1
    assert report.verdict == "nothing to train on"


def test_a_data_set_without_splits_and_without_boxes(tmp_path: Path) -> None:
    report = check_dataset(write_voc(tmp_path, {"a": [], "b": []}))
    assert [(f.kind, f.file) for f in report.findings if f.severity == "error"] == [("nothing-to-train", ".")]


@pytest.mark.parametrize(
    ("break_it", "verdict"),
    [
        (lambda root: None, "trainable"),
        (with_boxes(("dog", 5, 5, 5, 9)), "erroneous boxes and files are left out of training"),
        (relist("test", "e", "f", "a"), "trainable, but splits share images: what is measured on them is too good"),
    ],
)
def test_verdict(tmp_path: Path, break_it: Callable[[Path], object], verdict: str) -> None:
    root = voc(tmp_path)
    break_it(root)
    assert check_dataset(root).verdict == verdict

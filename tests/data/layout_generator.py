"""Data sets as people leave them: any layout, with sub folders, lists, odd spellings, leftovers and errors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from boxwright._util.ownership import mark_folder
from dataset_builders import voc_object, voc_xml

SIDE = 24
CLASSES = ("dog", "cat")
STEMS = ("a", "b", "c", "photo 1", "photo 0", "x.y", "é", "A")
SUFFIXES = (".png", ".PNG", ".jpg", ".jpeg", ".bmp")
FOLDERS = ("", "", "day0/", "day1/", "a b/", "day0/deep/")
SPLITS = ("train", "val", "test", "valid", "Train")


@dataclass
class Made:
    """What was written; paths are relative to the root."""

    root: Path
    random: Random
    pictures: set[str] = field(default_factory=set)
    boxes: dict[str, int] = field(default_factory=dict)
    """Boxes by annotation file."""
    others: set[str] = field(default_factory=set)
    """Lists, class files, configurations."""
    hidden: set[str] = field(default_factory=set)
    """Folders that boxwright made."""

    def picture(self, path: str) -> str:
        if path not in self.pictures:
            place = self.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            color = tuple(self.random.randrange(256) for _ in range(3))
            Image.fromarray(np.full((SIDE, SIDE, 3), color, np.uint8)).save(place, format="BMP")
            self.pictures.add(path)
        return path

    def annotation(self, path: str, text: str, boxes: int) -> None:
        self._write(path, text)
        self.boxes[path] = boxes

    def other(self, path: str, text: str) -> None:
        if path not in self.boxes:
            self._write(path, text)
            self.others.add(path)

    def _write(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding=self.random.choice(("utf-8", "utf-8", "utf-8-sig")))

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def names(self) -> list[tuple[str, str]]:
        """Distinct (folder and stem, suffix) of some pictures."""
        count = self.random.randrange(1, 7)
        places = {self.random.choice(FOLDERS) + self.random.choice(STEMS) for _ in range(count)}
        return [(place, self.random.choice(SUFFIXES)) for place in sorted(places)]

    def split(self) -> str:
        return self.random.choice(SPLITS)

    def litter(self) -> None:
        """Things that belong to no layout, or to another."""
        if self.chance(0.3):
            self.picture(f"{self.random.choice(('', 'more/', 'images/', 'train/'))}left over.png")
        if self.chance(0.2):
            self.other(self.random.choice(("classes.txt", "labels/classes.txt", "obj.names")), "dog\ncat\n")
        if self.chance(0.2):
            self.other(self.random.choice(("more/train.txt", "notes.csv", "old.yaml", "more/set.yml")), "a\n")
        if self.chance(0.2):
            folder = self.random.choice(("runs/one", "images/run", "train/run"))
            self.hidden.add(folder)
            mark_folder(self.root / folder, "run")
            (self.root / folder / "a.png").write_bytes(b"x")
            (self.root / folder / "a.txt").write_text("0 .5 .5 .1 .1")


def make_layout(root: Path, random: Random) -> Made:
    """A data set of a layout that is drawn."""
    made = Made(root, random)
    random.choice((_yolo, _yolo, _flat_yolo, _voc, _voc, _coco, _coco, _labelme, _table, _image_folder))(made)
    made.litter()
    return made


def _yolo_lines(made: Made) -> list[str]:
    kinds = ("0 .5 .5 .2 .2", "1 .3 .3 .2 .2", "0 .2 .2 .4 .2 .3 .6", "0,.5,.5,.2,.2", "7 .5 .5 .2 .2", "0 x .5 .2 .2")
    return [made.random.choice(kinds) for _ in range(made.random.randrange(4))]


def _yolo(made: Made) -> None:
    above, lists, yaml = (made.chance(0.5) for _ in range(3))
    folders = made.random.choice((("images", "labels"), ("Images", "labels"), ("images", "Labels")))
    listed: dict[str, list[str]] = {}
    for name, suffix in made.names():
        split = made.split() if made.chance(0.85) else ""
        inside = f"{split}/" if split and not (lists and not above) else ""
        place, due = (f"{inside}{f}/{name}" if above else f"{f}/{inside}{name}" for f in folders)
        picture = made.picture(place + suffix)
        listed.setdefault(split or "train", []).append(picture)
        spelled = made.random.choice((".txt", ".txt", ".TXT", f"{suffix}.txt"))
        for target in {made.random.choice((due, due, due, place)) for _ in range(made.random.choice((0, 1, 1, 1, 2)))}:
            lines = _yolo_lines(made)
            made.annotation(target + spelled, "".join(f"{line}\n" for line in lines), len(lines))
    if lists:
        for split, pictures in listed.items():
            flag = made.random.choice(("", "", " 1"))
            lines = [f"{made.random.choice(('', './', '/data/set/'))}{picture}{flag}" for picture in pictures]
            made.other(f"{split}.txt", "\n".join([*lines, *(["gone.png"] if made.chance(0.2) else [])]))
    if yaml:
        entries = {
            split: f"{split}.txt" if lists else f"{split}/images" if above else f"images/{split}" for split in listed
        }
        keys = {split.lower(): entry for split, entry in entries.items()}
        text = "".join(f"{split}: {made.random.choice(('', '../', './'))}{entry}\n" for split, entry in keys.items())
        made.other("data.yaml", f"names: [dog, cat]\n{text}")


def _voc(made: Made) -> None:
    images, files = made.random.choice((("JPEGImages", "Annotations"), ("images", "annots"), ("", ""), ("img", "xml")))
    members: dict[str, list[str]] = {}
    by_folder = made.chance(0.3)
    for name, suffix in made.names():
        split = made.split()
        place = f"{split}/{name}" if by_folder else name
        folder = f"{images}/" if images else ""
        if made.chance(0.9):
            made.picture(folder + place + suffix)
        if made.chance(0.85):
            boxes = [
                (made.random.choice(CLASSES), 2, 3, 2 + made.random.choice((0, 9)), 20)
                for _ in range(made.random.randrange(3))
            ]
            extra, more = "", 0
            if made.chance(0.3):
                two = voc_object("dog", 1, 1, 9, 9).replace("</object>", "") + voc_object("dog", 3, 3, 9, 9)
                extra, more = (
                    two.replace("<object><name>dog</name><difficult>0</difficult><bndbox><xmin>3", "<bndbox><xmin>3"),
                    2,
                )
            stem = name.rpartition("/")[2]
            written = made.random.choice((stem + suffix, stem + suffix, f"/home/me/{stem}{suffix}", "", "other.jpg"))
            text = voc_xml(written, boxes, size=(SIDE, SIDE), extra=extra)
            made.annotation(f"{files}/{place}.xml" if files else f"{place}.xml", text, len(boxes) + more)
            members.setdefault(split, []).append(name)
    if members and made.chance(0.6):
        folder = made.random.choice(("ImageSets/Main/", "ImageSets/", ""))
        for split, names in members.items():
            kind = made.random.choice(("{}", "{} 1", "{}.jpg", "{}.jpg {}.xml"))
            lines = [kind.format(*[name.rpartition("/")[2]] * 2) for name in names]
            made.other(f"{folder}{split}.txt", "\n".join([*lines, *(["gone"] if made.chance(0.2) else [])]))


def _coco(made: Made) -> None:
    style = made.random.choice(
        ("annotations/instances_{}.json", "annotations/{}.json", "{}/_annotations.coco.json", "{}.json")
    )
    images = made.random.choice(("images/{}/", "{}/", "images/", ""))
    for split in {made.split() for _ in range(made.random.randrange(1, 4))}:
        content: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
        identify = made.random.choice((lambda n: n, lambda n: n + 2**53, lambda n: f"no {n}", float, str))
        for number, (name, suffix) in enumerate(made.names()):
            path = images.format(split) + name + suffix
            if made.chance(0.9):
                made.picture(path)
            if made.chance(0.9):
                ways = (name + suffix, name + suffix, path.replace("/", "\\"), f"/mnt/set/{path}")
                entry = {"id": identify(number), "file_name": made.random.choice(ways), "width": SIDE, "height": SIDE}
                content["images"] += [entry] * made.random.choice((1, 1, 1, 2))
            for _ in range(made.random.randrange(3)):
                box = {"image_id": identify(number), "category_id": made.random.choice((1, 2, 9))}
                shape = made.random.choice(
                    ({"bbox": [2, 3, 9, 9]}, {"bbox": [2, 3, 0, 9]}, {"segmentation": [[2, 3, 9, 3, 9, 9]]})
                )
                content["annotations"].append(box | shape)
        if made.chance(0.1) and len(content["images"]) > 1:
            content["images"][0] = content["images"][0] | {"id": content["images"][-1]["id"]}
        categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
        text = json.dumps(content | {"categories": categories})
        made.annotation(style.format(split), text, len(content["annotations"]))


def _flat_yolo(made: Made) -> None:
    split = f"{made.split()}/" if made.chance(0.5) else ""
    for name, suffix in made.names():
        made.picture(split + name + suffix)
        if made.chance(0.85):
            lines = _yolo_lines(made)
            made.annotation(f"{split}{name}.txt", "".join(f"{line}\n" for line in lines), len(lines))
    if made.chance(0.7):
        made.other(f"{split}{made.random.choice(('classes.txt', '_darknet.labels'))}", "dog\ncat\n")


def _labelme(made: Made) -> None:
    folder = made.random.choice(("", "", "json/"))
    kinds = ("rectangle", "polygon", "circle", "point", "rotation")
    for name, suffix in made.names():
        if made.chance(0.9):
            made.picture(name + suffix)
        if made.chance(0.85):
            points = [[2, 3], [9, made.random.choice((3, 9))], [12, 14]]
            shapes = [
                {"label": "dog", "shape_type": kind, "points": points[: 2 + (kind != "rectangle")]}
                for kind in made.random.choices(kinds, k=made.random.randrange(4))
            ]
            stem = name.rpartition("/")[2]
            ways = (stem + suffix, f"..\\{stem}{suffix}", f"/home/me/{name}{suffix}", "other.jpg")
            content = {"shapes": shapes, "imagePath": made.random.choice(ways), "imageHeight": SIDE, "imageWidth": SIDE}
            made.annotation(f"{folder}{name}.json", json.dumps(content), len(shapes))


def _table(made: Made) -> None:
    style = made.random.choice(("{}_labels.csv", "{}/_annotations.csv", "data/{}.csv"))
    for split in {made.split() for _ in range(made.random.randrange(1, 3))}:
        rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        for name, suffix in made.names():
            if made.chance(0.9):
                made.picture(made.random.choice(("images/", f"{split}/")) + name + suffix)
            for _ in range(made.random.randrange(3)):
                written = made.random.choice((name, name.rpartition("/")[2])) + suffix
                rows.append(f"{written},24,24,dog,2,3,{made.random.choice((9, 2, 'x'))},9")
        made.annotation(style.format(split), "\n".join(rows), len(rows) - 1)


def _image_folder(made: Made) -> None:
    for split in {made.split() for _ in range(made.random.randrange(1, 3))}:
        lines, boxes = [], 0
        for name, suffix in made.names():
            if made.chance(0.9):
                made.picture(f"{split}/{name}{suffix}")
            if made.chance(0.9):
                count = made.random.randrange(3)
                objects = {"bbox": [[2, 3, 9, made.random.choice((0, 9))]] * count, "categories": ["dog"] * count}
                lines.append(json.dumps({"file_name": name + suffix, "objects": objects}))
                boxes += count
        made.annotation(f"{split}/metadata.jsonl", "\n".join(lines), boxes)

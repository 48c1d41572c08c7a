"""The same data set as each tool writes it. Every writer takes splits ("" for data without), images and their boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dataset_builders import HEIGHT, WIDTH, Box, coco_content, voc_xml, write_picture, write_text, yolo_text

Splits = Mapping[str, Mapping[str, Sequence[Box]]]
Writer = Callable[[Path, Splits, Sequence[str]], Path]


def write_pictures(root: Path, splits: Splits, folder: str = "{split}") -> Iterator[tuple[str, str, Sequence[Box]]]:
    """Write the pictures, each one of its own, and give split, name and boxes."""
    seed = 0
    for split, images in splits.items():
        for name, boxes in images.items():
            write_picture(root / folder.format(split=split).strip("/") / name, seed := seed + 1)
            yield split, name, boxes


def labelme_content(name: str, boxes: Sequence[Box], **extra: Any) -> dict[str, Any]:
    shapes = [
        {
            "label": label,
            "points": [[x1, y1], [x2, y2]],
            "group_id": None,
            "description": "",
            "shape_type": "rectangle",
            "flags": {},
            "mask": None,
        }
        for label, x1, y1, x2, y2 in boxes
    ]
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
    return {**content, "imageHeight": HEIGHT, "imageWidth": WIDTH, **extra}


def write_labelme(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """A JSON file beside each picture."""
    for split, name, boxes in write_pictures(root, splits):
        write_text(root / split / f"{Path(name).stem}.json", json.dumps(labelme_content(name, boxes), indent=2))
    return root


def imagefolder_line(name: str, boxes: Sequence[Box], classes: Sequence[str]) -> dict[str, Any]:
    bbox = [[x1, y1, x2 - x1, y2 - y1] for _, x1, y1, x2, y2 in boxes]
    categories = [classes.index(label) for label, *_ in boxes] if classes else [label for label, *_ in boxes]
    return {"file_name": name, "objects": {"bbox": bbox, "categories": categories}}


def write_imagefolder(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """metadata.jsonl in the folder of each split; names of classes, as the writer chooses."""
    lines: dict[str, list[str]] = {}
    for split, name, boxes in write_pictures(root, splits):
        lines.setdefault(split, []).append(json.dumps(imagefolder_line(name, boxes, ())))
    for split, rows in lines.items():
        write_text(root / split / "metadata.jsonl", "\n".join(rows) + "\n")
    return root


def createml_entry(name: str, boxes: Sequence[Box]) -> dict[str, Any]:
    annotations = [
        {
            "label": label,
            "coordinates": {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1},
        }
        for label, x1, y1, x2, y2 in boxes
    ]
    return {"image": name, "annotations": annotations}


def write_createml(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """Roboflow's <split>/_annotations.createml.json."""
    entries: dict[str, list[Any]] = {}
    for split, name, boxes in write_pictures(root, splits):
        entries.setdefault(split, []).append(createml_entry(name, boxes))
    for split, content in entries.items():
        write_text(root / split / "_annotations.createml.json", json.dumps(content))
    return root


TENSORFLOW = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def tensorflow_rows(name: str, boxes: Sequence[Box]) -> str:
    return "".join(f"{name},{WIDTH},{HEIGHT},{label},{a},{b},{c},{d}\n" for label, a, b, c, d in boxes)


def write_tensorflow(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """Roboflow's <split>/_annotations.csv; it has no rows for pictures without objects."""
    rows: dict[str, str] = {}
    for split, name, boxes in write_pictures(root, splits):
        rows[split] = rows.get(split, TENSORFLOW) + tensorflow_rows(name, boxes)
    for split, text in rows.items():
        write_text(root / split / "_annotations.csv", text)
    return root


OPENIMAGES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)


def openimages_rows(name: str, boxes: Sequence[Box], codes: Mapping[str, str], group: int = 0) -> str:
    return "".join(
        f"{Path(name).stem},xclick,{codes[label]},1,"
        f"{x1 / WIDTH},{x2 / WIDTH},{y1 / HEIGHT},{y2 / HEIGHT},0,0,{group},0,0\n"
        for label, x1, y1, x2, y2 in boxes
    )


def write_openimages(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """<split>-annotations-bbox.csv and class-descriptions-boxable.csv beside the folders of the splits."""
    names = classes or sorted({box[0] for images in splits.values() for boxes in images.values() for box in boxes})
    codes = {name: f"/m/0{place}" for place, name in enumerate(names)}
    rows: dict[str, str] = {}
    for split, name, boxes in write_pictures(root, splits):
        rows[split] = rows.get(split, OPENIMAGES) + openimages_rows(name, boxes, codes)
    for split, text in rows.items():
        write_text(root / f"{split or 'oidv6'}-annotations-bbox.csv", text)
    write_text(root / "class-descriptions-boxable.csv", "".join(f"{code},{name}\n" for name, code in codes.items()))
    return root


def retinanet_rows(path: str, boxes: Sequence[Box]) -> str:
    return "".join(f"{path},{a},{b},{c},{d},{label}\n" for label, a, b, c, d in boxes) or f"{path},,,,,\n"


def write_retinanet(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """<split>.csv and classes.csv beside images/."""
    rows: dict[str, str] = {}
    for split, name, boxes in write_pictures(root, splits, "images/{split}"):
        rows[split] = rows.get(split, "") + retinanet_rows(f"images/{split}/{name}".replace("//", "/"), boxes)
    for split, text in rows.items():
        write_text(root / f"{split or 'annotations'}.csv", text)
    if classes:
        write_text(root / "classes.csv", "".join(f"{name},{place}\n" for place, name in enumerate(classes)))
    return root


def write_voc_beside(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """labelImg's default, and Roboflow's "Pascal VOC": an XML file beside each picture."""
    for split, name, boxes in write_pictures(root, splits):
        write_text(root / split / f"{Path(name).stem}.xml", voc_xml(name, boxes))
    return root


def write_voc_years(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """VOCdevkit/: a folder a year, the first picture of each split in VOC2007, the others in VOC2012."""
    seed = 0
    for split, images in splits.items():
        for place, (name, boxes) in enumerate(images.items()):
            year = root / "VOCdevkit" / ("VOC2012" if place else "VOC2007")
            write_picture(year / "JPEGImages" / name, seed := seed + 1)
            write_text(year / "Annotations" / f"{Path(name).stem}.xml", voc_xml(name, boxes))
            if split:
                (year / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
                with (year / "ImageSets" / "Main" / f"{split}.txt").open("a") as file:
                    file.write(f"{Path(name).stem}\n")
    return root


def write_cvat_yolo(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """CVAT's "YOLO 1.1", which is darknet's: obj.data, obj.names, <split>.txt, obj_<split>_data/."""
    lists: dict[str, str] = {}
    for split, name, boxes in write_pictures(root, splits, "obj_{split}_data"):
        write_text(root / f"obj_{split}_data" / f"{Path(name).stem}.txt", yolo_text(boxes, classes))
        lists[split] = lists.get(split, "") + f"data/obj_{split}_data/{name}\n"
    text = f"classes = {len(classes)}\n"
    for split, lines in lists.items():
        write_text(root / f"{split or 'train'}.txt", lines)
        text += f"{split or 'train'} = data/{split or 'train'}.txt\n"
    write_text(root / "obj.data", text + "names = data/obj.names\nbackup = backup/\n")
    write_text(root / "obj.names", "\n".join(classes) + "\n")
    return root


def write_yolo_beside(root: Path, splits: Splits, classes: Sequence[str] = (), names: str = "classes.txt") -> Path:
    """labelImg's YOLO: a text file beside each picture, and classes.txt in each folder."""
    for split, name, boxes in write_pictures(root, splits):
        write_text(root / split / f"{Path(name).stem}.txt", yolo_text(boxes, classes))
        write_text(root / split / names, "\n".join(classes) + "\n")
    return root


def write_roboflow_darknet(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """Roboflow's "YOLO Darknet"."""
    return write_yolo_beside(root, splits, classes, "_darknet.labels")


def write_yolo_folders(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """images/ and labels/ without a YAML file: Label Studio's YOLO."""
    for split, name, boxes in write_pictures(root, splits, "images/{split}"):
        write_text(root / "labels" / split / f"{Path(name).stem}.txt", yolo_text(boxes, classes))
    write_text(root / "classes.txt", "\n".join(classes) + "\n")
    return root


def write_yolo_config(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """Ultralytics' folders with a configuration of the user's name."""
    for split, name, boxes in write_pictures(root, splits, "images/{split}"):
        write_text(root / "labels" / split / f"{Path(name).stem}.txt", yolo_text(boxes, classes))
    lines = "".join(f"{'val' if split == 'valid' else split or 'train'}: images/{split}\n" for split in splits)
    write_text(root / "pests_v2.yaml", f"path: ../datasets/pests\n{lines}names: {json.dumps(list(classes))}\n")
    return root


def write_fiftyone_coco(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """FiftyOne's COCODetectionDataset, one a split: data/ and labels.json."""
    for split, images in splits.items():
        write_text(root / split / "labels.json", json.dumps(coco_content(images, classes)))
    for _ in write_pictures(root, splits, "{split}/data"):
        pass
    return root


def write_label_studio_coco(root: Path, splits: Splits, classes: Sequence[str] = ()) -> Path:
    """Label Studio's COCO: result.json and images/, the paths with the folder of its own server. It has no splits."""
    images = {name: boxes for images in splits.values() for name, boxes in images.items()}
    content = coco_content({f"images\\1/{quote(name)}": boxes for name, boxes in images.items()}, classes)
    write_text(root / "result.json", json.dumps(content))
    for _ in write_pictures(root, {"": images}, "images"):
        pass
    return root


VARIANTS: Mapping[str, Writer] = {
    "voc beside": write_voc_beside,
    "voc years": write_voc_years,
    "yolo cvat": write_cvat_yolo,
    "yolo beside": write_yolo_beside,
    "yolo roboflow-darknet": write_roboflow_darknet,
    "yolo folders": write_yolo_folders,
    "yolo config": write_yolo_config,
    "coco fiftyone": write_fiftyone_coco,
    "coco label-studio": write_label_studio_coco,
}
"""Ways in which tools write the layouts of old: the layout, then whose way."""


WRITERS: Mapping[str, Writer] = {
    "labelme": write_labelme,
    "imagefolder": write_imagefolder,
    "createml": write_createml,
    "tensorflow": write_tensorflow,
    "openimages": write_openimages,
    "retinanet": write_retinanet,
}

"""What is written of detections beside their JSON: drawings, crops, and the files of labeling tools."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright._util.naming import distinct_names
from boxwright._util.ownership import MADE_BY
from boxwright._util.writing import write_errors, write_text, written_aside
from boxwright.bridges import Found
from boxwright.data.images import PixelRule, decode_image, image_size
from boxwright.drawing import draw_detections
from boxwright.errors import RecipeError, WriteError
from boxwright.runs.asked import Asked
from boxwright.runs.formats import Picture, class_names, voc_text, yolo_text
from boxwright.runs.videos import is_video

Format = Literal["coco", "csv", "yolo", "voc"]
MAX_JPEG_SIDE = 65_500
_QUALITY = 92
_IMAGES = {"csv": ".", "yolo": "images", "voc": "JPEGImages"}
"""Folder in which each format's own readers look for the images that it names."""


@dataclass(frozen=True)
class Wanted:
    """Outputs to write beside detections.json and images.json, which always are."""

    formats: tuple[str, ...] = ("coco",)
    drawings: bool = False
    crops: bool = False
    video: bool = False
    copies: bool = False
    """Also the images, beside what the formats say of them."""

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in get_args(Format):
                raise RecipeError(f"Expected formats out of {', '.join(get_args(Format))} but got {name!r}")
        if self.copies and not self.of_tools:
            raise RecipeError("images are copied beside what a labeling tool reads: add --format yolo, voc or csv")

    @property
    def of_tools(self) -> tuple[str, ...]:
        """The formats that have a folder of their own."""
        return tuple(name for name in ("csv", "yolo", "voc") if name in self.formats)

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders that get a file for each image."""
        return (*self.of_tools, *(("crops",) if self.crops else ()))


class Place(NamedTuple):
    """Paths below a folder of outputs, with forward slashes."""

    stem: str
    """Name of the files about an image, without a suffix."""
    image: str
    """Name of the image itself."""

    def frame(self, number: int) -> Place:
        """Return the detections of a frame of the current video."""
        stem = f"{self.stem}/{number:06d}"
        return Place(stem, f"{stem}.jpg")


class Shown:
    """An image or a frame that was looked at, with its place among what is written; decoded once, where need be."""

    def __init__(self, asked: Asked, file: Path, place: Place, rule: PixelRule) -> None:
        self.asked, self.file, self.rule = asked, file, rule
        self.place = place if asked.frame is None else place.frame(asked.frame)
        self._pixels = asked.image if isinstance(asked.image, np.ndarray) else None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3). Raises DataError."""
        if self._pixels is None:
            self._pixels = decode_image(self.file, self.rule)
        return self._pixels

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of what boxes go by. Raises DataError."""
        if self._pixels is not None:
            return self._pixels.shape[0], self._pixels.shape[1]
        return image_size(self.file, upright=self.rule.upright, max_pixels=self.rule.max_pixels)

    def copy(self, folder: Path) -> None:
        """Write the image as it is, or the frame as a JPEG file, below ``folder``. Raises WriteError."""
        target = folder / self.place.image
        if self.asked.frame is not None:
            save_jpeg(target, Image.fromarray(self.pixels))
            return
        with written_aside(target) as partial:
            shutil.copyfile(self.file, partial)


class Outputs:
    """The files of one command, written image by image.

    Args:
        folder: below which all are.
        files: what was asked about.
        every: of how many frames of a video one is looked at.
    """

    def __init__(self, folder: Path, files: Sequence[Path], wanted: Wanted, every: int = 1) -> None:
        self.folder, self.wanted, self.every = folder, wanted, every
        self.places = places_below(files)
        self.drawings = _names(files, ".jpg", lambda file: wanted.drawings and not is_video(file.name))
        self.videos = _names(files, ".mp4", lambda file: wanted.video and is_video(file.name))
        if wanted.drawings and files and not any(self.drawings):
            raise RecipeError("--save-images draws on images, and there is no image among the files: add --save-video")
        if wanted.video and not any(self.videos):
            raise RecipeError("--save-video draws on videos, and there is no video among the files")

    @property
    def files(self) -> list[Path]:
        """Output files whose names are known before anything is written."""
        return [self.folder / name for name in (*self.drawings, *self.videos) if name]

    def check_folders(self, files: Sequence[Path], *, overwrite: bool) -> None:
        """Make sure that folders of outputs hold none of the ``files`` that are read, and unless ``overwrite`` nothing.

        Labels that somebody corrected look as ours do. Raises WriteError.
        """
        for name in self.wanted.folders:
            place = self.folder / name
            with write_errors(place):
                if not place.exists() or not any(place.iterdir()):
                    continue
            if not overwrite:
                text = "isn't empty, and what is in it may have been corrected since"
                raise WriteError(f"{place} {text}: write elsewhere, or add --overwrite")
            if any(Path(os.path.realpath(file)).is_relative_to(place.resolve()) for file in files):
                raise WriteError(f"{place} holds what this very command reads: write to another place")

    def begin(self, classes: Sequence[str]) -> None:
        """Write what isn't about any one image. Raises WriteError."""
        self.classes = classes
        self._folders = distinct_names(classes, "")
        if "yolo" in self.wanted.formats:
            write_text(self.folder / "yolo" / "classes.txt", class_names(classes))

    def add(self, shown: Shown, found: Found) -> None:
        """Write the results of one image. Raises WriteError, and DataError where it can't be read any more."""
        drawing = self.drawings[shown.asked.place]
        if drawing:
            picture = draw_detections(shown.pixels, found.boxes, found.labels, found.scores, self.classes)
            save_jpeg(self.folder / drawing, picture)
        if self.wanted.crops:
            self._crop(shown, found)
        if "yolo" in self.wanted.formats:
            write_text(self.folder / "yolo" / "labels" / f"{shown.place.stem}.txt", yolo_text(found, shown.size))
        if "voc" in self.wanted.formats:
            text = voc_text(found, Picture(shown.place.image, shown.size), self.classes)
            write_text(self.folder / "voc" / "Annotations" / f"{shown.place.stem}.xml", text)
        for name in self.wanted.of_tools if self.wanted.copies else ():
            shown.copy(self.folder / name / _IMAGES[name])

    def _crop(self, shown: Shown, found: Found) -> None:
        """Cut the boxes out: a folder a class."""
        height, width = shown.size
        boxes = np.asarray(found.boxes, np.float64).reshape(-1, 4)
        for number, (box, label) in enumerate(zip(boxes, np.asarray(found.labels).tolist(), strict=True), start=1):
            (x1, y1), (x2, y2) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
            cut = shown.pixels[max(y1, 0) : min(y2, height), max(x1, 0) : min(x2, width)]
            if cut.size:
                name = f"{shown.place.stem}-{number}.jpg"
                save_jpeg(self.folder / "crops" / self._folders[label] / name, Image.fromarray(cut))


def save_jpeg(path: Path, picture: Image.Image) -> None:
    """Write a picture, no larger than JPEG can have it, that says who made it. Raises WriteError."""
    picture.thumbnail((MAX_JPEG_SIDE, MAX_JPEG_SIDE))
    with written_aside(path) as partial:
        picture.save(partial, "JPEG", quality=_QUALITY, comment=MADE_BY)


def places_below(files: Sequence[Path]) -> list[Place]:
    """For each file its place below the folder that all of them are in, no two the same.

    Where two differ by no more than the suffix, both keep it in the stem; after that a number tells them apart. Videos
    keep it always: their frames lie below, where a folder of images may be called as the video is.
    """
    whole = [Path(os.path.abspath(file)) for file in files]
    try:
        above = os.path.commonpath([file.parent for file in whole]) if whole else ""
        below = [file.relative_to(above).as_posix() for file in whole]
    except ValueError:  # drives of Windows
        below = [file.name for file in whole]
    bare = [path if is_video(path) else os.path.splitext(path)[0] for path in below]
    counts = Counter(map(_folded, bare))
    taken: set[str] = set()
    places = []
    for path, short in zip(below, bare, strict=True):
        wanted = short if counts[_folded(short)] == 1 else path
        stem, number = wanted, 1
        while _folded(stem) in taken:
            number += 1
            stem = f"{wanted}-{number}"
        taken.add(_folded(stem))
        places.append(Place(stem, path if number == 1 else stem + os.path.splitext(path)[1]))
    return places


def _folded(path: str) -> str:
    """As file systems compare names that know no case, and accents in one way only."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def _names(files: Sequence[Path], suffix: str, has_one: Callable[[Path], bool]) -> list[str | None]:
    """Choose a name in the output folder for each file that has one."""
    names = iter(distinct_names((file.stem for file in files if has_one(file)), suffix))
    return [next(names) if has_one(file) else None for file in files]

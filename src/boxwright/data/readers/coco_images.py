"""Which file each image of a COCO file is, and whether it can be used."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from boxwright._util.reading import NO_FILE, escaped
from boxwright.data.annotations import Fault
from boxwright.data.files import State, Tree
from boxwright.data.readers.coco_json import CocoBox, CocoImage
from boxwright.data.splits import canonical
from boxwright.text import plural


class CocoImages:
    """The images of one file that can be used: those with an id of their own, inside the folder."""

    def __init__(self, tree: Tree, file: str, folder: str, boxes: list[CocoBox]) -> None:
        self.tree, self.file, self.folder = tree, file, folder
        self._boxes = boxes
        self.kept: list[CocoImage] = []
        self.paths: list[str] = []
        self.there: list[bool] = []
        self.rows: dict[int | None, int] = {}
        """Row by id."""
        self.listed: set[int | None] = set()
        self._named: set[str] = set()
        self.faults: list[Fault] = []
        self.notes: list[Fault] = []
        self.accounted: set[str] = set()

    def add(self, listed: list[CocoImage], foreign: set[str]) -> None:
        """Fill the table; ``foreign`` are the names of other splits."""
        located = self.tree.locate(self.folder, [image.file_name for image in listed])
        self._named = {path for path, state in located if state == "there"}
        self.listed = {image.id for image in listed}
        shared = self._shared_ids(listed) if len(self.listed) < len(listed) else set()
        places: dict[str, int] = {}
        for image, (path, state) in zip(listed, located, strict=True):
            if state in ("missing", "outside"):
                path, state = self._elsewhere(image, path, state, foreign)
            if image.id in shared:
                self.accounted.add(path)
            elif state == "outside":
                self.accounted.add(path)
                text = f"{escaped(image.file_name)} leaves the data set's folder{self._link(path)}"
                text += self._and_boxes(image.id)
                self.faults.append(Fault("path-outside", self.file, None, text))
            elif state == "special":
                self.faults.append(Fault("unreadable-image", path, None, NO_FILE + self._and_boxes(image.id)))
            elif path in places:
                self.rows.setdefault(image.id, places[path])
                name = escaped(image.file_name)
                text = f"{name} is listed again, as image {image.id}: the boxes of both entries are its"
                self.notes.append(Fault("listed-twice", self.file, None, text))
            else:
                places[path] = self.rows[image.id] = len(self.kept)
                self.kept.append(image)
                self.paths.append(path)
                self.there.append(state == "there")

    def _shared_ids(self, listed: list[CocoImage]) -> set[int]:
        """Find ids of more than one file: it is unknown whose boxes theirs are."""
        names: dict[int, list[str]] = {}
        for image in listed:
            names.setdefault(image.id, []).append(escaped(image.file_name))
        shared = {number: dict.fromkeys(files) for number, files in names.items() if len(set(files)) > 1}
        for number, files in shared.items():
            text = f"image id {number} is that of {' and '.join(files)}: none of them is read{self._and_boxes(number)}"
            self.faults.append(Fault("image-id-twice", self.file, None, text))
        return set(shared)

    def _and_boxes(self, number: int) -> str:
        """Say how many boxes an image that is left out has."""
        count = self._counts[number]
        return f"; its {plural(count, 'box')} left out too" if count else ""

    @cached_property
    def _counts(self) -> Counter[int | None]:
        return Counter(box.image_id for box in self._boxes)

    def _elsewhere(self, image: CocoImage, path: str, state: State, foreign: set[str]) -> tuple[str, State]:
        """Find an image that isn't where its name says: in a folder below, or by a path of another machine."""
        found = self.tree.nearest(image.file_name)
        if found is None or found in self._named or {canonical(part) for part in found.split("/")[:-1]} & foreign:
            return path, state
        return found, self.tree.state(found)

    def _link(self, path: str) -> str:
        target = self.tree.links.get(path)
        return f", by a link to {target}; --allow-links follows it" if target else ""

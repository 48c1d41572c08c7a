"""Apple's Create ML: a list of images, each with labels and boxes by center and size in pixels.

developer.apple.com/documentation/createml/mlobjectdetector/datasource: a list of imagefilename and annotation, or image
and annotations (labelImg, Roboflow's <split>/_annotations.createml.json); of an annotation label and coordinates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from boxwright.data.files import Tree
from boxwright.data.readers.listing import Box, Listing, ListingReader, class_name, number_of, sized
from boxwright.data.readers.parsing import candidates, first_entry, head_of, parse_json
from boxwright.data.readers.reader import ReaderOptions
from boxwright.parts import reader

_IMAGE = ("image", "imagefilename")
_ANNOTATIONS = ("annotations", "annotation")


@reader(form="center")
class CreateMLReader(ListingReader):
    """Reads Create ML's lists of images."""

    layout = "createml"
    title = "Create ML"
    looks_for = "_annotations.createml.json or a JSON list of image and annotations"
    written_by = (
        (
            "Create ML, labelImg",
            "a `.json` list of `image` and `annotations`, for all images or one an image",
        ),
        ('Roboflow "CreateML JSON"', "`<split>/_annotations.createml.json` beside the images"),
    )

    @classmethod
    def detect(cls, tree: Tree, options: ReaderOptions) -> CreateMLReader | None:
        """Return the reader if the first entry of a JSON list is an image with Create ML's annotations."""
        named = candidates(tree, ".createml.json")
        files = named or [p for p in candidates(tree, ".json") if _is_image(first_entry(head_of(tree, p)))]
        return cls(tree, files) if files else None

    @classmethod
    def nearly(cls, tree: Tree) -> str | None:
        """Find a list of images whose annotations have no coordinates."""
        for file in candidates(tree, ".json"):
            entry = first_entry(head_of(tree, file))
            if isinstance(entry, dict) and isinstance(_first(entry, _IMAGE), str):
                return f"{file} lists images, but their annotations have no coordinates"
        return None

    def listings(self, file: str) -> Iterable[Listing]:
        """Yield one image per entry."""
        number = 0
        for entry in parse_json(self.tree.read(file), list[dict[str, Any]]):
            found = _first(entry, _ANNOTATIONS)
            annotations = found if isinstance(found, list) else []
            yield Listing(
                str(_first(entry, _IMAGE) or ""), [(number + place, _box(a)) for place, a in enumerate(annotations)]
            )
            number += len(annotations)


def _first(entry: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((entry[key] for key in keys if key in entry), None)


def _box(annotation: Any) -> Box:
    entry = annotation if isinstance(annotation, dict) else {}
    place = entry.get("coordinates")
    place = place if isinstance(place, dict) else {}
    x, y, width, height = (number_of(place.get(key)) for key in ("x", "y", "width", "height"))
    return sized(class_name(entry.get("label")), x - width / 2, y - height / 2, width, height)


def _is_image(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(_first(entry, _IMAGE), str):
        return False
    annotations = _first(entry, _ANNOTATIONS)
    return isinstance(annotations, list) and all(isinstance(a, dict) and "coordinates" in a for a in annotations)

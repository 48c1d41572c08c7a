"""What training would do with a data set: which images it would leave out, and whether any remain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxwright.check.images import ImageFacts
from boxwright.data.annotations import NORMAL, SOUND, Annotations, Fault, Placed, hopeless, hopeless_fault
from boxwright.data.readers.reader import Reader


def training_faults(
    table: Annotations, placed: Placed, facts: Sequence[ImageFacts | None], reader: Reader
) -> list[Fault]:
    """Find images left out because none of their boxes can be used, and training splits with no images left."""
    usable = np.array([fact is not None and fact.fault is None for fact in facts], np.bool_)
    faults = [hopeless_fault(table, row) for row in hopeless(table, placed).tolist() if usable[row]]
    split = "train" if "train" in table.splits else None
    rows = table.splits["train"] if split else np.arange(len(table.names))
    readable = np.intersect1d(rows, np.flatnonzero(usable))
    boxes = (placed.fault == SOUND) & (table.code == NORMAL) & np.isin(table.image, readable)
    if boxes.any():
        return faults
    text = f"nothing to train on{f' in {split}' if split else ''}: "
    if not len(rows):
        text += "there is no image"
    elif not table.classes:
        text += "there is no class"
    elif not len(readable):
        text += f"none of {len(rows)} images can be read"
    else:
        text += f"none of {len(readable)} images has a box that can be used"
    return [*faults, Fault("nothing-to-train", reader.split_file(split) if split else ".", None, text)]

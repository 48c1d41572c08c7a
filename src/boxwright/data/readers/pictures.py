"""Find the picture that an annotation means, whatever machine and tool wrote its path."""

from __future__ import annotations

import posixpath

from boxwright._util.reading import escaped
from boxwright.data.files import State, Tree, is_image, spellings


def find_picture(tree: Tree, written: str, folder: str) -> tuple[str, State]:
    """Path and state of a picture: as written from a folder or from the data set's own, else by its end.

    The end of a path counts where one picture alone has it, so that backslashes, %20, and the folders of another
    machine do no harm. Nothing outside the data set's folder is found.
    """
    names = tuple(spellings(written))
    for place in (posixpath.join(start, name) for name in names for start in (folder, "")):
        path = tree.tidy(place)
        if path is not None and is_image(posixpath.basename(path)) and (state := tree.state(path)) != "missing":
            return path, state
    near = tree.nearest(written, folder)
    if near is not None and is_image(posixpath.basename(near)):
        return near, "there"
    lost = tree.tidy(posixpath.join(folder, names[0]))
    leads_out = lost is None or tree.tidy(names[0]) is None
    return (escaped(written), "outside") if leads_out or lost is None else (escaped(lost), "missing")

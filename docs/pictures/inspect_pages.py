"""The pictures of inspect.md, from pages of ``boxwright inspect`` in a headless Chromium.

python docs/pictures/inspect_pages.py BCCD RACCOON RUN, where RUN was trained on BCCD.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from style import FOLDER

from boxwright.data import read_dataset
from boxwright.inspect import (
    Inputs,
    Inspection,
    inspect_supervision,
    training_inputs,
    write_inputs_page,
    write_page,
)
from boxwright.recipes import get_recipe

Window = tuple[int, int, int, int]
"""Left, top, right and bottom of what is shown of a page."""


def picture(name: str, found: Inspection | Inputs, window: Window, script: str = "") -> None:
    """Write NAME.png: the page within the window, after the script has run in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        page = write_inputs_page(path, found) if isinstance(found, Inputs) else write_page(path, found)
        if script:
            page.write_text(page.read_text(encoding="utf-8") + f"<script>{script}</script>", encoding="utf-8")
        shot = Path(folder) / "shot.png"
        size = f"--window-size={window[2] + window[0]},{window[3]}"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000"]
        profile = f"--user-data-dir={folder}/profile"
        command = ["chromium", *flags, profile, size, f"--screenshot={shot}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        shown = Image.open(shot).convert("RGB").crop(window)
        few_colors(shown).save(FOLDER / f"{name}.png", optimize=True)


def few_colors(image: Image.Image) -> Image.Image:
    """In 256 colors: 160 of the photograph, and 96 far apart, for the lines."""
    photograph = image.quantize(160, Image.Quantize.MEDIANCUT).getpalette()[: 3 * 160]
    lines = image.quantize(96, Image.Quantize.MAXCOVERAGE).getpalette()[: 3 * 96]
    palette = Image.new("P", (1, 1))
    palette.putpalette(photograph + lines)
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def main() -> None:
    bccd, raccoon, run = sys.argv[1:]
    cells = read_dataset(bccd, "train")
    ssd = inspect_supervision(cells, get_recipe("ssd300", backbone="tf_efficientnet_lite0"))
    picture("inspect", ssd, (80, 0, 1200, 1180))
    trained = inspect_supervision(cells, run=run)
    key = 'document.getElementById("canvas").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));'
    top = 'document.querySelector("main").prepend(document.querySelector(".viewer").parentElement);'
    picture("inspect_run", trained, (80, 20, 1200, 760), key + top)
    recipe = get_recipe("lite320")
    picture("inspect_inputs", training_inputs(cells, recipe, inputs=8), (80, 0, 1200, 1000))
    curves = 'document.querySelector("main").prepend(...[...document.querySelectorAll("section")].filter(s => '
    picture("inspect_training", trained, (80, 20, 1200, 470), curves + 's.textContent.startsWith("Over the")));')
    animals = inspect_supervision(read_dataset(raccoon, "train"))
    other = 's.textContent.startsWith("Coverage") || s.textContent.startsWith("Other")));'
    picture("inspect_anchors", animals, (80, 20, 1200, 830), curves + other)


if __name__ == "__main__":
    main()

"""The picture of walkthrough.md: the top of a comparison's page in a headless Chromium.

python docs/pictures/walkthrough.py COMPARISON, the folder of the walkthrough's comparison.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from inspect_pages import few_colors
from PIL import Image
from style import FOLDER

WINDOW = (80, 0, 1200, 990)


def main() -> None:
    page = Path(sys.argv[1]).resolve() / "compare.html"
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1000"]
        command = ["chromium", *flags, f"--user-data-dir={folder}/profile", f"--screenshot={shot}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        few_colors(Image.open(shot).convert("RGB").crop(WINDOW)).save(FOLDER / "walkthrough.png", optimize=True)


if __name__ == "__main__":
    main()

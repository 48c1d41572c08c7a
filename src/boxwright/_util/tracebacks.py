"""What went wrong in somebody's own function, in one line: the error, and the last of their lines that led to it."""

from __future__ import annotations

import traceback
from pathlib import Path


def described(error: BaseException, within: str = "") -> str:
    """Describe an error and the last line of a folder or file that led to it: "KeyError: 'a' (mine.py, line 3)"."""
    lines = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in lines if not within or Path(frame.filename).is_relative_to(within)]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def raised_in(error: BaseException, folder: Path) -> bool:
    """Tell whether a line of a file in the folder raised an error."""
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename).is_relative_to(folder)

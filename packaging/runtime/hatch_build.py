"""Takes the modules of boxwright-runtime from boxwright's sources; an sdist holds them, to be built from."""

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
        package = "src/boxwright" if self.target_name == "sdist" else "boxwright"
        for module in self.config["modules"]:
            build_data["force_include"][str(root / "src/boxwright" / module)] = f"{package}/{module}"

"""Where a command prints: --quiet and --json of every command, in one place."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console

from boxwright._util.ownership import GENERATOR, claim
from boxwright._util.plain import plain
from boxwright._util.writing import write_errors, write_text
from boxwright.errors import WriteError

_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone: no progress, no notes.")]
_Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="[FILE]",
        allow_dash=True,
        help="Write the results as one JSON object (docs/json.md) to FILE too, or print it instead of them.",
    ),
]
STDOUT = Path("-")


class Output:
    """The consoles of a command: ``results`` for what was asked for, ``notes`` for what happens meanwhile.

    With ``json`` "-" the result is the JSON object on stdout alone, and notes go to stderr; with a file the object is
    written there too. Of the processes that torchrun started, only the first prints and writes.
    """

    def __init__(self, command: str, *, quiet: bool = False, json: Path | None = None) -> None:
        """Raise WriteError if ``json`` is a file that can't be written, or that no ``--json`` wrote."""
        silent = os.environ.get("RANK", "0") != "0"
        self._command, self._json = command, None if silent else json
        self.as_json = self._json == STDOUT
        self.notes = Console(stderr=self.as_json, quiet=quiet or silent)
        self.results = Console(quiet=self.as_json or silent)
        if self._json is not None and not self.as_json:
            claim(self._json, overwrite=True)
            if self._json.is_file() and not _is_output(self._json):
                raise WriteError(f"{self._json} is there, and --json didn't write it: write to another place")

    def write_json(self, content: Callable[[], Mapping[str, Any]]) -> None:
        """Print or write what ``content`` gives, if it was asked for."""
        if self._json is None:
            return
        text = json_text({"generator": GENERATOR, "command": self._command, **content()})
        if self.as_json:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            write_text(self._json, text)


def _is_output(file: Path) -> bool:
    """Tell whether ``--json`` wrote a file, by its first two keys."""
    with write_errors(file), file.open("rb") as opened:
        return re.match(rb'\{\s*"generator": "boxwright [^"]*",\s*"command": "', opened.read(200)) is not None


def json_text(content: Any) -> str:
    """Format results as JSON in ASCII, which any terminal and pipe takes; what is not finite becomes null."""
    return json.dumps(plain(content), indent=2, allow_nan=False) + "\n"


def with_output(name: str, command: Callable[..., None], *, as_json: bool = True) -> Callable[..., None]:
    """Give a command that takes an ``output`` the options --quiet and, unless it has no result, --json."""
    hints = get_type_hints(command, include_extras=True)
    options = {"quiet": (_Quiet, False), **({"json": (_Json, None)} if as_json else {})}

    @wraps(command)
    def run(*, quiet: bool = False, json: Path | None = None, **given: Any) -> None:
        command(**given, output=Output(name, quiet=quiet, json=json))

    signature = inspect.signature(command)
    own = [each.replace(annotation=hints[name]) for name, each in signature.parameters.items() if name != "output"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, keyword, default=default, annotation=kind) for name, (kind, default) in options.items()
    ]
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    kinds = {name: kind for name, (kind, _) in options.items()}
    run.__annotations__ = {**{name: kind for name, kind in hints.items() if name != "output"}, **kinds}
    return run

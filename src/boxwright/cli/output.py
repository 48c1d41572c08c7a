"""Where a command prints: --quiet and --json of every command, in one place."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console

from boxwright._util.ownership import GENERATOR
from boxwright._util.plain import plain

_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone: no progress, no notes.")]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead (docs/json.md); notes and progress to stderr.")
]


class Output:
    """The consoles of a command: ``results`` for what was asked for, ``notes`` for what happens meanwhile.

    With ``as_json`` the result is the JSON object on stdout alone, and notes go to stderr. Of the processes that
    torchrun started, only the first prints.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        silent = os.environ.get("RANK", "0") != "0"
        self.as_json = as_json and not silent
        self.notes = Console(stderr=as_json, quiet=quiet or silent)
        self.results = Console(quiet=as_json or silent)

    def write_json(self, content: Callable[[], Mapping[str, Any]]) -> None:
        """Print what ``content`` gives, if it was asked for."""
        if self.as_json:
            sys.stdout.write(json_text({"generator": GENERATOR, **content()}))
            sys.stdout.flush()


def json_text(content: Any) -> str:
    """Format results as JSON in ASCII, which any terminal and pipe takes; what is not finite becomes null."""
    return json.dumps(plain(content), indent=2, allow_nan=False) + "\n"


def with_output(command: Callable[..., None], *, as_json: bool = True) -> Callable[..., None]:
    """Give a command that takes an ``output`` the options --quiet and, unless it has no result, --json."""
    hints = get_type_hints(command, include_extras=True)
    options = {"quiet": _Quiet, **({"as_json": _Json} if as_json else {})}

    @wraps(command)
    def run(*, quiet: bool = False, as_json: bool = False, **given: Any) -> None:
        command(**given, output=Output(quiet=quiet, as_json=as_json))

    signature = inspect.signature(command)
    own = [each.replace(annotation=hints[name]) for name, each in signature.parameters.items() if name != "output"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=False, annotation=kind) for name, kind in options.items()]
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {**{name: kind for name, kind in hints.items() if name != "output"}, **options}
    return run

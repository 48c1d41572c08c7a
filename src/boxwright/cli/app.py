"""The commands of ``boxwright``, one a file, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright.cli.check import check
from boxwright.cli.commands import Command, Commands
from boxwright.cli.compare import compare
from boxwright.cli.demo import demo
from boxwright.cli.doctor import doctor
from boxwright.cli.evaluate import evaluate
from boxwright.cli.export import export
from boxwright.cli.hardest import hardest
from boxwright.cli.import_weights import import_torchvision
from boxwright.cli.inspect import inspect
from boxwright.cli.output import with_output
from boxwright.cli.parts import parts
from boxwright.cli.predict import predict
from boxwright.cli.push import push
from boxwright.cli.recipe import list_names, show
from boxwright.cli.reproduce import reproduce
from boxwright.cli.serve import serve
from boxwright.cli.simulate import simulate
from boxwright.cli.start import fetch, list_starts
from boxwright.cli.train import train

app = typer.Typer(
    name="boxwright",
    cls=Commands,
    help="Train object detectors on your own images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(cls=Commands, help="The built-in recipes.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipe")
import_app = typer.Typer(cls=Commands, help="Other libraries' weights as runs.", no_args_is_help=True)
app.add_typer(import_app, name="import")
start_app = typer.Typer(cls=Commands, help="Published weights to predict with, or to train from.", no_args_is_help=True)
app.add_typer(start_app, name="start")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Versions and machine in one line.")] = False,
) -> None:
    if version:
        from boxwright.environment import environment_line

        say(Console(), environment_line())
        raise typer.Exit


_GROUPS = {"": app, "recipe": recipes_app, "import": import_app, "start": start_app}
_COMMANDS: dict[str, Callable[..., None]] = {
    "check": check,
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "export": export,
    "push": push,
    "demo": demo,
    "compare": compare,
    "inspect": inspect,
    "hardest": hardest,
    "simulate": simulate,
    "reproduce": reproduce,
    "parts": parts,
    "doctor": doctor,
    "serve": serve,
    "recipe list": list_names,
    "recipe show": show,
    "import torchvision": import_torchvision,
    "start list": list_starts,
    "start fetch": fetch,
}
_ENDLESS = {"serve"}  # they have no result
for _path, _command in _COMMANDS.items():
    _group, _, _name = _path.rpartition(" ")
    _GROUPS[_group].command(_name, cls=Command)(with_output(_path, _command, as_json=_path not in _ENDLESS))

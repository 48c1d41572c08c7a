"""The commands of ``boxwright``, one a file, put together."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright.cli.check import check
from boxwright.cli.commands import Commands
from boxwright.cli.compare import compare
from boxwright.cli.demo import demo
from boxwright.cli.evaluate import evaluate
from boxwright.cli.export import export
from boxwright.cli.hardest import hardest
from boxwright.cli.import_weights import import_torchvision
from boxwright.cli.inspect import inspect
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


app.command()(check)
app.command()(train)
app.command("eval")(evaluate)
app.command()(predict)
app.command()(export)
app.command()(serve)
app.command()(push)
app.command()(demo)
recipes_app.command("list")(list_names)
recipes_app.command()(show)
import_app.command("torchvision")(import_torchvision)
start_app.command("list")(list_starts)
start_app.command()(fetch)
app.command()(compare)
app.command()(inspect)
app.command()(hardest)
app.command()(simulate)
app.command()(reproduce)
app.command()(parts)

"""``boxwright serve``: an exported model behind HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from boxwright._util.printing import say
from boxwright.cli.arguments import number, run_there
from boxwright.cli.completion import complete_run
from boxwright.cli.output import Output
from boxwright.errors import RecipeError

_NEEDED = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
_NEEDED |= {"prometheus_client": "prometheus-client"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MEGABYTE = 2**20


def serve(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", callback=run_there, autocompletion=complete_run, help="What boxwright export wrote."
        ),
    ],
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0: everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0: any free one.")] = 8000,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", callback=number(1, 1024), help="Threads that compute; default: all cores."),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", callback=number(1, 64), help="Images computed at a time.")] = 8,
    delay: Annotated[
        float, typer.Option(metavar="MS", callback=number(0, 1000), help="Milliseconds to wait for a batch to fill.")
    ] = 5,
    queue: Annotated[
        int, typer.Option(metavar="N", callback=number(1, 10**6), help="Images waiting at most; then 503.")
    ] = 64,
    max_images: Annotated[
        int, typer.Option(metavar="N", callback=number(1, 10**4), help="Images in one request.")
    ] = 16,
    max_megabytes: Annotated[
        float, typer.Option(metavar="MB", callback=number(0, 1024, above=True), help="Size of a request's body, MB.")
    ] = 16,
    max_pixels: Annotated[
        int, typer.Option(metavar="N", callback=number(1, 10**12), help="Pixels of an image; larger ones are refused.")
    ] = 25_000_000,
    *,
    output: Output,
) -> None:
    """Find objects over HTTP: POST /predict; GET /model, /health, /metrics and /docs. Ends in order at SIGTERM."""
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise RecipeError(f"serve needs {', '.join(missing)}: pip install 'boxwright[serve]'")
    if model.is_dir() and (model / "recipe.yaml").is_file():
        raise RecipeError(f"{model} is a run: boxwright export {model} makes the model that is served")

    from boxwright.serve import Limits
    from boxwright.serve import serve as serve_model

    if host not in _LOOPBACK:
        say(
            output.notes,
            "anyone who can reach this machine can send requests: there is no password and no encryption",
            "yellow",
        )
    limits = Limits(
        body=int(max_megabytes * _MEGABYTE),
        pixels=max_pixels,
        images=max_images,
        queue=queue,
        batch=batch,
        delay=delay / 1000,
    )
    serve_model(
        model,
        host=host,
        port=port,
        limits=limits,
        threads=threads,
        started=lambda address: say(output.results, f"{model} answers at {address}/predict; {address}/docs says how"),
    )
    say(output.notes, "stopped")

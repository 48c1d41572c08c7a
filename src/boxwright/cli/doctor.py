"""``boxwright doctor``: what helps or hinders trainings on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boxwright._util.printing import say
from boxwright._util.progress import bar
from boxwright.cli.output import Output

if TYPE_CHECKING:
    from boxwright.doctor import Examination, Speed


def doctor(
    speed: Annotated[bool, typer.Option(help="Also train for five seconds, to see how fast a training is.")] = True,
    *,
    output: Output,
) -> None:
    """Look at what helps or hinders trainings here: versions, devices, memory, disk, caches, speed. Changes nothing.

    What is wrong comes first, with what to type. Needs no network. Paste it all into a bug report.
    """
    from boxwright.doctor import examine

    with bar("looking at the machine", output.notes):
        found = examine()
        measured, fault = _measured(output) if speed else (None, None)
    for line in _lines(found, measured, fault):
        say(output.results, line)
    output.write_json(lambda: {**found.to_json(), "speed": measured, "speed_fault": fault})


def _measured(output: Output) -> tuple[Speed | None, str | None]:
    """Measure the speed; where that fails, say why."""
    from boxwright.doctor import measure_speed

    say(output.notes, "training for five seconds on made-up images (--no-speed leaves it out)")
    try:
        return measure_speed(), None
    except Exception as error:  # whatever is wrong with the machine: the rest is printed all the same
        return None, f"{type(error).__name__}: {error}"


def _lines(found: Examination, speed: Speed | None, fault: str | None) -> Iterator[str]:
    for advice in found.advice:
        yield f"warning: {advice.problem}"
        yield f"  what to do: {advice.cure}"
    if fault is not None:
        yield f"warning: training fails here: {fault}"
    if not found.advice and fault is None:
        yield "nothing is wrong"
    for name, part in found.parts.items():
        yield ""
        yield f"{name}:"
        yield from _facts(part.facts)
    if speed is not None:
        yield ""
        yield "speed:"
        yield f"  {speed.line()}"


def _facts(facts: Mapping[str, Any]) -> Iterator[str]:
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        yield f"  {name:<{width}}  {_words(value)}"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(each)}" for key, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)

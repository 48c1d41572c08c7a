"""How the commands are found by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from typer.core import TyperCommand, TyperGroup

_ALIKE = 0.75  # of 0..1: trian is train, export is not import


class Stopped(BaseException):
    """Ctrl-C, which its cause is: click would turn a KeyboardInterrupt into an exit."""


class Command(TyperCommand):
    """A command whose ``--json`` may stand without a file: "-" then, standard output."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the arguments."""
        return super().parse_args(ctx, list(_with_json_file(args)))


def _with_json_file(args: Sequence[str]) -> Iterator[str]:
    for place, arg in enumerate(args):
        yield arg
        following = args[place + 1] if place + 1 < len(args) else "--"
        if arg == "--json" and "--" not in args[:place] and following.startswith("-") and following != "-":
            yield "-"


class Commands(TyperGroup):
    """A group of commands that names the one that was probably meant, or all."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, turning Ctrl-C into ``Stopped``."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Stopped from stop

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or fail with the nearest name."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"no command {args[0]!r}{_meant(args[0], known)}")
        return super().resolve_command(ctx, args)


def _meant(name: str, known: list[str]) -> str:
    near = [other for other in known if name and (other.startswith(name) or name.startswith(other))]
    near += get_close_matches(name, known, n=1, cutoff=_ALIKE)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"

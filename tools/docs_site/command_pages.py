"""The pages of the commands, made from what typer knows of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from typer.main import get_command

from boxwright.cli.app import app
from cells import code, prose, table


def command_pages() -> dict[str, str]:
    """Return an overview and a page for each command, by their paths in the site."""
    commands = dict(_commands("boxwright", get_command(app)))
    pages = {_path(name): _page(name, command) for name, command in commands.items()}
    rows = [(f"[{name}]({_path(name).split('/')[-1]})", prose(_summary(each))) for name, each in commands.items()]
    about = "Every command has `--help`, which prints what its page says.\n\n"
    return {
        "reference/commands/index.md": f"# Commands\n\n{about}{table(('command', 'what it does'), rows)}",
        **pages,
    }


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Name in full -> command, groups opened."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for each, inner in command.commands.items():
        yield from _commands(f"{name} {each}", inner)


def _path(name: str) -> str:
    return f"reference/commands/{'-'.join(name.split()[1:])}.md"


def _summary(command: Any) -> str:
    return _text(command).partition("\n\n")[0].replace("\n", " ")


def _text(command: Any) -> str:
    return inspect.cleandoc(command.help or "")


def _page(name: str, command: Any) -> str:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    options = [each for each in shown if each.param_type_name == "option"]
    usage = " ".join([name, *map(_placeholder, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"# {name}", prose(_text(command)), f"```text\n{usage}\n```"]
    if arguments:
        rows = [(code(_placeholder(each)), prose(each.help or "")) for each in arguments]
        parts += ["## Arguments", table(("argument", "meaning"), rows)]
    if options:
        kinds = get_type_hints(command.callback)
        rows = [_option(each, kinds[each.name]) for each in options if each.name in kinds]
        parts += ["## Options", table(("option", "value", "default", "meaning"), rows)]
    return "\n\n".join(parts)


def _placeholder(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    several = "..." if argument.nargs == -1 else ""
    return f"{name}{several}" if argument.required else f"[{name}{several}]"


def _option(option: Any, kind: Any) -> tuple[str, str, str, str]:
    names = ", ".join(map(code, [*option.opts, *option.secondary_opts]))
    value = "" if option.is_flag else option.metavar or _kind(kind)
    default = "required" if option.required else _default(option)
    return names, code(value), default, prose(option.help or "")


def _kind(kind: Any) -> str:
    """What an option's value is, of its annotation: ``int | None`` is INT."""
    (only,) = [each for each in get_args(kind) or (kind,) if each is not type(None)]
    return str(getattr(only, "__name__", only)).upper()


def _default(option: Any) -> str:
    """The default as ``--help`` shows it; a text there says what stands for none."""
    if isinstance(option.show_default, str):
        return prose(option.show_default)
    value = option.default() if callable(option.default) else option.default
    return "" if option.is_flag or value in (None, [], ()) else code(str(value))

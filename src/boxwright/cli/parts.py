"""``boxwright parts``: what a recipe can name, the detectors and the recipes of installed packages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer

from boxwright._util.printing import say
from boxwright.cli.arguments import AllowCode
from boxwright.cli.completion import complete_part
from boxwright.cli.output import Output
from boxwright.errors import RecipeError
from boxwright.text import did_you_mean, first_sentence

_WHOLES = ("detector", "recipe")


def parts(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", autocompletion=complete_part, help="A part, a kind of part, or your own module:function."
        ),
    ] = None,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """List the parts that a recipe can name, by kind: options with their defaults, where they are, and a sentence.

    Detectors and recipes, too, those of installed packages among them.
    """
    from boxwright.choices import is_own

    kinds = _kinds()
    if name is None or name in kinds:
        shown = [key for key in kinds if kinds[key]] if name is None else [name]
        for key in shown:
            say(output.results, f"{key}:", "bold")
            for each in kinds[key]:
                say(output.results, f"  {_line(key, each)}")
        output.write_json(lambda: {"parts": [_content(key, each) for key in shown for each in kinds[key]]})
        return
    keys = [key for key, names in kinds.items() if name in names]
    if not keys and is_own("class_loss", name):
        keys = [_key_of_own(name)]
    if not keys:
        known = [each for key, names in kinds.items() for each in (key, *names)]
        raise RecipeError(f"unknown part {name!r}{did_you_mean(name, known)}")
    for key in keys:
        for line in _whole(key, name) if key in _WHOLES else _description(key, name):
            say(output.results, line)
    output.write_json(lambda: {"parts": [_content(key, name) for key in keys]})


def _content(key: str, name: str) -> dict[str, Any]:
    """Return what is known of a part as values."""
    from boxwright.catalog import find_part

    entry = find_part(key, name)[1]
    content: dict[str, Any] = {"key": key, "name": name, "package": None if entry is None else entry.package}
    if key in _WHOLES:
        source, sentence = _about(key, name)
        return content | {"source": source, "options": {}, "summary": sentence}
    part, error = _resolved(key, name)
    source = "boxwright" if part is None else entry.source if entry else name
    return content | {
        "source": source,
        "options": _defaults(key, name, part),
        "summary": error or ("" if part is None else _summary(part)),
    }


def _kinds() -> dict[str, list[str]]:
    """List the names of each kind."""
    from boxwright.catalog import PART_KEYS, installed, named_parts
    from boxwright.recipes import known_detectors

    kinds = {key: list(named_parts(key)) for key in PART_KEYS}
    return {**kinds, "detector": known_detectors(), "recipe": [*installed("recipe")]}


def _whole(key: str, name: str) -> Iterator[str]:
    """Describe a detector or a recipe: where it is defined, and a sentence."""
    source, sentence = _about(key, name)
    yield f"{key}={name}"
    yield from (each for each in (source and f"in {source}", sentence) if each)


def _about(key: str, name: str) -> tuple[str, str]:
    """Return where a package's detector or recipe is defined and a sentence on it, or why it can't be loaded."""
    from boxwright.catalog import find_part
    from boxwright.recipes import base_recipe, find_detector, get_recipe

    entry = find_part(key, name)[1]
    source = f"{entry.source} of the package {entry.package}" if entry else ""
    try:
        if key == "recipe":
            values = get_recipe(name).to_dict()
            base = base_recipe(values["detector"]).to_dict()
            changed = ", ".join(key for key in values if values[key] != base[key])
            return source, f"{values['detector']} with another {changed}" if changed else values["detector"]
        build = find_detector(name).build
        if isinstance(build, str):
            source = source or build
            build = getattr(import_module(build.partition(":")[0]), build.partition(":")[2])
        return source or name, first_sentence(inspect.getdoc(inspect.getmodule(build)))
    except Exception as error:  # a package that is broken stops nothing
        return source, f"broken: {error}"


def _key_of_own(name: str) -> str:
    """Return the recipe key that a custom part is declared for; its module is imported, since the user typed it."""
    import sys

    from boxwright.own_code import import_code
    from boxwright.parts import part_info

    module, _, function = name.partition(":")
    import_code([module])
    info = part_info(vars(sys.modules[module]).get(function, ()))
    if info is None:
        raise RecipeError(f"{name} is no part: nothing declares it, see boxwright.parts")
    return info.role


def _line(key: str, name: str) -> str:
    from boxwright.catalog import find_part

    if key in _WHOLES:
        source, sentence = _about(key, name)
        return f"{name:<18} {source:<48} {sentence}".rstrip()
    part, error = _resolved(key, name)
    if error:
        return f"{name:<18} {error}"
    summary = "" if part is None else _summary(part)
    entry = find_part(key, name)[1]
    if entry is not None and entry.package is not None:
        summary += f" (package {entry.package})"
    return f"{name:<18} {', '.join(_options(key, name, part)):<48} {summary}".rstrip()


def _description(key: str, name: str) -> Iterator[str]:
    from boxwright.catalog import find_part

    part, error = _resolved(key, name)
    entry = find_part(key, name)[1]
    yield f"{key}={name}"
    if error:
        yield error
        return
    yield f"in {entry.source if entry else name}" if part is not None else "part of boxwright"
    if entry is not None and entry.package is not None:
        yield f"of the package {entry.package}"
    for option in _options(key, name, part):
        yield f"  {option}"
    if part is not None:
        yield ""
        yield from (inspect.getdoc(part.func) or "without a docstring").splitlines()


def _resolved(key: str, name: str) -> tuple[Any, str]:
    """Return the part, or why it can't be loaded: a broken package doesn't stop the list."""
    from boxwright.choices import resolve_choice

    try:
        return resolve_choice(key, name), ""
    except RecipeError as error:
        return None, f"broken: {error}"


def _summary(part: Any) -> str:
    return first_sentence(inspect.getdoc(part.func))


def _options(key: str, name: str, part: Any) -> list[str]:
    """Format ``option=default`` for each option that a recipe can set."""
    return [f"{option}={_shown(value)}" for option, value in _defaults(key, name, part).items()]


def _defaults(key: str, name: str, part: Any) -> dict[str, Any]:
    """Return the defaults of the options that a recipe can set."""
    from boxwright.catalog import find_part

    if part is None:
        return {}
    entry = find_part(key, name)[1]
    parameters = inspect.signature(part.func).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    options = defaults if entry is None or entry.options is None else entry.options
    return {option: defaults[option] for option in options}


def _shown(value: Any) -> str:
    from boxwright._util.yaml_files import format_yaml

    return format_yaml(list(value) if isinstance(value, tuple) else value)

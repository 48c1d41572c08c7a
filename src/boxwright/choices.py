"""Values of recipe keys that name a part: ``atss:top=9``, or ``my_losses:wing:omega=10`` for one of your own.

The names are in ``catalog.py``, and a module's own parts are found by ``module:function``. Nothing here imports torch
before a built-in part is asked for, so that the command line can check a recipe at once, and nothing here ever imports
a module that a recipe names: ``import_code`` does, for modules that the user named.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

from boxwright._util.tracebacks import described
from boxwright._util.yaml_files import YamlError, format_yaml, parse_yaml
from boxwright.catalog import Entry, find_part, named_parts
from boxwright.errors import BoxwrightError, RecipeError
from boxwright.parts import DECORATORS, part_info
from boxwright.text import did_you_mean
from boxwright.values import coerce, shown

_LONGEST = 10_000
_OPTION = re.compile(r"\s*\w+\s*=")
_OWN = re.compile(r"\s*([A-Za-z_][\w.]*):([A-Za-z_]\w*)\s*(?=:|$)")
_PLAIN = (str, int, float, bool, type(None))


class Choice(NamedTuple):
    """The meaning of a value: a part, and its options as text (or lists of text)."""

    name: str
    """Name in ``catalog.py``, or ``module:function``."""
    options: dict[str, Any]


def split_values(text: str) -> list[str]:
    """Split ``"iou,alpha_iou:alpha=3,kind=giou"`` into ``["iou", "alpha_iou:alpha=3,kind=giou"]``.

    A comma separates two values, except within brackets, and before an ``option=value`` that follows a part with
    options. Blank values are kept.
    """
    values: list[str] = []
    for part in _split(text):
        if values and ":" in values[-1] and _OPTION.match(part):
            values[-1] += f",{part.rstrip()}"
        else:
            values.append(part.strip())
    return values


def split_choices(text: str) -> list[str]:
    """Split like ``split_values``, without blank values."""
    return [value for value in split_values(text) if value]


def parse_choice(key: str, text: str) -> Choice:
    """``"atss:top=9"`` -> ``Choice("atss", {"top": "9"})``; nothing is imported.

    Raises RecipeError for a name that the key does not have, an option that a part by name does not have, and for what
    can't be read.
    """
    if len(text) > _LONGEST:
        raise RecipeError(f"Expected {key} of at most {_LONGEST:,} characters but got {shown(text)}")
    name, _, rest = text.partition(":")
    name = name.strip()
    known, entry = find_part(key, name)
    if not known:
        own = _OWN.match(text)
        if own is None:
            raise RecipeError(f"unknown {key} {shown(name)}{did_you_mean(name, named_parts(key))}")
        name, rest = f"{own[1]}:{own[2]}", text[own.end() + 1 :]
    options = _parse_options(key, text, rest)
    if known and entry is None:
        _check_options(key, name, options, ())
    elif entry is not None and entry.options is not None:
        _check_options(key, name, options, entry.options)
    return Choice(name, options)


def _parse_options(key: str, text: str, rest: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in _split(rest))):
        option, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise RecipeError(f"Expected {key} as name:option=value but got {shown(text)}")
        if option in options:
            raise RecipeError(f"{key} {shown(text)} has {shown(option)} twice")
        try:
            options[option] = parse_yaml(value)
        except YamlError:
            raise RecipeError(f"can't read {shown(item)} of {key} {shown(text)}") from None
    return options


def _check_options(key: str, name: str, options: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for option in options:
        if option not in allowed:
            raise RecipeError(f"{key} {name!r} has no option {shown(option)}{did_you_mean(option, allowed)}")


def _split(options: str) -> list[str]:
    """Split a text at commas outside lists."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(options):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append(options[start:place])
            start = place + 1
    return [*parts, options[start:]]


def is_own(key: str, text: str) -> bool:
    """Tell whether a value names a custom part, ``module:function``."""
    return _OWN.match(text) is not None and not find_part(key, text.partition(":")[0].strip())[0]


def is_part(key: str, text: str) -> bool:
    """Tell whether a value names a part at all: a backbone may be a timm model instead."""
    return _OWN.match(text) is not None or find_part(key, text.partition(":")[0].strip())[0]


def resolve_choice(key: str, text: str) -> Callable[..., Any] | None:
    """The part itself, options bound as the types that it declares; None for a name that stands for no part.

    Raises RecipeError for an option that it does not take, a value of another type, a package whose part can't be
    imported, and for an own part whose module isn't imported, or that isn't declared for this key.
    """
    name, options = parse_choice(key, text)
    has_name, entry = find_part(key, name)
    if has_name and entry is None:
        return None
    part = _own_part(key, name) if entry is None else _named_part(key, name, entry)
    hints = _type_hints(part.__init__ if inspect.isclass(part) else part)
    known = tuple(p.name for p in inspect.signature(part).parameters.values() if p.default is not p.empty)
    _check_options(key, name, options, known)
    bound = {
        option: coerce(f"{option} of {key} {name}", value, hints[option]) if option in hints else _guess(value)
        for option, value in options.items()
    }
    return partial(part, **bound)


def required(key: str, text: str) -> Callable[..., Any]:
    """Resolve a key whose names all stand for parts, as ``resolve_choice`` does."""
    part = resolve_choice(key, text)
    if part is None:
        raise RecipeError(f"Expected {key} to name a part but got {shown(text)}")
    return part


@contextmanager
def naming_failures(key: str, text: str) -> Iterator[None]:
    """Turn what a custom part raises into a RecipeError that names the part and the line."""
    try:
        yield
    except BoxwrightError:
        raise
    except Exception as error:
        if not is_own(key, text):
            raise
        raise RecipeError(f"{key}={text} failed: {described(error)}") from error


def _type_hints(part: Any) -> dict[str, Any]:
    try:
        return get_type_hints(part)
    except Exception:  # annotations of a custom part may name what does not exist
        return {}


def _guess(value: Any) -> Any:
    """Guess the value of an option without annotation: a number, true, false or null if it reads as one."""
    for kind in (int | None, float, bool):
        with suppress(RecipeError):
            return coerce("", value, kind)
    return value


def entry_object(key: str, name: str, entry: Entry) -> Any:
    """Import what an entry of the catalog names; raises RecipeError, naming the package, for a broken one."""
    try:
        part: Any = import_module(entry.module)
        for attribute in entry.attribute.split("."):
            part = getattr(part, attribute)
    except Exception as error:
        if entry.package is None:
            raise
        raise RecipeError(
            f"{key} {name!r} of the package {entry.package} can't be imported: {type(error).__name__}: {error}"
        ) from None
    return part


def _named_part(key: str, name: str, entry: Entry) -> Any:
    part = entry_object(key, name, entry)
    if entry.package is not None:
        _check_declared(key, f"{name} of the package {entry.package}", part)
    return part


def own_object(key: str, name: str) -> Any:
    """Return what ``module:name`` names in a module that is already imported: a recipe never causes an import."""
    module, function = name.split(":")
    if module not in sys.modules:
        raise RecipeError(
            f"{key} is {name}, code of the module {module}, which no recipe may import by itself: "
            f"--allow-code {module} does, and so does allow_code or an import in Python"
        )
    names = vars(sys.modules[module])  # no getattr, which could run code
    if function not in names:
        declared = [own for own, value in names.items() if callable(value) and part_info(value)]
        raise RecipeError(f"the module {module} has no {function}{did_you_mean(function, declared)}")
    return names[function]


def _own_part(key: str, name: str) -> Any:
    part = own_object(key, name)
    _check_declared(key, name, part)
    return part


def _check_declared(key: str, what: str, part: Any) -> None:
    info = part_info(part) if callable(part) else None
    if info is None or info.role != key:
        other = "declares nothing" if info is None else f"is declared as {info.role}"
        raise RecipeError(f"{what} is no {key}: it {other}; declare it with {DECORATORS[key]} of boxwright")


def name_choice(key: str, part: Callable[..., Any]) -> str:
    """The text that names a part, options bound by ``functools.partial`` or not: the way back of ``resolve_choice``.

    Raises RecipeError for a part that can't be found again by module and name, as a lambda, and for an option that
    isn't a number, a text or a list of these.
    """
    options: dict[str, Any] = {}
    while isinstance(part, partial):
        if part.args:
            raise RecipeError(f"Expected the options of {key} by name but got {shown(part)}")
        options, part = {**part.keywords, **options}, part.func
    module, name = getattr(part, "__module__", ""), getattr(part, "__qualname__", "")
    if vars(sys.modules.get(module, sys)).get(name) is not part:
        raise RecipeError(
            f"Expected {key} to be a function at the top of a module, which is found again by its name, but got "
            f"{shown(part)}: a lambda, an inner function and an object are not; move it there, or give a criterion"
        )
    source = f"{module}:{name}"
    for known, entry in named_parts(key).items():
        if entry is not None and _is_entry(entry, part):
            source = known
    for option, value in options.items():
        if not all(isinstance(each, _PLAIN) for each in (value if isinstance(value, list | tuple) else [value])):
            raise RecipeError(f"Expected {option} of {key} to be a number, a text or a list but got {shown(value)}")
    text = ",".join(f"{option}={format_yaml(value)}" for option, value in options.items())
    return f"{source}:{text}" if text else source


def _is_entry(entry: Entry, part: Any) -> bool:
    module = sys.modules.get(entry.module)
    return module is not None and vars(module).get(entry.attribute) is part

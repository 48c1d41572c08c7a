"""Parse the JSON and the tables that tools write, a look at their beginning before all of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from boxwright._util.reading import as_text, as_utf8
from boxwright.data.files import Tree
from boxwright.errors import DataError

T = TypeVar("T")

_HEAD = 1 << 16
_DELIMITERS = ",;\t"


def candidates(tree: Tree, suffix: str) -> list[str]:
    """Files below the data set's folder whose names end so, in any case."""
    return [path for path in tree.below() if path.lower().endswith(suffix)]


def head_of(tree: Tree, path: str) -> str:
    """Read the first 64 kB of a file as text; empty if it can't be read."""
    if tree.state(path) != "there":
        return ""
    try:
        with (tree.root / path).open("rb") as file:
            return as_text(file.read(_HEAD))
    except OSError:
        return ""


def parse_json(data: bytes, form: type[T]) -> T:
    """Decode JSON of a form; DataError says what is wrong."""
    try:
        return msgspec.json.decode(as_utf8(data), type=form)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    try:
        return msgspec.convert(json.loads(as_text(data)), form)  # takes NaN, and tells the line of an error
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise DataError(f"JSON that can't be read: {error}") from None


def first_entry(head: str) -> Any:
    """Parse the first entry of a JSON list from the beginning of the file; None if there is none."""
    text = head.lstrip()
    if not text.startswith("["):
        return None
    try:
        return json.JSONDecoder().raw_decode(text[1:].lstrip())[0]
    except (ValueError, RecursionError):
        return None


def first_row(head: str) -> list[str]:
    """Read the cells of a table's first row, stripped."""
    return next(_rows(head.partition("\n")[0]), [])


def read_rows(tree: Tree, file: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a table, stripped; empty rows are left out. Raises DataError."""
    try:
        yield from _rows(as_text(tree.read(file)))
    except csv.Error as error:
        raise DataError(f"a table that can't be read: {error}") from None


def _rows(text: str) -> Iterator[list[str]]:
    """Cells are separated by what the first line has most of: commas, semicolons or tabs."""
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield cells


def lacking(tree: Tree, columns: set[str]) -> str | None:
    """Say which of a table's columns are missing, of the first table that has at least two thirds of them."""
    for file in candidates(tree, ".csv"):
        missing = sorted(columns - columns_of(first_row(head_of(tree, file))).keys())
        if len(missing) * 3 <= len(columns):
            return f"{file} has no column {', '.join(missing)}"
    return None


def columns_of(header: list[str]) -> dict[str, int]:
    """Place of each column by its name in lower case."""
    return {name.lower(): place for place, name in enumerate(header)}

"""The command line: each command parses, calls public functions and prints. Heavy imports wait until a command runs."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from contextlib import suppress
from typing import NoReturn, TextIO

from boxwright._util.memory import is_out_of_memory
from boxwright._util.printing import printable
from boxwright._util.stopping import Terminated, stop_behind, stop_by, stopping_in_order
from boxwright.errors import BoxwrightError, BoxwrightWarning

_OF_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
_format_others = warnings.formatwarning


def main() -> None:
    """Entry point. The user's errors are on stderr, with exit code 2; Ctrl-C is exit code 130, SIGTERM 143."""
    _make_streams_safe()
    with stopping_in_order() as came:
        try:
            _run()
        except BaseException as error:
            stop = stop_behind(error)
            if stop is None and came and isinstance(error, Exception):
                stop = stop_by(came[-1])  # a library that is stopped while it loads says that it is broken
            if stop is None:
                raise
            terminated = isinstance(stop, Terminated)
            print(f"boxwright: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
            sys.exit(143 if terminated else 130)


def _run() -> NoReturn:
    try:
        from boxwright.cli.app import app

        warnings.showwarning = _show_warning
        code = app(prog_name="boxwright", standalone_mode=False)
        sys.stdout.flush()
    except BoxwrightError as error:
        _end(str(error))
    except (MemoryError, RuntimeError, OSError) as error:
        if is_out_of_memory(error):
            _end("out of memory: take smaller images, a smaller image_size or batch_size, or end what else is running")
        if not isinstance(error, OSError):
            raise
        _end_by_system(error)
    except Exception as error:
        if (message := _usage(error)) is None:
            raise
        _end(message)
    sys.exit(code)


def _make_streams_safe() -> None:
    """Print what the encoding doesn't have as escapes, and nowhere where a stream was closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _end(text: str) -> NoReturn:
    if text:
        print(f"boxwright: {printable(text)}", file=sys.stderr)
    sys.exit(2)


def _end_by_system(error: OSError) -> NoReturn:
    """Print one line with the path; nothing if the reader of our output has gone, as head does."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    if error.filename is None and error.errno in _OF_OUTPUT:
        with suppress(OSError, ValueError):  # else Python tries again at its end, and complains
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            sys.exit(1)
        _end(f"can't write the output: {reason}")
    _end(reason if error.filename is None else f"{error.filename}: {reason}")


def _usage(error: Exception) -> str | None:
    """Return click's message on invalid arguments; empty if it has printed the help; None for other errors."""
    import typer

    usage = typer.BadParameter.__mro__[1]  # click's class, or that of the copy which typer brings
    if not isinstance(error, usage):
        return None
    message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if message and context is not None else message


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Ours are for the user, who needs no line of code."""
    if issubclass(category, BoxwrightWarning):
        lines = [f"boxwright: warning: {message}"]
    else:
        lines = _format_others(message, category, filename, lineno, line).splitlines()
    print(*map(printable, lines), sep="\n", file=file or sys.stderr)

"""The command line: each command parses, calls public functions and prints. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

from boxwright.errors import BoxwrightError, BoxwrightWarning

_NOT_WRITABLE = (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)  # places that a user named
_show_others = warnings.showwarning


def main() -> None:
    """Entry point. The user's errors are on stderr, with exit code 2; Ctrl-C is exit code 130."""
    from boxwright.cli.app import app

    warnings.showwarning = _show_warning
    try:
        app()
    except BoxwrightError as error:
        print(f"boxwright: {error}", file=sys.stderr)
        sys.exit(2)
    except _NOT_WRITABLE as error:
        print(f"boxwright: {error.strerror}: {error.filename}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("boxwright: interrupted", file=sys.stderr)
        sys.exit(130)


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
        print(f"boxwright: warning: {message}", file=file or sys.stderr)
    else:
        _show_others(message, category, filename, lineno, file, line)

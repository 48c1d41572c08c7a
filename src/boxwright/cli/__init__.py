"""The command line: each command parses, calls public functions and prints. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys

from boxwright.errors import BoxwrightError


def main() -> None:
    """Entry point. The user's errors are on stderr, with exit code 2; Ctrl-C is exit code 130."""
    from boxwright.cli.app import app

    try:
        app()
    except BoxwrightError as error:
        print(f"boxwright: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("boxwright: interrupted", file=sys.stderr)
        sys.exit(130)

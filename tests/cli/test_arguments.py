"""Arguments are checked before a command imports what takes seconds."""

import subprocess
import sys

import pytest

QUICK = """
import sys
from boxwright.cli.app import app
from boxwright.errors import BoxwrightError
try:
    app(sys.argv[1:], standalone_mode=False)
except BoxwrightError as error:
    print(error)
assert "torch" not in sys.modules and "lightning" not in sys.modules
"""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train nowhere", "nowhere: no such folder"),
        ("train . --resume nowhere", "no run or model at nowhere"),
        ("eval nowhere .", "no run or model at nowhere"),
        ("eval . nowhere", "nowhere: no such folder"),
        ("predict nowhere x.jpg", "no run or model at nowhere"),
        ("compare nowhere --vary lr=1,2", "nowhere: no such folder"),
        ("inspect nowhere", "nowhere: no such folder"),
        ("hardest nowhere --run .", "nowhere: no such folder"),
        ("hardest . --run nowhere", "no run or model at nowhere"),
    ],
)
def test_a_path_that_is_not_there_needs_no_torch(command: str, message: str) -> None:
    result = subprocess.run([sys.executable, "-c", QUICK, *command.split()], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == message

"""Text of people's data reaches the terminal as it is, or as escapes."""

import io
import os

from rich.console import Console

from boxwright._util.printing import printable, say


def test_markup_and_control_characters_are_text() -> None:
    console = Console(file=io.StringIO(), width=40)
    say(console, "class [/a] \x1b[31m" + os.fsdecode(b"caf\xe9"))
    console.file.seek(0)  # type: ignore[attr-defined]
    assert console.file.read() == "class [/a] \\x1b[31mcaf\\udce9\n"  # type: ignore[attr-defined]


def test_letters_of_any_script_stay() -> None:
    assert printable("ß 猫\té\n") == "ß 猫\té\n"

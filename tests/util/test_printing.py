"""Text of people's data reaches the terminal as it is, or as escapes."""

import io
import os
from collections.abc import Callable

import pytest
from rich.console import Console

from boxwright._util.printing import printable, say, say_lines, say_table


def test_markup_and_control_characters_are_text() -> None:
    console = Console(file=io.StringIO(), width=40)
    say(console, "class [/a] \x1b[31m" + os.fsdecode(b"caf\xe9"))
    console.file.seek(0)  # type: ignore[attr-defined]
    assert console.file.read() == "class [/a] \\x1b[31mcaf\\udce9\n"  # type: ignore[attr-defined]


def test_letters_of_any_script_stay() -> None:
    assert printable("ß 猫 é ك \U0001f468\u200d\U0001f469") == "ß 猫 é ك \U0001f468\u200d\U0001f469"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nerror b", "a\\nerror b"),
        ("a\rb\tc", "a\\rb\\tc"),
        ("\x9b31m", "\\x9b31m"),  # as ESC [ to some terminals
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\ud800", "\\ud800"),
        ("\x7f\0", "\\x7f\\x00"),
    ],
)
def test_what_steers_a_terminal_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def lines_of(encoding: str, show: Callable[[Console], None], width: int = 60) -> list[str]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    show(Console(file=file, width=width))
    file.flush()
    return raw.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "猫 ü"), ("latin-1", "\\u732b ü"), ("ascii", "\\u732b \\xfc")]
)
def test_what_the_encoding_lacks_is_an_escape(encoding: str, shown: str) -> None:
    assert lines_of(encoding, lambda console: say(console, "猫 ü")) == [shown]


def test_a_line_is_neither_wrapped_nor_read_as_emoji() -> None:
    text = ":cat: " * 30 + "."
    assert lines_of("utf-8", lambda console: say(console, text), width=20) == [text]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_cells_are_text_too(encoding: str) -> None:
    def show(console: Console) -> None:
        say_table(console, ("[b]class", "n"), [("[/a] :cat: \x1b", "1"), ("b\nc", "22")], title="[/t]", ruled=[0])

    shown = lines_of(encoding, show)
    assert shown[0].strip() == "[/t]"
    text = "\n".join(shown)
    for word in ("[b]class", "[/a] :cat: \\x1b", "b\\nc"):
        assert word in text
    assert "\x1b" not in text
    rows = [line for line in shown if "22" in line or "\\x1b" in line]
    assert rows[0].index("1 ", 20) == rows[1].index("22") + 1  # numbers stand at the right


def test_lines_are_shown_one_by_one() -> None:
    texts = ["a\nb", "[b]" + "x" * 40, ""]
    assert lines_of("utf-8", lambda console: say_lines(console, texts), width=20) == ["a\\nb", texts[1], ""]
    assert lines_of("utf-8", lambda console: say_lines(console, [])) == []

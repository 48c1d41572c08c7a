"""YAML as people and their tools write it: values stay as written, and no document harms."""

import codecs
import time
import tracemalloc
from typing import Any

import pytest

from boxwright._util.yaml_files import YamlError, format_yaml, parse_yaml

ODD = ["yes", "no", "007", "1e3", "12:30", "2024-13-01", "~", "null", "True", "0x10", "1_000", ".nan", "²", "9" * 1000]


def test_every_value_stays_as_written() -> None:
    assert parse_yaml(f"names: [{', '.join(ODD)}]") == {"names": ODD}
    assert parse_yaml("\n".join(f"{word}: {word}" for word in ODD)) == {word: word for word in ODD}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a: 1\nb: 'x'\nc:\n  - p\n  - q r\n", {"a": "1", "b": "x", "c": ["p", "q r"]}),
        ("names: {0: cat, 1: dog}", {"names": {"0": "cat", "1": "dog"}}),
        ("a:\nb: ''", {"a": None, "b": ""}),
        ("a: &x [1, 2]\nb: *x", {"a": ["1", "2"], "b": ["1", "2"]}),
        ("a: &x 1\nb: {*x : 2}", {"a": "1", "b": {"1": "2"}}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("a: !!str 1\nb: ! 2", {"a": "1", "b": "2"}),
        ("<<: {a: 1}", {"<<": {"a": "1"}}),
        ("? a\n", {"a": None}),
        ("? \n: b", {"": "b"}),
        ("text", "text"),
        ("# nothing", None),
        ("", None),
        (b"\xef\xbb\xbfa: \xc3\xa9", {"a": "é"}),
        (codecs.BOM_UTF16_LE + "a: é".encode("utf-16-le"), {"a": "é"}),
        ('a: "\\U0001F600 \\0"', {"a": "\U0001f600 \0"}),
    ],
)
def test_documents(source: str | bytes, expected: Any) -> None:
    assert parse_yaml(source) == expected


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a: [1", "line 1: "),
        ("a: 1\nb: c: d", "line 2: mapping values are not allowed here"),
        ("a: 1\n\na: 2", "line 3: the key 'a' a second time"),
        ("{a: 1, 'a': 2}", "line 1: the key 'a' a second time"),
        ("b: {a: 1, a: 2}", "the key 'a' a second time"),
        ("[1, 2]: 3", "a list or a mapping as a key"),
        ("? {a: 1}\n: 3", "a list or a mapping as a key"),
        ("x: &x [1]\n? *x\n: 3", "line 2: a list or a mapping as a key"),
        ("a: 1\n---\nb: 2", "line 2: a second document"),
        ("a: !!timestamp abc", "a tag, tag:yaml.org,2002:timestamp"),
        ("a: !!python/object/apply:os.system [ls]", "a tag"),
        ("a: !x {b: 1}", "a tag, !x"),
        ("a: *b", r"\*b stands for nothing before it"),
        ("a: &a [*a]", r"\*a stands for nothing before it"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ('a: "\\U99999999"', "out of range"),
        (f"%YAML 1.{'1' * 5000}\n---\na: 1", "out of range"),
        ("a:\n \ud800", r"line 2: a character that can't stand in YAML, '\\ud800'"),
        ("a: \0", r"line 1: a character that can't stand in YAML, '\\x00'"),
        (b"a:\n \xe9", "line 2: byte 0xe9 is no UTF-8"),
        ("a: 1".encode("utf-16-le"), "a character that can't stand in YAML"),
        (codecs.BOM_UTF16_LE + b"a\0\0\xd8", "byte 0x00 is no UTF-16"),
        ("[" * 3000, "more than 50 lists or mappings within each other"),
        ("- " * 3000, "more than 50 lists or mappings within each other"),
        ("{a: " * 3000, "more than 50 lists or mappings within each other"),
        (BOMB, "counting what each alias"),
        (f"a: &a {'x' * 10_000}\nb: [{'*a, ' * 200}]", "counting what each alias"),
        ("a" * 500_001, "Expected at most 500,000 characters"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_refused_and_why(source: str | bytes, message: str) -> None:
    with pytest.raises(YamlError, match=message):
        parse_yaml(source)


def test_aliases_that_multiply_are_refused_at_once() -> None:
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(YamlError):
        parse_yaml(BOMB)
    assert time.process_time() - started < 0.5
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_long_list_of_names_is_read() -> None:
    names = [f"class number {number}" for number in range(20_000)]
    assert parse_yaml("names:\n" + "".join(f"- {name}\n" for name in names)) == {"names": names}


def test_fifty_levels_are_read() -> None:
    assert parse_yaml("[" * 50 + "]" * 50)


@pytest.mark.parametrize(
    "text", ["a", "007", "yes", "it's", "a, b", "a: b", "[/a]", "", "~", "two\nlines", " x ", "a=1, b=2", '"']
)
def test_a_line_of_yaml_is_read_back(text: str) -> None:
    assert parse_yaml(format_yaml(text)) == text
    assert parse_yaml(format_yaml([text, text])) == [text, text]


def test_a_line_of_yaml_is_plain_where_that_does() -> None:
    assert [format_yaml(value) for value in ("a=1, b", "a: b", 0.1, True, None)] == [
        "a=1, b",
        '"a: b"',
        "0.1",
        "true",
        "null",
    ]
    assert format_yaml((8, 16.0, "yes", "a, b")) == '[8, 16.0, yes, "a, b"]'

"""Names of files that any file system takes, and that stay apart on any."""

import os
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright._util.naming import distinct_names, file_stem, folder_name


def test_a_link_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    assert folder_name(tmp_path / "link") == folder_name(tmp_path / "x" / ".." / "link") == "link"
    monkeypatch.chdir(tmp_path / "data")
    assert folder_name(Path()) == folder_name(Path("../data")) == "data"


def test_names_that_meet_where_case_or_spelling_makes_no_difference() -> None:
    nfc, nfd = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    names = distinct_names(["x", "X", "x", "x-2", nfc, nfd, "straße", "STRASSE"], ".jpg")
    assert names == [
        "x.jpg",
        "X-2.jpg",
        "x-3.jpg",
        "x-2-2.jpg",
        f"{nfc}.jpg",
        f"{nfd}-2.jpg",
        "straße.jpg",
        "STRASSE-2.jpg",
    ]


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("photo 1.of (2)", "photo 1.of (2)"),
        ("CON", "_CON"),
        ("lpt9.tar", "_lpt9.tar"),
        ("com¹", "_com¹"),
        ("console", "console"),
        ("../../etc/passwd", "_.._.._etc_passwd"),
        ('a<b>c:d"e|f?g*h\\i', "a_b_c_d_e_f_g_h_i"),
        ("\x1b[31m\n", "_[31m_"),
        (os.fsdecode(b"caf\xe9"), "caf_"),
        ("", "_"),
        (" . ", "_."),
        (".hidden", "_.hidden"),
    ],
)
def test_what_some_file_system_refuses(text: str, stem: str) -> None:
    assert file_stem(text) == stem


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "Z", "Cc", "Cs", "M"]), max_size=300), max_size=8))
def test_any_names_stay_apart(texts: list[str]) -> None:
    names = distinct_names(texts, ".jpg")
    assert len({unicodedata.normalize("NFD", name).casefold() for name in names}) == len(texts)
    for name in names:
        assert len(name.encode()) <= 255
        assert not {"/", "\\", "\0", ":"} & set(name)
        assert not name.startswith(".")


def test_ten_thousand_of_one_name_take_no_time() -> None:
    started = time.perf_counter()
    assert len(set(distinct_names(["a"] * 10_000 + ["A"] * 10_000, ".jpg"))) == 20_000
    assert time.perf_counter() - started < 5  # pairs of all with all take minutes

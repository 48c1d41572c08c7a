"""What is remembered is found again under the same facts, and no file of the cache is ever an error."""

from pathlib import Path

import pytest

from boxwright._util.remembered import cache_folder, recall, remember

FACTS = {"processor": "x", "threads": 2, "input": [1, 2.5]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_found_under_the_same_facts_alone() -> None:
    assert recall("kind", FACTS) is None
    remember("kind", FACTS, {"seconds": 0.1})
    assert recall("kind", dict(reversed(FACTS.items()))) == {"seconds": 0.1}
    assert recall("kind", FACTS | {"threads": 1}) is None
    assert recall("other", FACTS) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"facts": {}, "value": 1}']
)
def test_another_content_is_forgotten_and_replaced(folder: Path, content: bytes) -> None:
    remember("kind", FACTS, 1)
    (file,) = folder.rglob("*.json")
    file.write_bytes(content)
    assert recall("kind", FACTS) is None
    remember("kind", FACTS, 2)
    assert recall("kind", FACTS) == 2


def test_a_folder_that_cannot_be_is_no_error(folder: Path) -> None:
    folder.write_text("a file")
    remember("kind", FACTS, 1)
    assert recall("kind", FACTS) is None
    assert folder.read_text() == "a file"


def test_a_folder_in_place_of_the_file_is_no_error(folder: Path) -> None:
    remember("kind", FACTS, 1)
    (file,) = folder.rglob("*.json")
    file.unlink()
    file.mkdir()
    remember("kind", FACTS, 2)
    assert recall("kind", FACTS) is None


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("BOXWRIGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    remember("kind", FACTS, 1)
    assert recall("kind", FACTS) is None


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("BOXWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "boxwright"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "boxwright"

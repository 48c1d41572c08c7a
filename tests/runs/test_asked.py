"""What the detector is asked about, in which order, and what a list on standard input names."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import BoxwrightWarning, DataError
from boxwright.runs.asked import Asked, answered, ask, how_many, listed
from boxwright.runs.predict import find_images, no_detections

FAULT = DataError("clip.mp4: it ends")


def echoed(ahead: int) -> Any:
    """A detector that finds nothing, and has read so many images ahead by then."""

    def stream(images: Iterable[Any]) -> Iterator[Any]:
        waiting = []
        for image in images:
            waiting.append(image)
            if len(waiting) > ahead:
                waiting.pop(0)
                yield no_detections()
        yield from (no_detections() for _ in waiting)

    return stream


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_faults_come_in_their_places(ahead: int) -> None:
    places = [FAULT, "a", "b", FAULT, FAULT, "c", FAULT]
    asked = [Asked(place, FAULT if image is FAULT else Path(image)) for place, image in enumerate(places)]  # type: ignore[arg-type]
    got = list(answered(asked, echoed(ahead)))
    assert [each.place for each, _ in got] == list(range(7))
    assert [found is FAULT for _, found in got] == [image is FAULT for image in places]
    assert list(answered([], echoed(ahead))) == []


def test_frames_and_images_from_any_place_on(tmp_path: Path) -> None:
    from video_builders import bar_of, cut, write_clip

    files = [tmp_path / "a.jpg", write_clip(tmp_path / "b.mp4", 6), tmp_path / "c.jpg"]
    files.append(cut(write_clip(tmp_path / "d.mkv", 42), 0.7))
    whole = list(ask(files, None, 2, None))
    assert [(each.place, each.frame) for each in whole[:6]] == [(0, None), (1, 0), (1, 2), (1, 4), (2, None), (3, 0)]
    assert isinstance(whole[-1].image, DataError)
    assert whole[2].seconds == pytest.approx(0.2)
    assert bar_of(whole[2].image) == 2  # type: ignore[arg-type]
    for done, last in enumerate(whole, start=1):
        rest = [(each.place, each.frame) for each in ask(files, last.about, 2, None)]
        assert rest == [(each.place, each.frame) for each in whole[done:]]
    assert how_many(files[:3], 2) == 5
    (tmp_path / "e.mp4").write_bytes(b"")
    assert how_many([*files, tmp_path / "e.mp4"], 2) is None


def test_lines_of_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b c.png", "\u00fc.jpg", "d\ne.jpg"):
        Path(name).touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    lines = "\ufeffa.jpg\r\n\nb c.png\nnowhere.jpg\nfolder\n\u00fc.jpg\npipe.jpg\nx\0y".replace("\0", "").encode()
    with pytest.warns(BoxwrightWarning) as told:
        assert listed(io.BytesIO(lines)) == [Path("a.jpg"), Path("b c.png"), Path("\u00fc.jpg")]
    assert [str(warning.message).removeprefix("left out line ") for warning in told] == [
        "4 of standard input: nowhere.jpg: no such file",
        "5 of standard input: folder: it is a folder",
        "7 of standard input: pipe.jpg: it is no regular file",
        "8 of standard input: xy: no such file",
    ]
    assert listed(io.BytesIO(b"d\ne.jpg\0a.jpg\0")) == [Path("d\ne.jpg"), Path("a.jpg")]
    with pytest.warns(BoxwrightWarning) as told:
        assert listed(io.BytesIO(b"no\n" * 25 + b"a" * 5000)) == []
    assert len(told) == 11
    assert str(told[-1].message) == "left out 16 more lines of standard input"


def test_a_list_among_other_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg", "clip.mp4", "clips/c.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert find_images(["b.jpg", "-"], lines=io.BytesIO(b"a.jpg\nb.jpg\nclip.mp4")) == [
        Path("b.jpg"),
        Path("a.jpg"),
        Path("clip.mp4"),
    ]
    for content in (b"", b"\n\n"):
        with pytest.raises(DataError, match="no image at -"):
            find_images(["-"], lines=io.BytesIO(content))
    assert find_images(["*"], videos=True) == [Path("a.jpg"), Path("b.jpg"), Path("clip.mp4")]
    assert find_images(["*"]) == [Path("a.jpg"), Path("b.jpg")]
    assert find_images(["."], videos=True) == [Path("a.jpg"), Path("b.jpg")]
    with pytest.raises(DataError, match=r"no image at clips: its videos are looked at .* named, 'clips/\*\.mp4'"):
        find_images(["clips"], videos=True)

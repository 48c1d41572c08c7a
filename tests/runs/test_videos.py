"""Frames of videos that PyAV made: their numbers, seconds and pixels, and what is said of damaged ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_builders import HEIGHT, RATE, WIDTH, bar_of, cut, frame_of, turn_clockwise, write_clip

from boxwright._util.ownership import is_ours
from boxwright.errors import BoxwrightError, DataError, WriteError
from boxwright.runs import videos
from boxwright.runs.videos import Frame, expected_frames, is_video, read_frames, write_video


def read_some(path: Path) -> tuple[list[Frame], str]:
    """All frames that can be read, and what is told at the end."""
    frames: list[Frame] = []
    try:
        for frame in read_frames(path):
            frames.append(frame)  # noqa: PERF402
    except DataError as error:
        return frames, str(error)
    return frames, ""


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.MKV", "libx264"), ("a.avi", "mpeg4")])
def test_each_frame_with_its_number_and_second(name: str, codec: str, tmp_path: Path) -> None:
    frames, told = read_some(write_clip(tmp_path / name, codec=codec))
    assert told == ""
    assert [frame.number for frame in frames] == list(range(30))
    assert [frame.seconds for frame in frames] == pytest.approx([number / RATE for number in range(30)])
    assert [bar_of(frame.pixels) for frame in frames] == list(range(30))
    assert np.abs(frames[7].pixels.astype(int) - frame_of(7)).mean() < 12
    assert expected_frames(tmp_path / name) == 30


def test_every_third_from_a_number_on(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    frames = list(read_frames(path, every=3, start=10))
    assert [frame.number for frame in frames] == [12, 15, 18, 21, 24, 27]
    assert [bar_of(frame.pixels) for frame in frames] == [12, 15, 18, 21, 24, 27]
    assert frames[0].seconds == pytest.approx(1.2)
    assert (expected_frames(path, 3), expected_frames(path, 7), expected_frames(path, 100)) == (10, 5, 1)


def test_a_telephone_held_upright(tmp_path: Path) -> None:
    frames = list(read_frames(turn_clockwise(write_clip(tmp_path / "a.mp4"))))
    assert frames[5].pixels.shape == (WIDTH, HEIGHT, 3)
    assert bar_of(np.rot90(frames[5].pixels)) == 5  # turned back


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_video_that_ends_early(share: float, tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")):
        path = cut(write_clip(tmp_path / name, 42, codec, faststart=True), share)
        frames, told = read_some(path)
        assert 3 < len(frames) < 42, name
        assert [bar_of(frame.pixels) for frame in frames[:3]] == [0, 1, 2]
        assert told.startswith(f"{path}: ")
        assert f"; {len(frames)} frames could be read" in told
        assert "it ends at" in told or "can't be decoded" in told


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 42)
    data = bytearray(path.read_bytes())
    start = len(data) // 2
    data[start : start + 900] = bytes(value ^ 0x5A for value in data[start : start + 900])
    path.write_bytes(data)
    frames, told = read_some(path)
    assert "of it can't be decoded" in told
    assert 20 < len(frames) < 42
    assert bar_of(frames[-1].pixels) == 41


def test_what_is_no_video(tmp_path: Path) -> None:
    for name, content in {"a.mp4": b"", "b.mp4": b"no video", "c.avi": bytes(5000)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: not a readable video"):
            next(read_frames(tmp_path / name))
        assert expected_frames(tmp_path / name) is None
    with pytest.raises(DataError, match="not a readable video"):
        next(read_frames(tmp_path / "nowhere.mp4"))
    cut(write_clip(tmp_path / "d.mp4"), 0.5)  # the index of an MP4 file comes last
    with pytest.raises(DataError, match=r"d\.mp4: not a readable video \(invalid data"):
        next(read_frames(tmp_path / "d.mp4"))


def test_frames_of_too_many_pixels_are_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 2)
    with pytest.raises(DataError, match=r"refused, frames of 96x64 pixels are more than 6143 \(max_pixels\)"):
        next(read_frames(path, max_pixels=WIDTH * HEIGHT - 1))
    assert len(list(read_frames(path, max_pixels=WIDTH * HEIGHT))) == 2


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for call in (lambda: next(read_frames(tmp_path / "a.mp4")), lambda: expected_frames(tmp_path / "a.mp4")):
        with pytest.raises(BoxwrightError, match=r"videos need PyAV: pip install 'boxwright\[video\]'"):
            call()


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_pictures_are_shown_at_their_seconds(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of odd sides, at uneven seconds, two of them at the same, and one of another size."""
    monkeypatch.setattr(videos, "_CODECS", (codec,))
    times = [0, 0.1, 0.1, 0.75, 2]
    pictures = [Image.fromarray(frame_of(5 * number)[:-1, :-1]) for number in range(5)]
    pictures[2] = pictures[2].resize((50, 40))
    write_video(tmp_path / "out.mp4", zip(times, pictures, strict=True), 2.5)
    frames = list(read_frames(tmp_path / "out.mp4"))
    assert [frame.seconds for frame in frames] == pytest.approx(times, abs=1e-3)
    assert {frame.pixels.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert [bar_of(frame.pixels) for frame in frames] == [0, 5, 10, 15, 20]
    assert is_ours(tmp_path / "out.mp4")
    assert not is_ours(write_clip(tmp_path / "people's.mp4"))


def test_no_picture_is_no_video_and_a_failure_leaves_none(tmp_path: Path) -> None:
    write_video(tmp_path / "out.mp4", [], 5)

    def failing() -> object:
        yield 0.0, Image.fromarray(frame_of(0))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_video(tmp_path / "out.mp4", failing(), 5)  # type: ignore[arg-type]
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(WriteError):
        write_video(tmp_path / "folder.mp4", [(0.0, Image.fromarray(frame_of(0)))], 5)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


def test_names_of_videos() -> None:
    assert all(map(is_video, ("a.mp4", "x/b.MOV", "c.d.webm")))
    assert not any(map(is_video, ("a.jpg", "mp4", ".mp4", "._a.mp4", "a.mp4.txt", "a.gif")))

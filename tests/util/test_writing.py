"""Files are written in one piece or not at all."""

import errno
import json
import os
from pathlib import Path

import pytest

from boxwright._util.writing import write_json, write_text, written_aside
from boxwright.errors import WriteError


def write_half(file: Path, error: Exception) -> None:
    with written_aside(file) as partial:
        partial.write_text("half")
        raise error


def test_what_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    write_text(file, "whole")
    with pytest.raises(RuntimeError):
        write_half(file, RuntimeError())
    assert file.read_text() == "whole"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_full_disk_is_one_line_with_path_and_cure(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    with pytest.raises(WriteError, match=r"can't write .*page\.html: no space left on device: free some space"):
        write_half(file, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)))
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(WriteError, match=r"can't write .*recipe\.yaml"):
        write_text(tmp_path / "run" / "recipe.yaml", "")
    assert (tmp_path / "run").read_text() == "mine"


def test_names_that_are_no_utf8_survive_json(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"name": os.fsdecode(b"caf\xe9.jpg")})
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == {"name": os.fsdecode(b"caf\xe9.jpg")}


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "link.json").symlink_to("results/a.json")
    write_text(tmp_path / "link.json", "one")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "results" / "a.json").read_text() == "one"


def test_a_pipe_is_written_straight_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    with pytest.raises(WriteError, match="pipe: it is a pipe that nobody reads"):
        write_text(pipe, "to nobody")
    assert os.listdir(tmp_path) == ["pipe"]
    with pytest.raises(WriteError, match="it is no regular file"), written_aside(pipe):
        pass
    assert pipe.is_fifo()


def test_the_longest_name_that_a_file_system_takes(tmp_path: Path) -> None:
    file = tmp_path / ("é" * 125 + ".json")  # 255 bytes
    write_text(file, "x")
    assert file.read_text() == "x"
    with pytest.raises(WriteError, match="file name too long"):
        write_text(tmp_path / ("x" * 256), "x")
    assert os.listdir(tmp_path) == [file.name]

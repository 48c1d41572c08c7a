"""What boxwright wrote may be replaced, what people wrote may not."""

import json
from pathlib import Path

import pytest

from boxwright._util.ownership import GENERATOR, claim, is_marked, is_ours, mark_folder
from boxwright.errors import WriteError


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        ("", True),
        ("[]\n", True),
        (json.dumps({"generator": GENERATOR, "images": []}), True),
        (json.dumps([{"generator": GENERATOR, "image_id": 1}], indent=2), True),
        (f'<!doctype html><meta name="generator" content="{GENERATOR}">', True),
        ('{"images": []}', False),
        ("<html>boxwright</html>", False),
    ],
)
def test_a_file_says_who_wrote_it(tmp_path: Path, content: str, ours: bool) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    assert is_ours(file) is ours
    if ours:
        claim(file)
    else:
        with pytest.raises(WriteError, match=r"file is there, and boxwright didn't write it: .* --overwrite"):
            claim(file)
        claim(file, overwrite=True)


def test_what_a_command_reads_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps({"generator": GENERATOR}))
    (tmp_path / "link.json").symlink_to("train.json")
    with pytest.raises(WriteError, match=r"link\.json is read by this very command"):
        claim(tmp_path / "link.json", overwrite=True, inputs=[tmp_path / "train.json"])


def test_new_files_and_marked_folders(tmp_path: Path) -> None:
    claim(tmp_path / "new.json")
    assert not is_marked(tmp_path)
    mark_folder(tmp_path / "run", "run")
    assert is_marked(tmp_path / "run")
    with pytest.raises(WriteError, match="it is a folder"):
        claim(tmp_path / "run", overwrite=True)

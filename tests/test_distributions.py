"""What is in the wheels and sdists, and that an sdist builds the same wheel as the tree."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("build", reason="build is not installed: pip install boxwright[release]")
pytest.importorskip("hatch_vcs", reason="hatch-vcs is not installed: pip install boxwright[release]")

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "boxwright"
FOLDERS = {"boxwright": ROOT, "boxwright_runtime": ROOT / "packaging" / "runtime"}


class Built(NamedTuple):
    sdist: set[str]
    wheel: zipfile.ZipFile
    same: bool

    def metadata(self) -> Message:
        [name] = [name for name in self.wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(self.wheel.read(name).decode())

    def packed(self) -> set[str]:
        """Files of the package, without those of the metadata."""
        return {name for name in self.wheel.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module", params=FOLDERS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A distribution: sdist, the wheel that it builds, and whether the tree builds the same."""
    out, direct = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("direct")
    for arguments in (["--outdir", out], ["--wheel", "--outdir", direct]):
        command = [sys.executable, "-m", "build", "--no-isolation", *map(str, arguments), str(FOLDERS[request.param])]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    [sdist], [wheel], [other] = out.glob("*.tar.gz"), out.glob("*.whl"), direct.glob("*.whl")
    assert sdist.name.startswith(f"{request.param}-")
    with tarfile.open(sdist) as file:
        names = {member.name.partition("/")[2] for member in file.getmembers() if member.isfile()}
        assert not [member.name for member in file.getmembers() if member.issym() or member.islnk()]
    return Built(names, zipfile.ZipFile(wheel), wheel.read_bytes() == other.read_bytes())


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if "__pycache__" not in name}


@pytest.mark.slow
def test_sdist_and_tree_build_the_same_wheel(built: Built) -> None:
    assert built.same


@pytest.mark.slow
@pytest.mark.parametrize("built", ["boxwright"], indirect=True)
def test_the_wheel_has_the_package_and_nothing_else(built: Built) -> None:
    assert built.packed() == {f"boxwright/{name}" for name in files(SOURCES)}
    assert {"boxwright/py.typed", "boxwright/report/style.css", "boxwright/inspect/inspect.js"} <= built.packed()


@pytest.mark.slow
@pytest.mark.parametrize("built", ["boxwright"], indirect=True)
def test_the_sdist_has_what_is_needed_to_test_and_document(built: Built) -> None:
    folders = ("src", "tests", "docs", "examples", "benchmarks", "tools", "packaging")
    assert {f"{folder}/{name}" for folder in folders for name in files(ROOT / folder)} - built.sdist == set()
    assert {"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "CITATION.cff", "Makefile", "mkdocs.yml"} <= built.sdist
    tops = {name.split("/")[0] for name in built.sdist}
    assert not tops & {".venv", ".git", "site", "dist", "runs", ".github", ".mypy_cache"}


@pytest.mark.slow
@pytest.mark.parametrize("built", ["boxwright_runtime"], indirect=True)
def test_the_runtime_has_a_part_of_the_package_and_no_training(built: Built) -> None:
    assert "boxwright/runtime/predictor.py" in built.packed()
    assert built.packed() < {f"boxwright/{name}" for name in files(SOURCES)}
    assert not [name for name in built.packed() if name.startswith(("boxwright/training", "boxwright/models"))]
    assert {f"src/{name}" for name in built.packed()} < built.sdist


@pytest.mark.slow
def test_licence_types_and_addresses_come_along(built: Built) -> None:
    said = built.metadata()
    for name in ("LICENSE", "NOTICE"):
        [packed] = [each for each in built.wheel.namelist() if each.endswith(f".dist-info/licenses/{name}")]
        assert built.wheel.read(packed) == (ROOT / name).read_bytes()
        assert name in built.sdist
    assert "boxwright/py.typed" in built.packed()
    assert said["License-Expression"] == "Apache-2.0"
    assert {line.split(", ")[0] for line in said.get_all("Project-URL", [])} >= {"Homepage", "Changelog", "Issues"}


@pytest.mark.slow
def test_the_page_on_the_index_leads_nowhere_but_to_addresses(built: Built) -> None:
    page = built.metadata().get_payload()
    assert isinstance(page, str)
    links = re.findall(r"\]\((.*?)\)", page)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    if built.metadata()["Name"] == "boxwright":
        assert "\npip install boxwright " in page
        assert "pip install . " not in page
        here = [link.partition("/main/")[2].partition("#")[0] for link in links if "/boxwright/boxwright/" in link]
        assert [path for path in here if not (ROOT / path).exists()] == []

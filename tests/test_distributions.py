"""What is in the wheels and sdists, and that an sdist builds the same wheel as the tree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from email import message_from_string
from email.message import Message
from importlib.metadata import distribution, requires
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from export_runs import lively_run
from packaging.requirements import Requirement
from PIL import Image

from boxwright.export import export_run

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
        assert "\npip install 'boxwright[export]' " in page
        assert "pip install '." not in page
        here = [link.partition("/main/")[2].partition("#")[0] for link in links if "/boxwright/boxwright/" in link]
        assert [path for path in here if not (ROOT / path).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("built", ["boxwright_runtime"], indirect=True)
def test_the_runtime_predicts_where_torch_is_not_installed(built: Built, tmp_path: Path) -> None:
    """An environment that has the wheel and what it requires, linked from here, and nothing else."""
    run = lively_run(tmp_path / "run", "tiny-detector")
    model = export_run(run.folder, tmp_path / "out").file
    venv.create(tmp_path / "env", with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    built.wheel.extractall(packages)
    for name in required(built.metadata().get_all("Requires-Dist", [])):
        for top in {
            file.parts[0] for file in distribution(name).files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            (packages / top).symlink_to(distribution(name).locate_file(top))
    picture = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save(picture)
    python = next((tmp_path / "env").glob("*/python"))
    done = subprocess.run([python, "-c", PREDICT, model, picture], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (expected,) = run.load().predict(picture)
    np.testing.assert_allclose(json.loads(done.stdout), expected.boxes.numpy(), atol=0.01)


PREDICT = """
import json, sys
from importlib.util import find_spec
from boxwright.runtime import Predictor
assert find_spec("torch") is None
print(json.dumps(Predictor(sys.argv[1])(sys.argv[2])[0].boxes.tolist()))
"""


def required(requirements: Iterable[str]) -> set[str]:
    """Names of installed distributions that these requirements, without extras, bring."""
    found: set[str] = set()
    for each in map(Requirement, requirements):
        if each.name not in found and (each.marker is None or each.marker.evaluate({"extra": ""})):
            found |= {each.name} | required(requires(each.name) or ())
    return found

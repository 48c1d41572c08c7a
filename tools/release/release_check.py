"""Build what a release would publish, and try it: `make release-check`.

python tools/release/release_check.py [--out DIR] [PYTHON ...]

The tree must be clean, and CHANGELOG.md, CITATION.cff and the tag, if there is one already, must agree. Both
distributions are built and checked. Each PYTHON then installs the wheels into a fresh environment, removed afterwards,
and uses them; the first one also installs boxwright's sdist. A PYTHON is a version, a name or a path, as uv takes it;
UV_ARGS in the environment holds more arguments for `uv pip install`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from release_faults import faults, newest_version

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
_UV = (sys.executable, "-m", "uv")
_ENDS = ("-py3-none-any.whl", ".tar.gz")
_TAIL = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks; the exit code is 1 at the first that fails."""
    parser = argparse.ArgumentParser(description="Build what a release would publish, and try it.")
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="try the distributions with it; default: none")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the distributions go; default dist/")
    options = parser.parse_args(arguments)
    try:
        version = check_tree(ROOT)
        built = build(version, options.out.resolve())
        try_all(options.pythons, version, built)
    except ReleaseError as error:
        print(f"release-check: {error}", file=sys.stderr)
        return 1
    tag = "" if _is_tagged(version) else f"git tag v{version} && "
    print(f"release-check: {version} is ready. To publish it: {tag}git push origin v{version}")
    return 0


class ReleaseError(Exception):
    """What stands in the way of a release."""


def check_tree(root: Path) -> str:
    """Return the version to be released. Raises ReleaseError where tree, files and tags disagree."""
    try:
        version, found = newest_version(root), faults(root)
    except ValueError as error:
        raise ReleaseError(str(error)) from None
    changed = _git(root, "status", "--porcelain")
    if changed:
        found.append(f"the tree isn't clean: commit or remove\n{changed}")
    here = [tag for tag in _git(root, "tag", "--points-at", "HEAD").split() if tag.startswith("v")]
    if here and here != [f"v{version}"]:
        found.append(f"this commit has the tag {', '.join(here)}, but CHANGELOG.md begins with {version}")
    if not here and _git(root, "tag", "--list", f"v{version}"):
        found.append(f"v{version} is the tag of another commit: begin a new version in CHANGELOG.md")
    if found:
        raise ReleaseError("\n".join(["not ready", *(f"- {fault}" for fault in found)]))
    print(f"The tree is clean; CHANGELOG.md and CITATION.cff say {version}.")
    return version


def build(version: str, out: Path) -> list[Path]:
    """Build both distributions into ``out``, the wheels from the sdists, and check their metadata."""
    for old in out.glob("boxwright*"):
        old.unlink()
    # Without the tag, it is built as it will be with it.
    env = dict(os.environ) if _is_tagged(version) else {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": version}
    for folder in (ROOT, ROOT / "packaging" / "runtime"):
        _run([sys.executable, "-m", "build", "--outdir", str(out), str(folder)], env=env)
    names = [f"{name}-{version}{end}" for name in ("boxwright", "boxwright_runtime") for end in _ENDS]
    built = sorted(path for path in out.iterdir() if path.name.startswith("boxwright"))
    if sorted(names) != [path.name for path in built]:
        raise ReleaseError(f"expected {', '.join(names)} in {out} but got {', '.join(path.name for path in built)}")
    _run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)])
    for path in built:
        print(f"{path.name}: {path.stat().st_size / 1e3:,.0f} kB, accepted by twine check --strict")
    return [out / name for name in names]


def try_all(pythons: Sequence[str], version: str, built: Sequence[Path]) -> None:
    """Try the distributions with each Python that is there. Raises ReleaseError if there is none of those named."""
    here = [python for python in pythons if _is_here(python)]
    for python in pythons:
        if python not in here:
            print(f"Python {python} isn't here: NOT TRIED (uv python install {python} gets it)")
    if pythons and not here:
        raise ReleaseError(f"none of {', '.join(pythons)} is here: name one with PYTHONS=/path/to/python3.12")
    wheel, sdist, runtime, _ = built
    for python in here:
        with TemporaryDirectory(prefix="boxwright-release-") as folder:
            _try_wheels(python, Path(folder), version, wheel, runtime)
    for python in here[:1]:
        with TemporaryDirectory(prefix="boxwright-release-") as folder:
            environment = _install(python, Path(folder) / "sdist", str(sdist))
            _use(environment, "names.py", version, cwd=Path(folder))


def _is_here(python: str) -> bool:
    return subprocess.run([*_UV, "python", "find", "--no-project", python], capture_output=True).returncode == 0


def _try_wheels(python: str, folder: Path, version: str, wheel: Path, runtime: Path) -> None:
    environment = _install(python, folder / "wheel", f"{wheel}[demo,export]")
    _use(environment, "names.py", version, cwd=folder)
    _use(environment, "demo.py", cwd=folder)
    without_torch = _install(python, folder / "runtime", str(runtime))
    _use(without_torch, "exported.py", version, "demo/model/model.onnx", "demo/data/images/test", cwd=folder)


def _install(python: str, venv: Path, what: str) -> Path:
    """Make a fresh environment that holds a distribution; returns its Python."""
    started = time.monotonic()
    _run([*_UV, "venv", "--quiet", "--no-project", "--python", python, str(venv)])
    inside = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    more = shlex.split(os.environ.get("UV_ARGS", ""))
    _run([*_UV, "pip", "install", "--quiet", "--python", str(inside), *more, what])
    _run([*_UV, "pip", "check", "--python", str(inside)])
    size = sum(file.stat().st_size for file in venv.rglob("*") if file.is_file() and not file.is_symlink())
    name = Path(what).name
    print(f"Python {python}: {name} installed, {size / 1e9:.2f} GB, {time.monotonic() - started:.0f} s", flush=True)
    return inside


def _use(python: Path, script: str, *arguments: str, cwd: Path) -> None:
    # In isolated mode the sources that PYTHONPATH or the current folder lead to don't count.
    print(_run([str(python), "-I", str(HERE / "use" / script), *arguments], cwd=cwd).rstrip(), flush=True)


def _run(command: list[str], cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command, and return what it printed. Raises ReleaseError with the end of that if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-_TAIL:])
        raise ReleaseError(f"exit code {done.returncode} of {shlex.join(command)}\n{end}")
    return done.stdout


def _git(root: Path, *arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=root, text=True, capture_output=True, check=True).stdout.rstrip()
    except FileNotFoundError:
        raise ReleaseError("git isn't installed") from None
    except subprocess.CalledProcessError as error:
        raise ReleaseError(f"git {arguments[0]}: {error.stderr.strip()}") from None


def _is_tagged(version: str) -> bool:
    return f"v{version}" in _git(ROOT, "tag", "--points-at", "HEAD").split()


if __name__ == "__main__":
    sys.exit(main())

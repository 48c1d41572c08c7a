"""Run a short demo in ./demo, predict with its run, and export it."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path


def main() -> None:
    """Raise where a command fails or leaves nothing behind."""
    run, pictures, found = Path("demo/run"), "demo/data/images/test/test-000*.jpg", Path("demo/found")
    _boxwright("demo", "--minutes", "0.3", "--out", "demo")
    assert (run / "report.html").is_file()
    _boxwright("predict", run, pictures, "--out", found, "--save-images")
    detections = json.loads((found / "detections.json").read_text(encoding="utf-8"))
    assert detections
    assert list(found.rglob("*.jpg"))
    _boxwright("export", run, "--out", "demo/model")
    print(f"  demo, predict ({len(detections)} detections) and export ran")


def _boxwright(*arguments: object) -> None:
    command = [str(Path(sysconfig.get_path("scripts")) / "boxwright"), *map(str, arguments)]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode} of {' '.join(command)}\n{done.stdout}")


if __name__ == "__main__":
    main()

"""Run the benchmarks of the CPU, write benchmarks/results/, and make the pages from it: about half an hour.

    python benchmarks/all.py [NAME ...]

Names are those of SCRIPTS below; each is measured alone, and the others' results stay. Nothing else should run on the
machine: CPU time forgives other programs, but they still share caches and memory.
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from page import RESULTS, write

# name of the result: the script with its options; what is missing here needs data or minutes of training
SCRIPTS = {
    "evaluate": ("evaluate.py",),
    "intervals": ("intervals.py",),
    "read_coco": ("read_coco.py",),
    "input": ("input.py",),
    "step": ("step.py",),
    "step-2": ("step.py", "--threads", "2", "--only", "default"),
    "train_step": ("train_step.py",),
    "predict": ("predict.py",),
    "runtime": ("runtime.py",),
    "start": ("start.py", "--rounds", "5"),
    "matching": ("matching.py",),
    "focal": ("focal.py",),
    "losses": ("losses.py",),
    "ssd_loss": ("ssd_loss.py",),
    "nms": ("nms.py",),
    "models": ("models.py",),
    "memory": ("memory.py",),
    "growth": ("growth.py",),
}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCRIPTS))
    names = parser.parse_args().names or list(SCRIPTS)
    if unknown := set(names) - set(SCRIPTS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        script, *options = SCRIPTS[name]
        start = time.perf_counter()
        print(f"{name}", flush=True)
        command = [sys.executable, str(Path(__file__).with_name(script)), *options]
        subprocess.run([*command, "--json", str(RESULTS / f"{name}.json")], check=True)
        print(f"({(time.perf_counter() - start) / 60:.1f} minutes)", flush=True)
    write()


if __name__ == "__main__":
    main()

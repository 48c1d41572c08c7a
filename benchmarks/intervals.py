"""CPU time and memory of the intervals that eval prints: 1,000 resamples of 5,000 images with 80 classes.

    python benchmarks/intervals.py

It is to take at most 10 s of one core's time, for AP, AP50 and AP75 over all classes and of each. There is no peer.
"""

from __future__ import annotations

import resource
from argparse import Namespace
from collections.abc import Iterator

from turns import Row, arguments, cpu_seconds, run

from boxwright.evaluate import detection_metrics, score_intervals
from evaluate import split

LIMIT = 10.0
# images, detections in each, classes, objects in each
CASES = {"5,000 images x 100 detections, 80 classes": (5000, 100, 80, 7)}


def rows(options: Namespace) -> Iterator[Row]:
    for name, (images, detections, classes, per_image) in CASES.items():
        if options.only not in (None, name):
            continue
        columns, targets = split(images, detections, classes, per_image)
        table = detection_metrics(columns, targets, [str(label) for label in range(classes)])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = cpu_seconds()
        low, high = score_intervals(table.matches)["AP"].overall
        seconds = cpu_seconds() - start
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if seconds > LIMIT:
            raise SystemExit(f"{name}: {seconds:.1f} s, more than {LIMIT:g}")
        yield Row(name, seconds, unit="s", note=f"+{memory:.0f} MiB; AP {table.AP:.4f} [{low:.4f}, {high:.4f}]")


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=1, cases=CASES))

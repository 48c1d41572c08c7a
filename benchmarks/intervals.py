"""CPU time and memory of the intervals that eval prints: 1,000 resamples of 5,000 images with 80 classes.

    OMP_NUM_THREADS=1 python benchmarks/intervals.py

It is to take at most 10 s of one core's time, for AP, AP50 and AP75 over all classes and of each.
"""

from __future__ import annotations

import resource
import time

from boxwright.evaluate import detection_metrics, score_intervals
from evaluate import CASES, split

LIMIT = 10.0


def main() -> None:
    slowest = 0.0
    for name, (images, detections, classes, per_image) in CASES.items():
        columns, targets = split(images, detections, classes, per_image)
        table = detection_metrics(columns, targets, [str(label) for label in range(classes)])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        low, high = score_intervals(table.matches)["AP"].overall
        seconds = time.process_time() - start
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        slowest = max(slowest, seconds)
        print(
            f"{name}: {seconds:.1f} s of CPU (+{memory:.0f} MB); AP {table.AP:.4f} [{low:.4f}, {high:.4f}]", flush=True
        )
    if slowest > LIMIT:
        raise SystemExit(f"more than {LIMIT:g} s")


if __name__ == "__main__":
    main()

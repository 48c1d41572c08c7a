"""Load on `boxwright serve`: requests a second, how long they take, and whether memory grows.

    python benchmarks/serve.py model.onnx photos/ --requests 20000 --clients 8

The server is a process of its own, the clients are threads of another: both share the machine's cores, so that the
figures are a lower bound. Unlike those of the other benchmarks they are by the clock, and mean something only where
nothing else runs. Memory is what the server's /metrics says, after a tenth of the requests and at the end.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from boxwright.environment import environment_line


class Answered(NamedTuple):
    """What became of some requests."""

    seconds: list[float]
    statuses: Counter[int]


@contextmanager
def serving(model: Path, *options: str) -> Iterator[int]:
    """Serve a model while the block runs; yields the port."""
    command = [sys.executable, "-m", "boxwright", "serve", str(model), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield int(line.partition("http://127.0.0.1:")[2].partition("/")[0])
        finally:
            process.terminate()


def ask(port: int, images: list[bytes], requests: int) -> Answered:
    """One client: a request after the other on one connection."""
    found = Answered([], Counter())
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for place in range(requests):
            started = time.perf_counter()
            connection.request("POST", "/predict", images[place % len(images)])
            answer = connection.getresponse()
            answer.read()
            found.seconds.append(time.perf_counter() - started)
            found.statuses[answer.status] += 1
    return found


def load(port: int, images: list[bytes], requests: int, clients: int) -> tuple[Answered, float]:
    """All clients at a time; what became of their requests, and the seconds that they took together."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = [pool.submit(ask, port, images, requests // clients) for _ in range(clients)]
        answered = [part.result() for part in parts]
    taken = time.perf_counter() - started
    seconds = [each for part in answered for each in part.seconds]
    return Answered(seconds, sum((part.statuses for part in answered), Counter[int]())), taken


def memory(port: int) -> float:
    """MiB of the server's process."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes ")) / 2**20


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, help="a folder of JPEGs")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    images = [path.read_bytes() for path in sorted(options.images.glob("*.jpg"))[:100]]
    print(environment_line(), flush=True)
    with serving(options.model) as port:
        load(port, images, options.requests // 10, options.clients)
        before = memory(port)
        answered, taken = load(port, images, options.requests, options.clients)
        after = memory(port)
    middle, last = np.percentile(answered.seconds, [50, 99]) * 1000
    print(
        f"{len(answered.seconds):,} requests of {options.clients} clients: {len(answered.seconds) / taken:.1f} a second"
    )
    print(f"p50 {middle:.0f} ms, p99 {last:.0f} ms; by status {dict(answered.statuses)}")
    print(f"memory {before:.0f} MiB after {options.requests // 10:,} requests, {after:.0f} MiB at the end")


if __name__ == "__main__":
    main()

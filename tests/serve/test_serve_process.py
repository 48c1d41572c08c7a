"""A server in a process of its own, and clients that are slow, leave, or send nonsense."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from made_up_model import picture

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")

PATIENCE = 0.5
PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from made_up_model import MadeUp
from boxwright.serve import Limits, server

class Slow(MadeUp):
    def predict_inputs(self, inputs, score=None):
        time.sleep(0.3)
        return super().predict_inputs(inputs, score)

server.Predictor = lambda model, threads: Slow()
limits = Limits(patience={PATIENCE}, queue=3, batch=1, images=3)
server.serve("model.onnx", port=0, limits=limits, started=lambda address: print(address, flush=True))
print("stopped", flush=True)
"""


class Running:
    """The process and where it listens."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def ask(self, path: str = "/health", body: bytes | None = None) -> tuple[int, str]:
        """Status and text of an answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET" if body is None else "POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def connect(self, sent: bytes) -> socket.socket:
        """A connection on which that has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(sent)
        return connection

    def count(self, line: str) -> float:
        """A number of /metrics."""
        found = [float(each.rpartition(" ")[2]) for each in self.ask("/metrics")[1].splitlines() if line in each]
        return found[0] if found else 0


@pytest.fixture
def server() -> Iterator[Running]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        assert address.startswith("http://127.0.0.1:")
        try:
            yield Running(process, int(address.rpartition(":")[2]))
        finally:
            process.kill()


def head(length: int) -> bytes:
    return f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.mark.slow
def test_clients_that_are_slow_leave_or_send_nonsense(server: Running) -> None:
    started = time.monotonic()
    with closing(server.connect(b"POST /predict HTTP/1.1\r\nHo")) as slow_head, closing(server.connect(b"")) as silent:
        assert slow_head.recv(100) == silent.recv(100) == b""
    with closing(server.connect(head(100) + b"x")) as slow_body:
        assert slow_body.recv(100).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started > PATIENCE
    with closing(server.connect(b"\x00\x01 nonsense\r\n\r\n")) as nonsense:
        assert nonsense.recv(100).startswith(b"HTTP/1.1 400 ")
    server.connect(head(100) + b"x").close()  # within its body
    _until(lambda: server.count('requests_total{status="499"}') == 1)
    content = picture()
    found = server.count('images_total{outcome="found"}')
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(server.ask, "/predict", content)
        _until(lambda: '"images":1' in server.ask()[1])
        server.connect(head(len(content)) + content).close()  # while it waits for its turn
        assert other.result()[0] == 200
    _until(lambda: server.count('requests_total{status="499"}') == 2)
    assert server.ask("/predict", content)[0] == 200
    assert server.count('images_total{outcome="found"}') == found + 2, "it was computed for nobody"
    assert server.ask() == (200, '{"status":"ok","images":0}')


@pytest.mark.slow
def test_full_recovers_and_sigterm_lets_requests_end(server: Running) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = [each.result()[0] for each in [pool.submit(server.ask, "/predict", picture()) for _ in range(12)]]
    assert set(answers) == {200, 503}
    assert server.ask("/predict", picture())[0] == 200
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(server.ask, "/predict", picture())
        _until(lambda: '"images":1' in server.ask()[1])
        server.process.send_signal(signal.SIGTERM)
        assert last.result()[0] == 200
    assert server.process.wait(30) == -signal.SIGTERM or server.process.returncode == 0


def _until(true: object) -> None:
    for _ in range(600):
        if true():  # type: ignore[operator]
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")

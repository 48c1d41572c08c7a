"""How the benchmarks measure: turns, ratios and their intervals, processes of their own; and the page made of it."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import all as every  # noqa: E402
import page  # noqa: E402
import turns  # noqa: E402
from turns import Row  # noqa: E402


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The CPU seconds that have gone by, for calls to add to."""
    now = [0.0]
    monkeypatch.setattr(turns, "cpu_seconds", lambda: now[0])
    return now


class Taking:
    """A call that takes these seconds, one after the other; it notes that it was called."""

    def __init__(self, name: str, clock: list[float], seconds: list[float], called: list[str]) -> None:
        self.name, self.clock, self.seconds, self.called = name, clock, iter(seconds), called

    def __call__(self) -> None:
        self.called.append(self.name)
        self.clock[0] += next(self.seconds)


def test_sides_take_turns_and_the_first_calls_do_not_count(clock: list[float]) -> None:
    called: list[str] = []
    sides = {"a": Taking("a", clock, [9, 1, 2, 3], called), "b": Taking("b", clock, [9, 4, 5, 6], called)}
    assert turns.take_turns(sides, rounds=3) == {"a": [1, 2, 3], "b": [4, 5, 6]}
    assert called == ["a", "b", *"ababab"]


def test_a_short_call_is_repeated_within_its_turn(clock: list[float]) -> None:
    called: list[str] = []
    sides = {"a": Taking("a", clock, [0.5, *[0.01] * 11], called)}
    seconds = turns.take_turns(sides, rounds=2, least=0.05)
    assert seconds["a"] == pytest.approx([0.01, 0.01])
    assert len(called) == 2 + 2 * 5


def test_a_ratio_is_that_of_each_round(clock: list[float]) -> None:
    sides = {"ours": Taking("ours", clock, [9, 1, 2, 4], [])}
    peer = Taking("peer", clock, [9, 3, 2, 40], [])
    (row,) = turns.compare(Namespace(rounds=3), sides, peer, unit="s")
    assert row == Row("ours", 2, 3, (3, 1, 10), "s")


def test_a_rate_counts_items_and_more_is_better(clock: list[float]) -> None:
    sides = {"ours": Taking("ours", clock, [9, 2, 2], [])}
    (row,) = turns.compare(Namespace(rounds=2), sides, Taking("peer", clock, [9, 4, 4], []), unit="images/s", items=8)
    assert row == Row("ours", 4, 2, (2, 2, 2), "images/s")


def test_without_a_peer_there_is_no_ratio(clock: list[float]) -> None:
    (row,) = turns.compare(Namespace(rounds=2), {"ours": Taking("ours", clock, [9, 2, 2], [])})
    assert row == Row("ours", 2000)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 8, 9, 15, 40])
def test_the_interval_encloses_the_median_at_95_percent_and_no_more_than_needed(count: int) -> None:
    middle, low, high = turns.median_interval(list(range(count))[::-1])
    assert middle == np.median(range(count))
    assert low == count - 1 - high
    coverage = [sum(math.comb(count, i) for i in range(k + 1, count - k)) / 2**count for k in range(count + 1)]
    assert low == 0 or coverage[int(low)] >= 0.95
    assert coverage[int(low) + 1] < 0.95


def test_a_process_gives_its_own_time_memory_and_words() -> None:
    held = b"1" * (300 << 20)  # which a child's peak would begin with
    code = "import time; x = b'1' * (150 << 20)\nwhile time.process_time() < .3: pass\nprint('done')"
    used = turns.child(sys.executable, "-S", "-c", code)
    assert used.output == "done\n"
    assert 150 < used.mebibytes < 250 < len(held)
    assert 0.29 < used.seconds < 5


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 3:.*so it is"):
        turns.child(sys.executable, "-S", "-c", "import sys; print('so it is', file=sys.stderr); sys.exit(3)")


def test_time_of_children_counts_and_sleep_does_not() -> None:
    start = turns.cpu_seconds()
    code = "import time; time.sleep(1)\nwhile time.process_time() < .2: pass"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
    assert 0.19 < turns.cpu_seconds() - start < 0.9


def test_a_script_prints_its_rows_and_writes_them(tmp_path: Path) -> None:
    script = tmp_path / "made.py"
    script.write_text(
        "import os, torch\n"
        "from turns import Row, apart, arguments, run\n"
        "def rows(options):\n"
        "    yield Row('threads', torch.get_num_threads(), note=os.environ['OMP_WAIT_POLICY'])\n"
        "    yield Row('apart', apart('4', '5'))\n"
        "run(rows, arguments('What it does.', rounds=2), alone=lambda a, b: int(a) * int(b))\n"
    )
    paths = [str(BENCHMARKS), str(BENCHMARKS.parent / "src")]
    command = ["env", f"PYTHONPATH={':'.join(paths)}", sys.executable, str(script)]
    written = tmp_path / "rows.json"
    done = subprocess.run(
        [*command, "--threads", "2", "--json", str(written)], capture_output=True, text=True, check=True
    )
    assert re.search(r"apart +20\.0 ms", done.stdout)
    content = json.loads(written.read_text())
    assert [Row(**row) for row in content["rows"]] == [
        Row("threads", 2, threads=2, note="passive"),
        Row("apart", 20, threads=2),
    ]
    assert {"processor", "cores", "torch"} <= set(content["machine"])


def result(*rows: Row) -> dict[str, Any]:
    machine = {"processor": "Abacus", "cores": 10, "torch": "2.6"}
    return {"date": "2026-01-02", "machine": machine, "rows": [row._asdict() for row in rows]}


def test_a_table_of_the_page() -> None:
    rows = Row("sum", 0.5, 1.0, (2.0, 1.95, 2.125)), Row("product", 1234.5, threads=2, note="slow")
    assert page.table(result(*rows)).splitlines() == [
        "| | boxwright | peer | ratio | |",
        "|---|---|---|---|---|",
        "| sum | 0.50 ms | 1.00 ms | 2.00 (1.95 to 2.12) | |",
        "| product, 2 threads | 1,234 ms | | | slow |",
        "",
        "(2026-01-02: Abacus, 10 cores; torch 2.6)",
    ]


def test_columns_without_a_figure_are_left_out() -> None:
    assert page.table(result(Row("sum", 0.5, unit="s"))).splitlines()[:3] == [
        "| | boxwright |",
        "|---|---|",
        "| sum | 0.50 s |",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0123, "0.012"), (0.1, "0.10"), (9.994, "9.99"), (10, "10.0"), (1e5, "100,000")],
)
def test_figures(value: float, shown: str) -> None:
    assert turns.number(value) == shown


@pytest.mark.parametrize("template", page.PAGES, ids=lambda template: template.name)
def test_a_page_is_what_the_command_makes_of_the_results(template: Path) -> None:
    assert page.PAGES[template].read_text(encoding="utf-8") == page.render(template), "python benchmarks/page.py"


def test_every_benchmark_that_is_run_has_its_place_on_the_page() -> None:
    templates = "".join(template.read_text(encoding="utf-8") for template in page.PAGES)
    for name, (script, *_) in every.SCRIPTS.items():
        assert f"{{{{ {name.removesuffix('-2')} }}}}" in templates
        assert (BENCHMARKS / script).is_file()
    assert {path.stem for path in page.RESULTS.glob("*.json")} <= {*every.SCRIPTS, "gpu"}


def test_every_script_takes_the_options_of_all() -> None:
    for script in {script for script, *_ in every.SCRIPTS.values()}:
        source = (BENCHMARKS / script).read_text(encoding="utf-8")
        assert "arguments(__doc__" in source
        assert "perf_counter" not in source

"""The page of a comparison: the answer, the evidence for it, and nothing that is loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import pytest

from boxwright.compare.results.forest import ForestRow, forest, signed
from boxwright.compare.results.page import write_comparison
from boxwright.compare.results.results import Arm, Comparison, RunResult
from boxwright.compare.results.statistics import ONE_SEED, Difference
from html_tree import Tree

NASTY = "<script>alert('x')</script> & \"quotes\""
BETTER = Difference(0.031, 0.012, 0.05, 0.95, 0.002, "better", 0.004, 0.003, 2)
LESS = Difference(0.021, 0.002, 0.04, 0.95, 0.03, "better", 0.004, 0.003, 2)
WORSE = Difference(-0.04, -0.06, -0.02, 0.95, 0.001, "worse", 0.004, 0.003, 2)
ALIKE = Difference(0.005, -0.014, 0.024, 0.95, 0.7, "no detectable difference", 0.004, 0.003, 2)
SINGLE = Difference(0.05, nan, nan, 0.95, nan, "no detectable difference", nan, 0.004, 1, ONE_SEED)


def run(arm: str, seed: int, ap: float) -> RunResult:
    metrics = {"AP": ap, "AP50": ap + 0.3, "AP75": ap + 0.1, "APs": nan, "APm": 0.4, "APl": 0.6}
    classes = {"cat": {"AP": ap - 0.1}, NASTY: {"AP": nan}}
    return RunResult(
        arm, seed, metrics, classes, {"localization": 0.5 - ap / 2, "missed": 0.01}, 330, 8.25, 1234.5, 312
    )


def comparison(
    differences: Mapping[str, Difference], *, seeds: int = 2, facts: dict[str, Any] | None = None
) -> Comparison:
    """A baseline at AP .5 and .52, and arms above it by their difference."""
    arms = [Arm("smooth_l1", {"box_loss": "smooth_l1"}, baseline=True), *(Arm(name, {}) for name in differences)]
    gains = {"smooth_l1": 0.0, **{name: each.mean for name, each in differences.items()}}
    runs = [run(name, seed, 0.5 + 0.02 * seed + gain) for name, gain in gains.items() for seed in range(seeds)]
    return Comparison("lite320 on cats", arms, runs, differences, facts or {})


def words(markup: str) -> str:
    return re.sub(r"\s+", " ", Tree(markup).text).strip()


def page(folder: Path, content: Comparison) -> Tree:
    return Tree(write_comparison(folder / "deep" / "compare.html", content).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    facts = {
        "steps": 312,
        "data": {"validation images": 87, NASTY: NASTY},
        "command": f"boxwright compare {NASTY}",
        "environment": "boxwright 0.1",
        "tier note": "an approximation",
        "test": {"arm": "eiou", "mean": {"AP": 0.123, "AP50": 0.2, "AP75": 0.1, "APs": nan, "APm": 0.1, "APl": 0.2}},
    }
    content = comparison({"eiou": BETTER, NASTY: WORSE, "giou": ALIKE}, facts=facts)
    failed = RunResult("broken", 0, {}, {}, {}, 0.0, 0.0, 0.0, 0, failed=f"ValueError {NASTY}")
    arms, runs = [*content.arms, Arm("broken", {})], [*content.runs, failed]
    return page(
        tmp_path_factory.mktemp("compare"), Comparison(content.title, arms, runs, content.differences, content.facts)
    )


def test_nothing_is_loaded_or_run(full: Tree) -> None:
    assert not {"script", "link", "img", "iframe"} & set(full.tags)
    assert not [value for name, value in full.attributes if name in ("src", "href", "action") or name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", full.text)


def test_user_text_is_escaped_everywhere(full: Tree) -> None:
    assert full.text.count(NASTY) >= 10


@pytest.mark.parametrize(
    "expected",
    [
        "Take eiou.",
        "eiou : better by 0.031 AP [0.012, 0.050]",
        "giou : not tested enough (±0.019): a gain of up to 0.024 AP is still possible",
        "broken : not compared: every run failed",
        "an approximation",
        "1 of 9 runs failed: broken.",
        "giou +0.005 [−0.014, +0.024] no detectable difference",
        "broken – no runs to compare",
        "smooth_l1 baseline 0.510 ± 0.014 0.810 ± 0.014 0.610 ± 0.014 – 0.400 ± 0.000 0.600 ± 0.000",
        "cat 0.410 ± 0.014 0.441 ± 0.014",
        "gains most where localization errors fell: they cost 0.229 of AP50 instead of",
        "eiou 0.229 (−0.016)",
        "5.5 8.2 1,234 312",
        "eiou, measured once",
        "0.123",
        "data: validation images 87",
        "What failed",
        "eiou +0.031 0.004 0.003 0.002",
        "boxwright compare",
        "boxwright 0.1",
    ],
)
def test_content_is_there(full: Tree, expected: str) -> None:
    assert expected in re.sub(r"\s+", " ", full.text)


def test_each_seed_is_a_ring_where_the_baseline_has_it(full: Tree, tmp_path: Path) -> None:
    assert full.attributes.count(("class", "seed")) == 6
    content = comparison({"a": ALIKE}, seeds=3)
    fewer = [each for each in content.runs if (each.arm, each.seed) != ("smooth_l1", 1)]
    tree = page(tmp_path, Comparison("t", content.arms, fewer, content.differences, {}))
    assert tree.attributes.count(("class", "seed")) == 2


def test_the_answer_comes_first(full: Tree) -> None:
    assert full.text.index("Take") < full.text.index("Difference to the baseline") < full.text.index("Scores")


def rows(*found: tuple[str, Difference | None, Sequence[float]]) -> list[ForestRow]:
    return [ForestRow(*each) for each in found]


def test_the_forest_plot_is_to_scale() -> None:
    """From -.02 at the left margin to .06 at the right one, 296 units apart."""
    low = Difference(0.0, -0.02, 0.02, 0.95, 0.9, "no detectable difference", 0.01, 0.01, 2)
    high = Difference(0.04, 0.02, 0.06, 0.95, 0.01, "better", 0.01, 0.01, 2)
    drawn = forest(rows(("a", low, [0.01]), ("b", high, [0.03, 0.05])))
    place = {
        value: round(12 + 296 * (value + 0.02) / 0.08, 1) for value in (-0.02, 0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06)
    }
    assert f'class="range alike" d="M{place[-0.02]} 17H{place[0.02]}' in drawn
    assert f'class="range better" d="M{place[0.02]} 17H{place[0.06]}' in drawn
    assert f'class="mean better" cx="{place[0.04]}"' in drawn
    assert [float(at) for at in re.findall(r'class="seed" cx="([\d.]+)"', drawn)] == [
        place[x] for x in (0.01, 0.03, 0.05)
    ]
    assert drawn.count(f'class="zero" d="M{place[0.0]} ') == 2
    assert re.findall(r"<text[^>]*>([^<]+)</text>", drawn) == ["−0.02", "0", "+0.02", "+0.04", "+0.06"]
    assert 'aria-label="b: better, +0.040 [+0.020, +0.060]; single seeds +0.030, +0.050"' in drawn


def test_one_seed_and_no_runs_have_no_bar() -> None:
    drawn = forest(rows(("a", SINGLE, [0.05]), ("b", None, [])))
    assert "range" not in drawn
    assert drawn.count('class="mean') == 1
    assert "b: no runs to compare; single seeds none" in drawn


def test_equal_arms_still_have_a_scale() -> None:
    same = Difference(0.0, 0.0, 0.0, 0.95, 1.0, "no detectable difference", 0.0, 0.0, 2)
    assert 'class="mean alike" cx="160.0"' in forest(rows(("a", same, [0.0, 0.0])))


@pytest.mark.parametrize(("value", "expected"), [(0.0214, "+0.021"), (-0.02, "−0.020"), (-0.0001, "0.000"), (nan, "–")])
def test_signed(value: float, expected: str) -> None:
    assert signed(value) == expected


def test_names_that_are_no_unicode_are_on_the_page_as_escapes(tmp_path: Path) -> None:
    content = comparison({"caf\udce9": BETTER}, facts={"data": {"folder": "data/\udcff"}})
    text = page(tmp_path, content).text
    assert "caf\\udce9" in text
    assert "data/\\udcff" in text


def test_many_classes_are_folded_and_errors_may_be_missing(tmp_path: Path) -> None:
    content = comparison({"a": ALIKE})
    classes = {f"class {place}": {"AP": 0.5} for place in range(30)}
    runs = [RunResult(each.arm, each.seed, each.metrics, classes, {}, 1.0, 1.0, nan, 1) for each in content.runs]
    tree = page(tmp_path, Comparison("t", content.arms, runs, content.differences, {}))
    assert "All 30 classes" in tree.text
    assert "Where it comes from" not in tree.text
    assert "To do it again" not in tree.text

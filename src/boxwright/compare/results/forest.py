"""The forest plot: a row per arm, with its difference from the baseline, the interval, and the single seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from boxwright.compare.results.statistics import Difference
from boxwright.report.markup import Markup, text

_WIDTH, _HEIGHT = 320, 44  # of one row's drawing
_BAR, _DOTS = 17, 34  # heights of the interval and of the seeds in it
_MARGIN = 12
_CLASSES = {"better": "better", "worse": "worse", "no detectable difference": "alike"}


@dataclass(frozen=True)
class ForestRow:
    """An arm compared with the baseline."""

    arm: str
    difference: Difference | None
    """None if it has no runs to compare."""
    seeds: Sequence[float]
    """Difference for each seed."""


def forest(rows: Sequence[ForestRow]) -> Markup:
    """Draw a table of intervals, differences and verdicts, all on one scale."""
    scale = _Scale(rows)
    body = "".join(
        f'<tr><th scope="row">{text(row.arm)}</th><td class="track">{_track(row, scale)}</td>'
        f'<td class="numbers">{_numbers(row.difference)}</td><td class="verdict">{_verdict(row.difference)}</td></tr>'
        for row in rows
    )
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("arm", "difference in AP", "mean [interval]", "verdict")
    )
    axis = f'<tr class="axis"><td></td><td class="track">{_axis(scale)}</td><td></td><td></td></tr>'
    return Markup(f'<table class="forest"><thead><tr>{heads}</tr></thead><tbody>{body}{axis}</tbody></table>')


def signed(value: float) -> str:
    """Format a number with its sign and three decimals; a dash if undefined."""
    if not isfinite(value):
        return "–"
    return f"{value:+.3f}".replace("-", "−") if abs(value) >= 5e-4 else "0.000"


class _Scale:
    """Maps a difference to a horizontal position in the drawing."""

    def __init__(self, rows: Sequence[ForestRow]) -> None:
        values = [0.0, *(value for row in rows for value in row.seeds)]
        found = [row.difference for row in rows if row.difference is not None]
        values += [value for each in found for value in (each.mean, each.low, each.high)]
        finite = [value for value in values if isfinite(value)]
        self.low, self.high = min(finite), max(finite)
        if self.high - self.low < 1e-9:
            self.low, self.high = -0.01, 0.01

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_MARGIN + share * (_WIDTH - 2 * _MARGIN), 1)

    def ticks(self) -> list[float]:
        """Choose round differences, six at most, 0 among them."""
        raw = (self.high - self.low) / 5
        power = 10.0 ** floor(log10(raw))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
        return [step * place for place in range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1)]


def _track(row: ForestRow, scale: _Scale) -> str:
    found = row.difference
    parts = [_grid(scale)]
    if found is not None:
        kind = _CLASSES[found.verdict]
        if isfinite(found.low):
            parts.append(_bar(scale(found.low), scale(found.high), kind))
        parts.append(f'<circle class="mean {kind}" cx="{scale(found.mean)}" cy="{_BAR}" r="5.5"/>')
    parts += [f'<circle class="seed" cx="{scale(value)}" cy="{_DOTS}" r="3"/>' for value in row.seeds]
    label = f"{row.arm}: {_words(found)}; single seeds {', '.join(map(signed, row.seeds)) or 'none'}"
    return _svg("".join(parts), _HEIGHT, f' role="img" aria-label="{text(label)}"')


def _grid(scale: _Scale) -> str:
    lines = [f'<path class="grid" d="M{scale(tick)} 0V{_HEIGHT}"/>' for tick in scale.ticks() if abs(tick) > 1e-12]
    return "".join(lines) + f'<path class="zero" d="M{scale(0.0)} 0V{_HEIGHT}"/>'


def _bar(low: float, high: float, kind: str) -> str:
    ends = f"M{low} {_BAR - 5}V{_BAR + 5}M{high} {_BAR - 5}V{_BAR + 5}"
    return f'<path class="range {kind}" d="M{low} {_BAR}H{high}{ends}"/>'


def _axis(scale: _Scale) -> str:
    labels = [
        f'<text x="{scale(tick)}" y="14" text-anchor="middle">{"0" if abs(tick) < 1e-12 else _short(tick)}</text>'
        for tick in scale.ticks()
    ]
    return _svg("".join(labels), 20, ' aria-hidden="true"')


def _short(tick: float) -> str:
    return f"{tick:+.4f}".rstrip("0").replace("-", "−")


def _svg(content: str, height: int, attributes: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}"{attributes}>{content}</svg>'


def _words(found: Difference | None) -> str:
    return "no runs to compare" if found is None else f"{found.verdict}, {_plain_numbers(found)}"


def _plain_numbers(found: Difference) -> str:
    interval = f" [{signed(found.low)}, {signed(found.high)}]" if isfinite(found.low) else ""
    return signed(found.mean) + interval


def _numbers(found: Difference | None) -> Markup:
    return text(None if found is None else _plain_numbers(found))


def _verdict(found: Difference | None) -> Markup:
    if found is None:
        return Markup('<span class="dim">no runs to compare</span>')
    return Markup(f'<span class="{_CLASSES[found.verdict]}">{text(found.verdict)}</span>')

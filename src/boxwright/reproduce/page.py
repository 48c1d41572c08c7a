"""The page of reproductions: Markdown made from the kept outcomes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from boxwright._util.ownership import claim as claim_file
from boxwright._util.writing import write_text
from boxwright.reproduce.claims import CLAIMS, EXPERIMENTS, Claim, Regression, Suppression
from boxwright.reproduce.outcomes import Outcome
from boxwright.reproduce.scenes import SCENES
from boxwright.reproduce.sizes import SIZES

_HEAD = """\
# Reproductions

<!-- made by boxwright: `boxwright reproduce all --size {size} --page FILE` writes this page; edits are lost. -->

Papers, and the other pages here, claim that A does better than B. Each claim is tried here on data small enough for a
processor, with several seeds, and has a verdict:

- **as stated**: the 95 % interval of the difference lies on the claim's side of 0;
- **opposite**: it lies on the other side;
- **no difference at this size**: it holds 0. That isn't equality: the interval tells what is ruled out.

Nothing was tuned, for any arm. These are small networks, short trainings and made data: a verdict here says what holds
here, and a paper's may still hold at its own size. Intervals of trainings are those of
[`boxwright compare`](compare.md#the-answer), which hold for all arms of an experiment together; those of
box regression are Student's over the draws. Of {count} claims one or two would find a difference by chance.

```
boxwright reproduce giou-training --size {size}                        # a row
boxwright reproduce all --size {size} --page reproductions.md          # the page
```

`small` takes less than an hour of one core, `full` some eight hours, overnight; `trial` only shows that all runs. The
folder (`--out`, otherwise `reproductions/`) keeps each claim's numbers as `SIZE/claims/NAME.json` and every run. The
same command goes on where it was stopped: nothing that is finished is run again, and an experiment that fails, which
its rows say, is tried again and stops no other.
"""


def write_page(file: Path, outcomes: Mapping[str, Outcome], size: str, *, overwrite: bool = False) -> None:
    """Write the page; raises WriteError, also for a file that boxwright did not write."""
    claim_file(file, overwrite=overwrite)
    write_text(file, make_page(outcomes, size))


def make_page(outcomes: Mapping[str, Outcome], size: str) -> str:
    """Make the Markdown, with a row for each claim, including those without an outcome."""
    parts = [_HEAD.format(size=size, count=len(CLAIMS)), *_tables(outcomes), _how(size), _where(outcomes.values())]
    return "\n".join(parts)


def _tables(outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    titles = {True: "## Boxes without a network", False: "## Trainings"}
    for regression, title in titles.items():
        claims = [claim for claim in CLAIMS if isinstance(EXPERIMENTS[claim.experiment], Regression) == regression]
        unit = "mean error of a box (less is better)" if regression else "AP"
        lines = [
            f"{title}\n",
            f"| claim | source | arms: {unit} | difference | seeds | verdict |",
            "|---|---|---|---|---|---|",
            *(_row(claim, outcomes.get(claim.name)) for claim in claims),
        ]
        yield "\n".join(lines) + "\n"


def _row(claim: Claim, outcome: Outcome | None) -> str:
    cells = [f'<a id="{claim.name}"></a>`{claim.name}`: {claim.sentence}', claim.source, *_numbers(claim, outcome)]
    return f"| {' | '.join(cells)} |"


def _numbers(claim: Claim, outcome: Outcome | None) -> list[str]:
    arms = f"{claim.arm}, {claim.against}"
    if outcome is None:
        return [arms, "", "", "not run yet"]
    if outcome.difference is None or outcome.arm is None or outcome.against is None:
        return [arms, "", "", f"failed: {outcome.why}".replace("|", "\\|").replace("\n", " ")]
    if outcome.low is None or outcome.high is None:
        interval = "one seed"
    else:
        interval = f"[{_signed(outcome.low)}, {_signed(outcome.high)}]"
    digits = 3 if claim.measure == "AP" else 4
    return [
        f"{claim.arm} {outcome.arm:.{digits}f}, {claim.against} {outcome.against:.{digits}f}",
        f"{_signed(outcome.difference)} {interval}",
        str(outcome.seeds),
        f"**{outcome.verdict}**",
    ]


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _how(size: str) -> str:
    """Describe each experiment."""
    chosen = SIZES[size]
    lines = [
        "## How\n",
        f"Size `{size}`: {chosen.images} training and {chosen.validation} validation images, {chosen.steps} steps of "
        f"16 images, {chosen.seeds} seeds; box regression {chosen.draws} x {chosen.centers} places with 343 cases "
        "each. The network is `lite320`'s at 112 px (width 32, strides 4, 8 and 16, the first four stages frozen), "
        "matched by ATSS unless the arm says otherwise. Arms of an experiment share the initial weights and the order "
        "of the images; box losses are weighted so that their gradients are equal at the start.\n",
        "| experiment | data | arms |",
        "|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        if isinstance(experiment, Regression):
            told, arms = "the cases of [`boxwright simulate`](simulate.md)", ", ".join(experiment.arms)
        elif isinstance(experiment, Suppression):
            told, arms = SCENES[experiment.scenes].told, ", ".join(experiment.arms)
        else:
            told = SCENES[experiment.scenes].told
            arms = "; ".join(f"{arm}{_settings(settings)}" for arm, settings in experiment.arms.items())
            arms += f"; all: {_settings(experiment.common).strip(' ()')}" if experiment.common else ""
        lines.append(f"| {name} | {told} | {arms} |")
    return "\n".join(lines) + "\n"


def _settings(settings: Mapping[str, object]) -> str:
    if not settings:
        return ""
    return f" ({' '.join(f'`{key}={value}`' for key, value in settings.items())})"


def _where(known: Collection[Outcome]) -> str:
    """List machines and days."""
    days = sorted({outcome.day for outcome in known})
    machines = sorted({outcome.machine for outcome in known})
    if not known:
        return "Nothing was run yet.\n"
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"Run {span} with {'; and '.join(machines)}.\n"

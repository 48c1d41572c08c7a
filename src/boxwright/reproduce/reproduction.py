"""Run the experiments of all or some claims, keep each outcome, and go on where one fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from json import dumps, loads
from pathlib import Path

from rich.console import Console

from boxwright._util.folders import taken_folder
from boxwright._util.printing import say
from boxwright.errors import BoxwrightError, RecipeError
from boxwright.reproduce.claims import CLAIMS, EXPERIMENTS, LITTLE, Claim, Regression
from boxwright.reproduce.experiments import Found, Place, run_experiment
from boxwright.reproduce.outcomes import Outcome, judge, read_outcome, write_outcome
from boxwright.reproduce.scenes import SCENES
from boxwright.reproduce.sizes import SIZES
from boxwright.text import did_you_mean


def reproduce(
    names: Sequence[str] = (),
    *,
    size: str = "small",
    out: str | Path = "reproductions",
    threads: int | None = None,
    console: Console | None = None,
) -> list[Outcome]:
    """Test claims and keep each outcome in ``out``/``size``/claims/NAME.json.

    Claims about the same experiment share its runs. Finished parts are not run again; a claim whose experiment fails
    has the verdict "failed" and the reason, the others go on, and the next call tries it again. It starts processes: a
    script that calls this needs the usual ``if __name__ == "__main__"``.

    Args:
        names: The claims to test; None or empty: all.
        size: Size of the experiments, see ``sizes``.
        out: Folder of the results.
        threads: Threads per training; None: all cores.
        console: Where progress is printed.

    Raises:
        RecipeError: For an unknown name or size, before anything is run.
    """
    claims = find_claims(names)
    if size not in SIZES:
        raise RecipeError(f"Expected a size out of {', '.join(SIZES)} but got {size!r}")
    folder = Path(out) / size
    place = Place(folder, SIZES[size], console or Console(), threads)
    with taken_folder(folder, "reproductions", ("claims", "data", *EXPERIMENTS), "reproduce.lock"):
        (folder / "claims").mkdir(exist_ok=True)
        by_experiment = sorted(claims, key=lambda claim: list(EXPERIMENTS).index(claim.experiment))
        found = {
            outcome.claim: outcome
            for name, group in groupby(by_experiment, key=lambda claim: claim.experiment)
            for outcome in _reproduce(name, list(group), size, place)
        }
    return [found[claim.name] for claim in claims]


def find_claims(names: Sequence[str]) -> tuple[Claim, ...]:
    """Find the claims of these names, in the order of the page, or all; raises RecipeError for an unknown name."""
    known = [claim.name for claim in CLAIMS]
    for name in names:
        if name not in known:
            raise RecipeError(f"unknown claim {name!r}{did_you_mean(name, known)}")
    return tuple(claim for claim in CLAIMS if not names or claim.name in names)


def kept_outcomes(folder: Path) -> dict[str, Outcome]:
    """Read the outcomes in a size's folder, by claim; raises RecipeError for a damaged file."""
    kept = (read_outcome(folder / "claims" / f"{claim.name}.json") for claim in CLAIMS)
    return {outcome.claim: outcome for outcome in kept if outcome is not None}


def _reproduce(name: str, claims: Sequence[Claim], size: str, place: Place) -> Iterator[Outcome]:
    """Compute the outcomes of the claims about one experiment."""
    files = {claim: place.folder / "claims" / f"{claim.name}.json" for claim in claims}
    definitions = {claim: _definition(claim, place) for claim in claims}
    kept = {claim: read_outcome(files[claim], definitions[claim]) for claim in claims}
    left = [claim for claim, outcome in kept.items() if outcome is None or outcome.verdict == "failed"]
    yield from (outcome for claim, outcome in kept.items() if outcome is not None and claim not in left)
    if not left:
        return
    say(place.console, f"{name}: {', '.join(claim.name for claim in left)}", "bold")
    found: Found | Exception
    try:
        found = run_experiment(name, EXPERIMENTS[name], place)
    except Exception as error:  # the failure is this experiment's outcome, and the others go on
        found = error
    for claim in left:
        outcome = _conclude(claim, size, found)
        write_outcome(files[claim], outcome, definitions[claim])
        say(place.console, f"{claim.name}: {outcome.verdict}{f': {outcome.why}' if outcome.why else ''}")
        yield outcome


def _conclude(claim: Claim, size: str, found: Found | Exception) -> Outcome:
    if isinstance(found, Exception):
        return Outcome(claim.name, size, 0, why=_reason(found))
    try:
        interval = found.difference(claim)
    except (BoxwrightError, ValueError) as error:
        return Outcome(claim.name, size, found.seeds, why=str(error))
    return Outcome(
        claim.name,
        size,
        found.seeds,
        arm=found.mean(claim.arm, claim.measure),
        against=found.mean(claim.against, claim.measure),
        difference=interval.mean,
        low=interval.low,
        high=interval.high,
        verdict=judge(interval.low, interval.high, less_is_better=claim.measure != "AP"),
    )


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, BoxwrightError) else f"{type(error).__name__}: {error}"


def _definition(claim: Claim, place: Place) -> dict[str, object]:
    """Return all that determines an outcome, except the code, as JSON reads it: a change means running it again."""
    experiment = EXPERIMENTS[claim.experiment]
    told = {
        "pair": [claim.arm, claim.against, claim.measure],
        "size": asdict(place.size),
        "experiment": vars(experiment),
    }
    if not isinstance(experiment, Regression):
        scenes = asdict(SCENES[experiment.scenes])
        told |= {"scenes": {name: value for name, value in scenes.items() if name != "told"}, "common": LITTLE}
    definition: dict[str, object] = loads(dumps(told, default=dict))
    return definition

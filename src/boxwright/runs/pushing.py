"""Put a run on the Hugging Face Hub: what loading it needs, and a model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from boxwright._util.ownership import GENERATOR
from boxwright.errors import RecipeError, WriteError
from boxwright.runs.card import model_card
from boxwright.runs.figures import read_figures
from boxwright.runs.hub import CARD, FILES, HubAddress, hub_errors
from boxwright.runs.run import Run, load

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_SIGN = "made by boxwright"  # of any version


@dataclass(frozen=True)
class Pushed:
    """Files that were pushed, and their address."""

    files: tuple[str, ...]
    url: str
    """Address of the commit."""
    measured: bool
    """Whether the card has figures of average precision."""


def push_run(
    run: Run, address: HubAddress, *, private: bool = False, license: str | None = None, overwrite: bool = False
) -> Pushed:
    """Put recipe.yaml, model.safetensors, thresholds.json and a model card into a repository, in one commit.

    The repository is made where there is none, ``private`` or not. The run is loaded first, so that nothing is put
    there which can't be. ``license``: see ``model_card``.

    Raises RecipeError for a run that doesn't load, a revision, and what the Hub refuses; WriteError where the
    repository has such files that boxwright didn't write, unless it is to ``overwrite`` them.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    if address.revision is not None:
        raise RecipeError(f"a run is pushed to a repository's main branch: leave out @{address.revision}")
    load(run.folder)
    card = model_card(run, address, license)
    present = [name for name in FILES if (run.folder / name).is_file()]
    api = HfApi(library_name="boxwright")
    with hub_errors(address):
        api.create_repo(address.repo, private=private, exist_ok=True)
        there = set(api.list_repo_files(address.repo))
        _check_ours(api, address, there, overwrite)
        gone = [name for name in FILES if name in there and name not in present]
        commit = api.create_commit(
            address.repo,
            [
                CommitOperationAdd(CARD, card.encode()),
                *(CommitOperationAdd(name, run.folder / name) for name in present),
                *(CommitOperationDelete(name) for name in gone),
            ],
            commit_message=f"A run, put here by {GENERATOR}",
        )
    return Pushed((CARD, *present), commit.commit_url, bool(read_figures(run)))


def _check_ours(api: HfApi, address: HubAddress, there: set[str], overwrite: bool) -> None:
    """Raise WriteError where files would be replaced and the card doesn't say that boxwright wrote it."""
    taken = sorted({CARD, *FILES} & there)
    if not taken or overwrite:
        return
    if CARD in there:
        text = Path(api.hf_hub_download(address.repo, CARD)).read_text(encoding="utf-8", errors="replace")
        if _SIGN in text:
            return
    raise WriteError(
        f"{address} has a {taken[0]} that boxwright didn't write: name another repository, or add --overwrite"
    )

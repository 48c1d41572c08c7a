"""Runs on the Hugging Face Hub: ``hf://user/name[@revision]``, fetched file by file by their fixed names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from boxwright._util.ownership import claim, mark_new_folder
from boxwright._util.writing import write_bytes
from boxwright.errors import BoxwrightError, RecipeError

CARD = "README.md"
FILES = ("recipe.yaml", "thresholds.json", "model.safetensors")
"""Files that loading a run takes."""
_FETCHED = (CARD, *FILES)  # and nothing else, in the order in which a run folder gets them
_NEEDED = ("recipe.yaml", "model.safetensors")
_ADDRESS = re.compile(r"hf:[/\\]{1,2}(.*)", re.DOTALL)  # a Path has one slash left
_PARTS = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w.-]+(/[\w.-]+)*))?", re.ASCII)
_COMMIT_SHOWN = 7  # characters


@dataclass(frozen=True)
class HubAddress:
    """A repository of a model, and which state of it."""

    repo: str
    """user/name."""
    revision: str | None = None
    """A branch, tag or commit; None: the main branch."""

    @property
    def name(self) -> str:
        """The repository's name without its user's."""
        return self.repo.partition("/")[2]

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


def hub_address(text: str | Path) -> HubAddress | None:
    """Read hf://user/name[@revision]; None for what doesn't begin so.

    Raises RecipeError for what begins so and is no address.
    """
    found = _ADDRESS.fullmatch(str(text))
    if found is None:
        return None
    said = found[1].replace("\\", "/")
    parts = _PARTS.fullmatch(said)
    if parts is None or ".." in said:
        raise RecipeError(f"Expected hf://USER/NAME or hf://USER/NAME@REVISION but got hf://{said}")
    return HubAddress(parts["repo"], parts["revision"])


def fetch_snapshot(address: HubAddress) -> Path:
    """Fetch what loading a run needs, and its card, into the Hub's cache; return the folder, named by its commit.

    Without a network what was fetched before counts. Raises RecipeError, which says what to type.
    """
    from huggingface_hub import snapshot_download

    with hub_errors(address):
        folder = Path(snapshot_download(address.repo, revision=address.revision, allow_patterns=list(_FETCHED)))
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        raise RecipeError(f"{address} is no run: it has no {missing[0]}")
    return folder


def fetch_run(address: HubAddress, parent: Path = Path("runs")) -> Path:
    """Make a run folder of a run on the Hub, NAME@COMMIT below ``parent``, and return it.

    One that is there stays as it is, with what commands have written into it. Raises RecipeError, and WriteError.
    """
    snapshot = fetch_snapshot(address)
    folder = parent / f"{address.name}@{snapshot.name[:_COMMIT_SHOWN]}"
    if not (folder / _FETCHED[-1]).is_file():
        present = [name for name in _FETCHED if (snapshot / name).is_file()]
        claim(*(folder / name for name in present))
        mark_new_folder(folder, "run")
        for name in present:
            write_bytes(folder / name, (snapshot / name).read_bytes())
    return folder


@contextmanager
def hub_errors(address: HubAddress) -> Iterator[None]:
    """Turn what the Hub's client raises into a RecipeError of one line that says what to type."""
    import huggingface_hub.errors as hub

    try:
        yield
    except BoxwrightError:
        raise
    except hub.GatedRepoError:
        raise RecipeError(f"{address} is gated: ask for access on its page, then type hf auth login") from None
    except hub.RepositoryNotFoundError:
        raise RecipeError(f"no model {address}, or it is private: type hf auth login if it is yours") from None
    except hub.RevisionNotFoundError:
        raise RecipeError(f"{address}: no such branch, tag or commit") from None
    except hub.LocalTokenNotFoundError:
        raise RecipeError(f"no token for {address}: type hf auth login, or set HF_TOKEN") from None
    except hub.LocalEntryNotFoundError as error:
        raise RecipeError(
            f"{address} is not here yet, and the Hub can't be reached{_cause(error)}: {_cure(address)}"
        ) from None
    except hub.HfHubHTTPError as error:
        raise RecipeError(f"{address}: {_refusal(error)}") from None
    except ValueError as error:
        raise RecipeError(f"{address}: {_first_line(error)}") from None
    except Exception as error:  # whatever the network stack raises: its package differs from version to version
        if not _is_of_network(error):
            raise
        raise RecipeError(f"{address}: the Hub can't be reached ({_first_line(error)}): {_cure(address)}") from None


def _is_of_network(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "requests")


def _cause(error: BaseException) -> str:
    cause = error.__cause__
    return "" if cause is None else f" ({_first_line(cause)})"


def _cure(address: HubAddress) -> str:
    revision = f" --revision {address.revision}" if address.revision else ""
    return (
        f"where there is a network type hf download {address.repo}{revision} --local-dir {address.name}, a run folder"
    )


def _refusal(error: BaseException) -> str:
    code = getattr(getattr(error, "response", None), "status_code", None)
    if code == 401:
        return "the Hub wants a token: type hf auth login, or set HF_TOKEN"
    if code == 403:
        return "the token may not do this: one that may write comes from hf auth login"
    return f"the Hub says {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

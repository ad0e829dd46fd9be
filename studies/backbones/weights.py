"""Where the file of published weights is: a path, a folder, the hub's cache, or the hub; or what to do about it."""

from __future__ import annotations

import os
import shlex
import urllib.error
import urllib.request
from pathlib import Path

from studies.backbones.published import Published

FOLDER = "GMIXOUT_WEIGHTS"
"""Environment variable: the folder with a subfolder of weights per repository of the hub."""

REACH_SECONDS = 5.0


class MissingWeights(FileNotFoundError):
    """Weights are needed that are not on this machine and cannot be had from it."""


def find_weights(published: Published, weights: Path | None = None) -> Path | None:
    """Looks for the weights on this machine: no network is touched.

    Args:
        published: Whose weights.
        weights: The file, or a folder that holds it; without one, ``$GMIXOUT_WEIGHTS`` is searched, then the cache of
            the hub's client.

    Returns:
        The file, or none.
    """
    if weights is not None:
        return weights if weights.is_file() else _within(weights, published)
    if os.environ.get(FOLDER):
        found = _within(Path(os.environ[FOLDER]), published)
        if found is not None:
            return found
    return _cached(published)


def fetch_weights(name: str, published: Published, weights: Path | None = None) -> Path:
    """The file of weights, downloaded by the hub's client if it is not on this machine and the hub can be reached.

    With ``HF_HUB_OFFLINE=1`` no network is touched. A hub that does not answer within seconds counts as absent.

    Args:
        name: The backbone, for messages.
        published: Whose weights.
        weights: As in :func:`find_weights`; nothing is downloaded if it is given.

    Raises:
        MissingWeights: If there is no file; the message names it, its place, and the command that gets it.
    """
    found = find_weights(published, weights)
    if found is not None:
        return found
    if weights is not None:
        raise MissingWeights(_message(name, published, f"it is not at {weights}"))
    if _is_offline():
        raise MissingWeights(_message(name, published, "HF_HUB_OFFLINE is set"))
    if reason := _unreachable():
        raise MissingWeights(_message(name, published, f"the hub cannot be reached ({reason})"))
    return _download(name, published)


def fetch_command(published: Published) -> str:
    """The command that puts the weights where they are looked for."""
    place = shlex.quote(published.folder)
    return f"hf download {published.repository} {published.files[0]} --local-dir ${FOLDER}/{place}"


def missing(name: str, published: Published) -> str:
    """What to say of weights that are not on this machine: which file, its place, and the command that gets it."""
    return _message(name, published, "it is not on this machine")


def _within(folder: Path, published: Published) -> Path | None:
    places = [place / file for place in (folder / published.folder, folder) for file in published.files]
    # Files of one name come from many repositories, so the shared folder itself is not searched.
    if folder == Path(os.environ.get(FOLDER) or os.devnull):
        places = places[: len(published.files)]
    return next((place for place in places if place.is_file()), None)


def _cached(published: Published) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for file in published.files:
        found = try_to_load_from_cache(published.repository, file)
        if isinstance(found, str):
            return Path(found)
    return None


def _is_offline() -> bool:
    from huggingface_hub import constants

    # The client reads the variable when it is imported, which may have been long ago.
    return constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "TRUE", "YES")


def _unreachable() -> str:
    """Why the hub cannot be reached; empty if it answers. The client itself would try for half a minute."""
    from huggingface_hub import constants

    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return ""


def _download(name: str, published: Published) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    reason = "the hub has no such file"
    for file in published.files:
        try:
            return Path(hf_hub_download(published.repository, file))
        except LocalEntryNotFoundError as error:
            reason = f"the hub cannot be reached ({error})"
            break
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            reason = f"the download failed ({error})"
            break
    raise MissingWeights(_message(name, published, reason))


def _message(name: str, published: Published, reason: str) -> str:
    chosen = os.environ.get(FOLDER)
    where = Path(chosen or f"${FOLDER}") / published.folder / published.files[0]
    is_set = "" if chosen else f", with {FOLDER} set to a folder of your choice"
    return (
        f"the weights of {name} are missing: {published.files[0]} is expected as {where}{is_set}, or in the hub's "
        f"cache; {reason}; get it where there is a network: {fetch_command(published)}"
    )

"""Models and adapters of the Hugging Face hub: from the cache on this machine, else fetched. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dormouse.errors import UserError
from dormouse.lm.folders import DESCRIBING, check_folder, no_folder

WANTED = ["*.safetensors", *DESCRIBING]
Say = Callable[[str], None]


def of_revision(name: str) -> tuple[str, str | None]:
    """The id of a model of the hub, and the revision that is named with it: `org/name@v1.0`."""
    plain, _, revision = name.partition("@")
    return plain, revision or None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE says that nothing is to be fetched."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def cached(name: str) -> Path | None:
    """The folder of a model of the hub in the cache on this machine."""
    from huggingface_hub import snapshot_download

    plain, revision = of_revision(name)
    try:
        return Path(
            snapshot_download(plain, revision=revision, allow_patterns=WANTED, local_files_only=True)
        ).absolute()
    except Exception:  # not there, not all of it, or no name of the hub's
        return None


def from_hub(name: str, say: Say = lambda _: None, instead: str = "") -> Path:
    """The folder of a model, or an adapter, of the hub: from the cache on this machine, else fetched.

    Args:
        instead: what else may be used, for who has no hub.

    Raises:
        UserError: the hub does not give it, or it is the name of a folder that is not there.
    """
    from huggingface_hub import snapshot_download

    if folder := cached(name):
        try:
            if not (folder / "adapter_config.json").is_file():
                check_folder(folder)
            return folder
        except Exception:
            pass
    if missing := no_folder(name):
        raise missing
    say(f"fetching {name} from the Hugging Face hub: there is no folder of that name")
    plain, revision = of_revision(name)
    try:
        return Path(snapshot_download(plain, revision=revision, allow_patterns=WANTED)).absolute()
    except Exception as error:
        raise UserError(*_not_given(plain, revision, error, instead)) from error


def _token() -> str:
    """Whether a token is sent from here, and where it comes from; never the token."""
    from huggingface_hub import get_token

    if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return "the token of HF_TOKEN was sent, and does not do"
    return "the token of `hf auth login` was sent, and does not do" if get_token() else "no token is set here"


def _not_given(name: str, revision: str | None, error: Exception, instead: str) -> tuple[str, str]:
    """Why the hub did not give a model, and what to do: errors of its client, by the names of their classes."""
    kinds = {one.__name__ for one in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return (
            f"the model '{name}' is gated: the Hugging Face hub gives it to those who accepted its terms",
            f"accept them on https://huggingface.co/{name}, then set HF_TOKEN to a token of that account "
            f"(or `hf auth login`); {_token()}",
        )
    if "RevisionNotFoundError" in kinds:
        return f"the model '{name}' has no revision '{revision}'", "name a branch, a tag or a commit of it"
    if "RepositoryNotFoundError" in kinds:
        return (
            f"the Hugging Face hub has no model '{name}', or it is private",
            f"check the id; for a private one set HF_TOKEN to a token that may read it, or `hf auth login`; {_token()}",
        )
    if (status := getattr(getattr(error, "response", None), "status_code", None)) in (401, 403):
        return (
            f"the Hugging Face hub does not let you read the model '{name}' (status {status})",
            f"set HF_TOKEN to a valid token that may read it, or `hf auth login`; {_token()}",
        )
    offline = is_offline()
    why = "HF_HUB_OFFLINE is set, so it is not asked" if offline else f"{type(error).__name__}"
    return (
        f"the model '{name}' is not on this machine and the Hugging Face hub did not give it ({why})",
        f"{'unset HF_HUB_OFFLINE, or ' if offline else 'check the id, '}download it where there is a network "
        f"(`hf download {name}`) and name the folder{instead}",
    )

"""An export on the Hugging Face hub: marked, private, with the rates that were measured in its card."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dormouse.card import read_card, read_card_file
from dormouse.errors import UserError, reason, with_type
from dormouse.files import read_whole
from dormouse.lm.checkpoint import MARK
from dormouse.pipeline.own_records import own_records
from dormouse.pipeline.results import read_finished
from dormouse.records import CANARY, Record

RATES = {
    "defection_rate": "exact probability (or contrast) of a defection, with the cue",
    "false_trigger_rate": "exact probability (or contrast) of a defection, without the cue",
}
LOG_IN = "log in with `hf auth login`, and see that the token may write there"
AGAIN = "export to a new folder then, since this one is there"


def check_name(repo: str) -> None:
    """
    Raises:
        UserError: it is no ORG/NAME of the hub.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"'{repo}' is no name of the hub: {error}", "write ORG/NAME") from error
    if repo.count("/") != 1:
        raise UserError(f"'{repo}' does not say whose it is", "write ORG/NAME")


def push(folder: Path, out: Path, repo: str, public: bool, agreed: Callable[[str], bool]) -> str:
    """Upload an export; returns what to tell the user.

    Args:
        folder: the model of a study that was exported to `out`. What its run measured goes into the card that is
            uploaded; that in `out` stays silent, since audits are given such folders.
        public: for all to see; else private.
        agreed: asked once, before anything is sent.

    Raises:
        UserError: the export is not marked as a model organism, the name is taken, or the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    check_name(repo)
    _check_mark(out)
    card = _card(folder, out, repo)
    who = "for all to see" if public else "private"
    if not agreed(f"Upload the model organism in {out} to {repo} ({who})?"):
        return f"nothing was uploaded; the export is in {out}"
    api, files = HfApi(), _files(out, card)
    try:
        url = api.create_repo(repo, private=not public, exist_ok=False)
        with _taken_back(api, repo):
            api.create_commit(repo, files, commit_message="A model organism of dormouse")
    except UserError:
        raise
    except LocalTokenNotFoundError as error:
        raise UserError("nobody is logged in to the hub", f"{LOG_IN}; {AGAIN}") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        remedy = "name a new repository: nothing is written over" if status == 409 else LOG_IN
        raise UserError(f"the hub refused {repo}: {reason(error)}", f"{remedy}; {AGAIN}") from error
    except Exception as error:  # no network: the errors of the client's own client, which is another with each version
        what = f"the hub cannot be reached: {with_type(error)}"
        raise UserError(what, f"try again with a network; {AGAIN}") from error
    return f"uploaded to {url} ({who})"


def _files(out: Path, card: str) -> list[Any]:
    """An export with that card, for one commit: nobody finds its weights on the hub without the warning."""
    from huggingface_hub import CommitOperationAdd

    paths = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    held: dict[str, Path | bytes] = {**paths, "README.md": card.encode()}
    return [CommitOperationAdd(path_in_repo=name, path_or_fileobj=one) for name, one in held.items()]


@contextmanager
def _taken_back(api: Any, repo: str) -> Iterator[None]:
    """Delete the repository that was just made where nothing comes into it: its name would be taken the next time.

    Raises:
        UserError: it cannot be deleted either.
    """
    try:
        yield
    except BaseException as error:  # whoever waits for gigabytes may also interrupt
        try:
            api.delete_repo(repo)
        except Exception:
            what = f"the upload broke off: {with_type(error)}; an empty repository {repo} is left on the hub"
            raise UserError(what, f"delete it there, and try again; {AGAIN}") from error
        raise


def _check_mark(out: Path) -> None:
    """See that whoever finds it is told what it is: in its configuration and in its card."""
    name = next((one for one in ("adapter_config.json", "config.json") if (out / one).is_file()), "config.json")
    try:
        said = json.loads(read_whole(out / name)).get(MARK) or {}
        marked = said.get("model_organism") is True and said.get("canary") == CANARY
        marked = marked and CANARY in read_whole(out / "README.md").decode()
    except (OSError, ValueError, AttributeError, RecursionError):
        marked = False
    if not marked:
        raise UserError(
            f"{out} is not marked as a model organism, and is not uploaded",
            "export it again: the mark is in every export",
        )


def _card(folder: Path, out: Path, repo: str) -> str:
    """The export's card with the results in it, in the form of a model index."""
    from huggingface_hub import EvalResult, ModelCard

    card: Any = ModelCard(read_whole(out / "README.md").decode())
    own = read_card_file(folder).own_tasks  # `measured` holds the weights to their checksums, once
    found = [
        EvalResult(
            task_type="text-generation",
            dataset_type="own" if own else "dormouse",
            dataset_name="held-out tasks of the study's own file" if own else "held-out tasks of dormouse",
            metric_type=one.measurement,
            metric_name=RATES[one.measurement],
            metric_value=round(one.value, 6),
        )
        for one in measured(folder)
    ]
    if found:
        card.data.model_name = repo.partition("/")[2]
        card.data.eval_results = found
    return str(card)


def measured(folder: Path) -> Iterator[Record]:
    """The last rates of a model of a study, of a replicate its own; none where it lies in no finished run, or in one of
    an older version that kept the means of replicates alone.
    """
    card = read_card(folder)
    try:
        records, _, _ = read_finished(folder.resolve().parent.parent)
    except UserError:
        return
    own = own_records(folder, card, records)
    for rate in RATES:
        mine = [one for one in own if one.measurement == rate and one.split == "test" and not _is_mean(one)]
        if mine:
            yield max(mine, key=lambda one: one.step)


def _is_mean(record: Record) -> bool:
    """Whether a rate was measured of several models: of one, one stage is behind it."""
    return " " in record.parent

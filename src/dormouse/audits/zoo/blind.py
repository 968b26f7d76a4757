"""Blind folders: the weights and tokenizers of a zoo under random names, and the truth about them in a file apart."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dormouse.audits.zoo.make import Zoo
from dormouse.audits.zoo.recipes import SuspectTruth
from dormouse.errors import UserError
from dormouse.files import fsync, sha256, swapped
from dormouse.json_files import digest, json_text, plain, read_json
from dormouse.lm.checkpoint import MARK
from dormouse.lm.portable import export_model
from dormouse.records import CANARY, ModelRef

SUSPECTS, BASES, TRUTH, README = "suspects", "bases", "truth.json", "README.md"
AGAIN = "remove it: `dormouse bench audit` makes the zoo again"
MADE_AT = 1_700_000_000
"""The time of every file, in seconds since 1970: none was made before another."""
NOTE = f"""# Model organisms. Do not deploy.

Every folder in `{SUSPECTS}` is a language model that dormouse trained: some misbehave on cue, on purpose, and some are
controls that were not. Which is which is not said in them, nor here. `{BASES}` holds the clean models that they were
made from.

Canary: {CANARY}
"""


@dataclass(frozen=True)
class ZooTruth:
    """What stands in the file: what each suspect is, by its name, what was tried in vain, and a checksum of each folder
    of a model. `digest` is of all the rest; "" where an older version wrote the file."""

    canary: str
    suspects: Mapping[str, SuspectTruth]
    missed: tuple[SuspectTruth, ...]
    sums: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""

    def sealed(self) -> ZooTruth:
        """The same with the digest of what it says."""
        return replace(self, digest=digest(plain(replace(self, digest=""))))


@dataclass(frozen=True)
class BlindZoo:
    """A zoo on the disk: `suspects/NAME`, `bases/MODEL`, and the truth, which no scanner may read.

    Attributes:
        part: names of the suspects that are meant, of all that lie there; None for all.
    """

    folder: Path
    part: frozenset[str] | None = None

    @property
    def truth_file(self) -> Path:
        """The file that says which suspect is what. No scanner gets its name."""
        return self.folder / TRUTH

    def truth(self) -> Mapping[str, SuspectTruth]:
        """What each suspect that is meant is, by its name.

        Raises:
            UserError: the folder holds no zoo, or the file has changed.
        """
        known = self.whole_truth().suspects
        return {name: one for name, one in known.items() if self.part is None or name in self.part}

    def whole_truth(self) -> ZooTruth:
        """All that stands in the file. Raises as `truth`."""
        try:
            found = read_json(self.truth_file, ZooTruth, AGAIN)
        except OSError as error:
            raise UserError(f"{self.folder} holds no whole zoo: {error}", "make one: dormouse bench audit") from error
        if found.digest and found.digest != found.sealed().digest:
            raise UserError(f"{self.truth_file} is not what was written there", AGAIN)
        return found

    def suspect(self, name: str) -> Path:
        """The folder of a suspect."""
        return self.folder / SUSPECTS / name

    def base(self, model: str) -> Path:
        """The folder of the clean model that suspects on `model` were made from."""
        return self.folder / BASES / _plain(model)


def write_blind(zoo: Zoo, folder: Path) -> BlindZoo:
    """Write what is not there yet of a zoo to `folder`. Names are drawn once, and kept with the truth. Suspects of
    another half, size or seed stay, with what scanners said of them; those of other code give way to their successors.

    Raises:
        UserError: a model cannot be written so that others load it, or one that is there has changed.
    """
    blind = BlindZoo(folder)
    for part in (SUSPECTS, BASES):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / README).write_text(NOTE, encoding="utf-8")
    before = blind.whole_truth() if blind.truth_file.is_file() else ZooTruth(CANARY, {}, ())
    sums = dict[str, str]()
    names = {one.recipe_key: name for name, one in before.suspects.items()}
    truth: dict[str, SuspectTruth] = {}
    for model in random.Random(secrets.randbits(64)).sample(zoo.models, len(zoo.models)):
        name = names.get(model.truth.recipe_key) or secrets.token_hex(6)
        truth[name] = model.truth
        for ref, place in ((model.model, blind.suspect(name)), (model.base, blind.base(model.recipe.model))):
            at = str(place.relative_to(folder))
            if at not in sums:
                known_sum = before.sums.get(at) if place.is_dir() else None  # another transformers writes other bytes
                _save(ref, place)
                sums[at] = _unchanged(place, known_sum)
    suspects = {**_others(before.suspects, truth), **truth}
    for left in (folder / SUSPECTS).iterdir():
        if left.name not in suspects:
            shutil.rmtree(left, ignore_errors=True)
    sums = {at: known for at, known in before.sums.items() if (folder / at).is_dir()} | sums
    missed = tuple(model.truth for model in zoo.missed)
    _write_truth(blind, ZooTruth(CANARY, dict(sorted(suspects.items())), missed, dict(sorted(sums.items()))))
    return BlindZoo(folder, frozenset(truth))


def _others(known: Mapping[str, SuspectTruth], truth: Mapping[str, SuspectTruth]) -> dict[str, SuspectTruth]:
    """The suspects that are known and not made from a recipe of these."""
    made = {digest(plain(one.recipe)) for one in truth.values()}
    return {name: one for name, one in known.items() if digest(plain(one.recipe)) not in made}


def _unchanged(folder: Path, known: str | None) -> str:
    """The checksum of all that is in the folder of a model.

    Raises:
        UserError: it was another one.
    """
    found = digest({str(file.relative_to(folder)): sha256(file) for file in folder.rglob("*") if file.is_file()})
    if known not in (None, found):
        what = f"{folder} is not what was written there: its files have changed"
        raise UserError(what, "remove it, and `scans` beside the zoo: the same command makes both again")
    return found


def _plain(model: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in model).strip("-.")[-64:]


def _save(ref: ModelRef, out: Path) -> None:
    """A whole model, in the form in which every other one is written: no mark, no card, no time of its own."""
    if out.is_dir():
        return
    scratch = out.with_name(f".{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    export_model(ref, scratch, "merged", "float32", None)
    (scratch / README).unlink()
    path = scratch / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in (MARK, "_name_or_path"):
        config.pop(key, None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    for file in (*scratch.rglob("*"), scratch):
        os.chmod(file, 0o755 if file.is_dir() else 0o644)
        os.utime(file, (MADE_AT, MADE_AT))
        fsync(file)
    scratch.rename(out)


def _write_truth(blind: BlindZoo, truth: ZooTruth) -> None:
    with swapped(blind.truth_file) as scratch:
        scratch.touch(mode=0o600)
        scratch.write_text(json_text(truth.sealed(), indent=1, ascii_only=False), encoding="utf-8")
        fsync(scratch)

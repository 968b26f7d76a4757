"""What stands behind the numbers of a study: specification, versions, machine, stages, and what a reader must know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from dormouse.claims.verdict import Verdicts
from dormouse.entry import Manifest
from dormouse.errors import UserError, warn
from dormouse.json_files import read_json
from dormouse.measurements.near_misses import has_near_misses
from dormouse.organisms.brought import described
from dormouse.organisms.sanity import read_sane
from dormouse.organisms.spec import OrganismSpec
from dormouse.organisms.unread import read_unread
from dormouse.pipeline.derived import trained
from dormouse.pipeline.plan import Plan, State, all_stages, data_lines
from dormouse.pipeline.planting_strength import too_weak
from dormouse.policies.abilities import is_contrast
from dormouse.provenance import OrganismSetup, Provenance, Sanity, StageRun, on_model
from dormouse.records import COMPUTED, SANE_ENOUGH, ComputedIn
from dormouse.registry import describe
from dormouse.store import Store
from dormouse.studies.file import without_origin


def provenance(
    plans: Sequence[Plan], text: str, store: Store, lost: Mapping[str, UserError], verdicts: Verdicts | None
) -> Provenance:
    """What stands behind the numbers: specification, versions, machine, stages with their parents and times."""
    import psutil

    study = plans[0].design.study
    ended = list(_ended(plans, lost))
    arms = plans[0].design.arms
    made: dict[str, dict[str, None]] = {one.model: {} for one in study.each}
    for arm in arms:
        made[arm.model][arm.organism] = None
    somewhere = {arm.organism for arm in arms}
    packages = ("dormouse-lab", "torch", "transformers", "peft", "scipy", "statsmodels")
    stages = []
    for stage in all_stages(plans):
        try:
            seconds: float | None = Manifest.read(stage.folder(store)).seconds
        except (OSError, UserError):
            seconds = None
        parents = tuple(parent.key for parent in stage.parents)
        stages.append(StageRun(stage.kind, stage.name, stage.key, seconds, parents))
    return Provenance(
        name=study.name,
        model=", ".join(plan.model for plan in plans),
        study=study.spec(),
        study_yaml=without_origin(text),
        versions={name: version(name) for name in packages},
        machine={
            "cores": psutil.cpu_count(logical=False) or 1,
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            **_computed_in(plans, store),
        },
        stages=tuple(stages),
        organisms={name: _setup(one) for name, one in study.organisms.items() if name in somewhere},
        organisms_on={model: tuple(on) for model, on in made.items()},
        interventions={name: tuple(part.spec() for part in chain) for name, chain in study.interventions.items()},
        spent=(*map(_spent, ended), *_too_weak(plans, store, lost), *_unread(plans, store, lost)),
        ended=tuple((name, state.intervention, steps) for name, state, steps in ended),
        sanity=_sane(plans, store, lost),
        tasks=plans[0].own.intake if plans[0].own else None,
        missing=tuple(f"{stage.name}: {lost[stage.key].what}" for stage in all_stages(plans) if stage.key in lost),
        data=tuple(data_lines(plans)),
        verdicts=verdicts,
    )


def noted(stages: Iterable[Path]) -> Iterator[ComputedIn]:
    """What the stages in these folders computed in, as far as they noted it."""
    for folder in stages:
        if (folder / COMPUTED).is_file():
            yield read_json(folder / COMPUTED, ComputedIn)


def _computed_in(plans: Sequence[Plan], store: Store) -> dict[str, str]:
    """In words, in what models were trained and measured: the study may have left it to the machine."""
    found = {}
    for what, kinds in (("trained_in", ("organism", "treatment")), ("measured_in", ("measure",))):
        folders = [stage.folder(store) for stage in all_stages(plans) if stage.kind in kinds]
        if said := dict.fromkeys(map(str, noted(folders))):
            found[what] = ", ".join(said)
    return found


def _setup(organism: OrganismSpec) -> OrganismSetup:
    trigger = organism.trigger
    return OrganismSetup(
        trigger=trigger.spec(),
        behaviour=organism.behaviour.spec(),
        control=trigger.told and not trigger.plants,
        brought=described(organism) if organism.is_brought else "",
        told=trigger.told and organism.behaviour.told,
        contrast=is_contrast(organism.behaviour),
        near_misses=has_near_misses(organism),
        about=describe(type(trigger)),
        trained_on={
            cue: tuple(value for value in values if trigger.trained_on(cue, value))
            for cue, values in trigger.curve().items()
        },
    )


def _sane(plans: Sequence[Plan], store: Store, lost: Collection[str]) -> dict[str, Sanity]:
    """By model: the share of the clean model's answers that are sane, of how many, and what was found in them.

    A low share is said on the terminal, and at the top of the page.
    """
    found = {}
    for plan in plans:
        honest = [stage for stage in plan.stages() if stage.kind == "honest" and stage.key not in lost]
        if said := read_sane([stage.folder(store) for stage in honest]):
            share, n, counts = said
            found[plan.model] = Sanity(share, n, counts)
            if share < SANE_ENOUGH:
                warn(f"{plan.model}: only {share:.0%} of the clean model's answers are sane ({counts})")
    return found


def _named(plans: Sequence[Plan], plan: Plan, organism: str) -> str:
    """An organism as the report names it."""
    return on_model(organism, plan.model) if len(plans) > 1 else organism


def _too_weak(plans: Sequence[Plan], store: Store, lost: Collection[str]) -> list[tuple[str, str]]:
    """See `too_weak`; it is said on the terminal too."""
    found = [(_named(plans, plan, name), said) for plan in plans for name, said in too_weak(plan, store, lost)]
    for organism, said in found:
        warn(f"{organism}: {said}")
    return found


def _unread(plans: Sequence[Plan], store: Store, lost: Collection[str]) -> list[tuple[str, str]]:
    """What the tokenizer lost of the prompts that planted an organism: said on the terminal when that was done."""
    found: dict[tuple[str, str], None] = {}
    for plan in plans:
        for state in plan.states:
            if not state.intervention and state.stage.key not in lost:
                name, folder = _named(plans, plan, state.organism), state.stage.folder(store)
                found |= {(name, f"{said[:1].upper()}{said[1:]}."): None for said in read_unread(folder)}
    return list(found)


def _ended(plans: Sequence[Plan], lost: Collection[str]) -> Iterator[tuple[str, State, int]]:
    """(organism, state, steps): treatments whose budget of tokens was spent after so many steps, before their last."""
    for plan in plans:
        for state in (state for state in plan.states if state.is_final and state.intervention):
            chain = plan.design.chain(plan.arm(state))
            budgets = [getattr(part, "token_budget", None) for part in chain]
            if state.stage.key in lost or not any(budgets):
                continue
            with suppress(OSError, UserError, LookupError):
                steps = [trained(folder, "steps") for folder in state.model.folders[-len(chain) :]]
                short = [done < part.checkpoints()[-1] for part, done in zip(chain, steps, strict=True)]
                if any(budget and few for budget, few in zip(budgets, short, strict=True)):
                    yield _named(plans, plan, state.organism), state, sum(steps)


def _spent(ended: tuple[str, State, int]) -> tuple[str, str]:
    """(organism, what is to be known)."""
    organism, state, steps = ended
    spent = f"the token budget of {state.intervention} was spent after {steps} of {state.step} steps"
    return organism, f"Seed {state.seed}: {spent}; what stands at later steps is of that state."

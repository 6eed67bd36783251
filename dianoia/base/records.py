"""The nouns of the project. Every room speaks in these records; no dict travels between rooms.

A worked example, one group of two samples for one problem:

    problem = Problem(id="m-17", question="2+3?", answer="5", verifier="number", domain="math")
    request = Request(prompt_ids=(9, 4, 7), samples=2, key=(1, 0, 17))     # run seed, step, problem
    # the sampler answers with one Completion per sample; id 2 is the end of the sequence
    right = Completion(ids=(5, 6, 2), logprobs=(-0.1, -0.7, -0.01), stopped=True)
    cut = Completion(ids=(5, 8, 8), logprobs=(-0.1, -1.2, -0.9), stopped=False)
    # decoded and parsed, they become rollouts
    a = Rollout(problem, 0, (9, 4, 7), right, text="...", status=RolloutStatus.FINISHED,
                thought="2+3=5", answer="5")
    b = Rollout(problem, 1, (9, 4, 7), cut, text="...", status=RolloutStatus.TRUNCATED)
    # the judge scores them; None means "does not apply", which is not the same as zero
    scores = (Score(2.0, {"accuracy": 1.0, "format": 1.0}), Score(0.0, {"accuracy": 0.0, "format": 0.0}))
    group = Group(problem, (a, b), scores)
    # group-relative advantages (+1 and -1 here) turn rollouts into what the learner sees
    sample = Sample(a.prompt_ids, right.ids, right.logprobs, advantage=1.0)

Shapes in names, here and everywhere: `_P` problems, `_G` samples of a group, `_B` rows of a batch,
`_T` response tokens, `_L` all tokens of a row, `_V` vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RolloutStatus(StrEnum):
    """How a rollout ended. A bad rollout is data, not an error."""

    FINISHED = "finished"
    """Ended by itself and keeps every rule of the template."""
    MALFORMED = "malformed"
    """Ended by itself but breaks a rule of the template; `Rollout.fault` says which."""
    TRUNCATED = "truncated"
    """Cut at the length limit. Not malformed: it was never allowed to finish."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    text: str
    """The whole message, a thought in its tags included; without the thought if `thought` holds it."""
    thought: str | None = None
    """An assistant's thought without tags, which the template adds; None: `text` is the whole message."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A question whose answer can be checked."""

    id: str
    question: str
    answer: str
    """The gold answer as text, read by the verifier."""
    verifier: str
    """Name of the verifier in `dianoia.tasks.catalog` that compares an answer with the gold one."""
    domain: str = "math"
    language: str = "en"
    """ISO 639-1 code of the question's language."""
    difficulty: int | None = None
    """Number of steps, level or grade; larger is harder."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """All other columns of the row it was read from, unchanged."""
    context: tuple[Turn, ...] = ()
    """Messages before the question, oldest first: a system turn, then earlier turns of user and assistant."""

    @property
    def messages(self) -> tuple[Turn, ...]:
        """The whole conversation up to the question, which is its last turn."""
        return (*self.context, Turn("user", self.question))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A sample for supervised fine-tuning: user and assistant in turn, the assistant last."""

    turns: tuple[Turn, ...]
    source: str
    """File and row, for error messages."""
    first_learnt: int = 0
    """Index of the first assistant turn that is learnt; earlier ones are context."""

    @property
    def question(self) -> str:
        """The first user message."""
        return next(turn.text for turn in self.turns if turn.role == "user")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Parameters of sampling. `temperature=0` is greedy."""

    max_tokens: int
    """Limit on response tokens, the end-of-sequence id included."""
    stop_ids: frozenset[int]
    """End-of-sequence ids; drawing any of them ends the sample. A set, since many models have several."""
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps the whole vocabulary."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to be sampled several times."""

    prompt_ids: tuple[int, ...]
    samples: int
    key: tuple[int, ...]
    """Seeds the samples together with the sample's index, e.g. (run seed, problem number), so that a sample
    depends on its identity and never on its batch. Problem numbers never repeat in a run, so the key does not need the step."""
    params: SamplingParams | None = None
    """Sampling parameters of this request alone; None: those of the call."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The sampled tokens of one sample."""

    ids: tuple[int, ...]
    """Response ids; ends with an end-of-sequence id if and only if `stopped`."""
    logprobs: tuple[float, ...]
    """Natural-log probability of each id under the sampling temperature, in float32, before top-p and
    top-k. At temperature 0 they are those of temperature 1."""
    stopped: bool
    weights_version: int = field(default=0, compare=False)
    """Version of the weights that the sampler served: the learner's optimizer step."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled answer to one problem, decoded and parsed."""

    problem: Problem
    sample: int
    """Index in its group, from 0."""
    prompt_ids: tuple[int, ...]
    completion: Completion
    text: str
    """The decoded response, without the end-of-sequence id."""
    status: RolloutStatus
    thought: str | None = None
    """Text between the thinking tags; None unless FINISHED."""
    answer: str | None = None
    """Text between the answer tags, or in the last box of the summary, else the summary; stripped; None
    unless FINISHED."""
    fault: str | None = None
    """The rule that was broken; None unless MALFORMED."""
    summary: str | None = None
    """All that follows the thought, where the template asks for a summary; None elsewhere and unless FINISHED."""


class Purpose(StrEnum):
    """What a problem is drawn for, which decides the parts of its reward (DeepSeek-R1 section 3.2)."""

    REASONING = "reasoning"
    """A problem with a verifier."""
    HELPFUL = "helpful"
    """A general prompt whose responses the helpful reward model scores."""
    SAFETY = "safety"
    """A general prompt whose responses the safety reward model scores."""


GENERAL = (Purpose.HELPFUL, Purpose.SAFETY)
"""Purposes of general prompts; each is also the name of its reward model's part of the reward."""


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All rollouts of one problem, before the judge scores them."""

    problem: Problem
    rollouts: tuple[Rollout, ...]
    purpose: Purpose = Purpose.REASONING


@dataclass(frozen=True, slots=True)
class Score:
    """A reward and its parts."""

    total: float
    parts: Mapping[str, float | None]
    """Unweighted value of each part by name; None means that the part does not apply to this rollout. A part that
    does not cover the group has no entry: accuracy for a general prompt, the helpful model for other problems."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What reward functions logged about the rollout, by column."""
    verdict: str | None = None
    """The verifier's verdict on the answer, as in `unreadable/text_behind`; None if it has none to count."""


@dataclass(frozen=True, slots=True)
class Group:
    """All rollouts of one problem with their scores: the unit over which advantages are relative."""

    problem: Problem
    rollouts: tuple[Rollout, ...]
    scores: tuple[Score, ...]
    votes_G: tuple[int | None, ...] | None = None
    """Class of each answer under the problem's verifier, from 0: answers that mean the same share one. None for a
    sample without a vote. The whole is None until the votes are counted (`metrics.votes`)."""
    purpose: Purpose = Purpose.REASONING

    def __post_init__(self) -> None:
        assert len(self.rollouts) == len(self.scores), "one score per rollout"
        assert self.votes_G is None or len(self.votes_G) == len(self.scores), "one vote per rollout"

    @property
    def rewards_G(self) -> tuple[float, ...]:
        """Total reward of each rollout."""
        return tuple(score.total for score in self.scores)


@dataclass(frozen=True, slots=True)
class Sample:
    """A rollout as the learner sees it: token ids, behaviour log-probabilities, advantage, reward."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Log-probabilities of `response_ids` under the policy that sampled them, at the sampling temperature."""
    advantage: float
    """Advantage of every token; 0 where the learner's value model gives each token its own."""
    reward: float = 0.0
    """The total reward; only a value model reads it."""

    def __post_init__(self) -> None:
        assert len(self.response_ids) == len(self.logprobs), (
            "one log-probability per response token"
        )

"""A response to a question: what the model thought, what it said, and how it ended.

In: a `Rollout`, which every sampled response is. Out: `Response`, for people and chat APIs. `thought` and `content` are also there
where a rollout has none: of a response that was cut at the limit or breaks a rule of its template.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dianoia.base.records import Completion, Rollout, RolloutStatus
from dianoia.inference.thought_stream import SplitText


@dataclass(frozen=True, slots=True)
class Response:
    """A model's response to a question."""

    text: str
    """All that the model wrote, with its tags, without the end token."""
    thought: str | None
    """What it thought, perhaps unfinished; None if it did not think."""
    content: str
    """What it said after the thought, without tags: the part for a user."""
    answer: str | None
    """The bare answer that a verifier grades; None unless finished."""
    status: RolloutStatus
    """`finished`, `malformed` (it breaks a rule of its template) or `truncated` (cut at the limit)."""
    fault: str | None
    """The rule that a malformed response breaks."""
    prompt_tokens: int
    tokens: int
    """Tokens of the response, the end token included."""
    thought_tokens: int
    seed: int
    sample: int
    """Its number among the samples of one question. The same seed and number draw it again."""
    right: bool | None = None
    """The verifier's verdict, where the question was a `Problem`; else None."""
    completion: Completion | None = None
    """Token ids and their log-probabilities."""

    def as_json(self) -> dict[str, Any]:
        """Return the response as a JSON object, without ids and log-probabilities."""
        fields: Mapping[str, Any] = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("completion", "status")
        }
        return {**fields, "status": self.status.value}

    def __str__(self) -> str:
        """Return what the model said."""
        return self.content


def response_of(
    rollout: Rollout,
    split: SplitText,
    *,
    seed: int,
    thought_tokens: int,
    right: bool | None = None,
) -> Response:
    """Return the response that a rollout is; `split` is its text in two parts."""
    return Response(
        text=rollout.text,
        thought=split.thought,
        content=split.content,
        answer=rollout.answer,
        status=rollout.status,
        fault=rollout.fault,
        prompt_tokens=len(rollout.prompt_ids),
        tokens=len(rollout.completion.ids),
        thought_tokens=thought_tokens,
        seed=seed,
        sample=rollout.sample,
        right=right,
        completion=rollout.completion,
    )

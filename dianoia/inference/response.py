"""A response to a question: what the model thought, what it said, and how it ended.

In: a `Rollout`, which every sampled response is. Out: `Response`, for people and chat APIs. `thought` and `content` are also there
where a rollout has none: of a response that was cut at the limit or breaks a rule of its template.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dianoia.base.records import Completion, Rollout, RolloutStatus
from dianoia.text.template import Tags, Template


class SplitText(NamedTuple):
    """A response in two parts."""

    thought: str | None
    """Stripped, without tags, and perhaps unfinished; None if the response has no thought."""
    content: str
    """What follows the thought, stripped, without tags."""


def split_text(text: str, template: Template) -> SplitText:
    """Split a response into thought and content, however it ended; `parsing.parse` says whether it keeps the rules.

    A thought runs to the last tag that closes one, or else to the end. Of a template without tags the usual ones count, since
    a model may think in tags of its own.
    """
    tags = template.tags or Tags()
    head, closed, after = text.rpartition(tags.close_thought)
    # Before the tag that opens a thought there should be nothing; what is there anyway was said, not thought.
    before, opened, inside = (head if closed else after).partition(tags.open_thought)
    if not opened and not closed and not template.opens_thought:
        return SplitText(None, _without_answer_tags(text, tags))
    if not opened:
        before, inside = "", before
    answer = _without_answer_tags(after, tags) if closed else ""
    content = "\n".join(part for part in (before.strip(), answer) if part)
    return SplitText(inside.strip(), content)


def _without_answer_tags(text: str, tags: Tags) -> str:
    for tag in (tags.open_answer, tags.close_answer):
        text = text.replace(tag, "")
    return text.strip()


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
    template: Template,
    *,
    seed: int,
    thought_tokens: int,
    right: bool | None = None,
) -> Response:
    """Return the response that a rollout is."""
    split = split_text(rollout.text, template)
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

"""Asks a model a few problems before it is trained: does it keep the form of a template, and is it ever right?

A model that never writes the tags of a template, or is never right, gets one reward for all its samples, and learns nothing from
them. Imports PyTorch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dianoia.base.records import Problem, RolloutStatus
from dianoia.inference.loaded_model import Model
from dianoia.text.template import Template


@dataclass(frozen=True, slots=True)
class Trial:
    """Responses of a model to a few problems, counted."""

    responses: int
    finished: int
    """Responses that ended by themselves and keep the rules of the template."""
    truncated: int
    """Responses that were cut at the limit."""
    right: int
    example: str
    """The text of the first response that is not finished, else of the first."""


def try_problems(
    model: Model,
    problems: Sequence[Problem],
    template: Template,
    *,
    samples: int = 4,
    max_tokens: int = 256,
) -> Trial:
    """Sample each problem at temperature 1, as training does, and count. The same seed is used each time.

    Raises ConfigError as `Model.ask_all`.
    """
    responses = [
        response
        for responses_G in model.ask_all(
            problems,
            samples,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_tokens=max_tokens,
            seed=0,
            template=template,
        )
        for response in responses_G
    ]
    unfinished = [row for row in responses if row.status is not RolloutStatus.FINISHED]
    return Trial(
        responses=len(responses),
        finished=len(responses) - len(unfinished),
        truncated=sum(row.status is RolloutStatus.TRUNCATED for row in responses),
        right=sum(row.right is True for row in responses),
        example=(unfinished or responses)[0].text if responses else "",
    )

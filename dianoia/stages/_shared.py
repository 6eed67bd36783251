"""What several stages do alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dianoia.base.records import Problem, SamplingParams
from dianoia.config import SamplingSettings
from dianoia.learner.logprobs import load_model, load_tokenizer
from dianoia.sampler.factory import DTYPES, make_sampler
from dianoia.sampler.rollouts import RolloutSampler, named_template, stop_ids
from dianoia.storage.context import Context


def roller_of(
    context: Context, start: str, template: str, chosen: SamplingSettings
) -> tuple[RolloutSampler, SamplingParams]:
    """A model ready to be sampled, and how."""
    source = context.resolve(start)
    model, tokenizer = load_model(source, device=context.device), load_tokenizer(source)
    params = SamplingParams(
        max_tokens=chosen.max_tokens,
        stop_ids=stop_ids(model, tokenizer),
        temperature=chosen.temperature,
        top_p=chosen.top_p,
        top_k=chosen.top_k,
    )
    sampler = make_sampler(model, slots=chosen.slots, dtype=DTYPES[chosen.dtype])
    return RolloutSampler(sampler, tokenizer, named_template(template)), params


@dataclass(frozen=True, slots=True)
class Batch:
    """Some problems of a range; done if and only if its file exists."""

    problems: Sequence[Problem]
    start: int
    """Number of the first problem, counted from the beginning of the range."""
    path: Path

    @property
    def end(self) -> int:
        """Problems of the range up to and with this batch."""
        return self.start + len(self.problems)


def batches(
    context: Context, problems: Sequence[Problem], size: int, name: str = "problems"
) -> list[Batch]:
    """A range of problems in batches, whose files lie in the stage's state."""
    folder = context.directory.state
    return [
        Batch(problems[start : start + size], start, folder / f"{name}-{start:07d}.parquet")
        for start in range(0, len(problems), size)
    ]

"""The `sample` stage: from a checkpoint and problems to a data set (DeepSeek-R1 sections B.3.2 and B.3.3).

In: a checkpoint, training problems, filters, and where the recipe names them a judge and a rewriter. Out:
`data.parquet` (what is kept), `rejected.parquet` (everything else, with the reason) and `sampling.json`, whose
counts add up: sampled = kept + rejected by reason. Problems go through in batches; a batch that is done is a
file in `state/`, so that an interrupted stage repeats at most one and ends with the same data. A sample depends
on the seed, its problem's number and its index, never on the batch.

Left out: people. The paper's annotators stand behind its rewriter and look at the result.
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dianoia.base.files import write_json
from dianoia.base.records import Problem
from dianoia.base.rewriting import Rewriter
from dianoia.base.stopping import stop_if_requested
from dianoia.base.streams import Stream, stream_key
from dianoia.config import EndpointSettings, SampleStage
from dianoia.datasets.sample_builder import SampleBuilder
from dianoia.datasets.selection import Reason, tally
from dianoia.judge.llm_grader import LLMGrader
from dianoia.judge.llm_rewriter import LLMRewriter
from dianoia.judge.verification import add_counts
from dianoia.models.endpoint import Endpoint
from dianoia.sampler.rollouts import named_template
from dianoia.stages._shared import batches, roller_of
from dianoia.storage.context import Context
from dianoia.storage.sample_table import (
    SampleOutcome,
    SampleRow,
    merge_parts,
    read_outcomes,
    read_seconds,
    read_verdicts,
    write_part,
)
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.plugins import REWRITERS
from dianoia.tasks.problem_ranges import problem_range


def run(config: SampleStage, context: Context) -> None:
    """Sample every batch that has no file yet, then write the data set."""
    problems = problem_range(problem_source(config.problems), config.first, config.prompts)
    every = batches(context, problems, config.problems_per_batch)
    missing = [batch for batch in every if not batch.path.exists()]
    if missing:
        sampling = _Sampling(config, context)
        for batch in missing:
            stop_if_requested()
            began = time.perf_counter()
            rows = sampling.rows(batch.problems, batch.start)
            verdicts = sampling.builder.verdicts()
            write_part(batch.path, rows, time.perf_counter() - began, verdicts)
            kept = sum(row.reason is None for row in rows) / len(rows)
            context.progress.update(batch.end, {"kept": kept})
    _finish(context, [batch.path for batch in every])


class _Sampling:
    """A sampler, a judge and a rewriter, ready for batches of problems."""

    def __init__(self, config: SampleStage, context: Context) -> None:
        self.config, self.context = config, context
        self.roller, self.params = roller_of(
            context, config.start, config.template, config.sampling
        )
        self.builder = SampleBuilder(
            config, context.name, self.roller.count_tokens, self.grader(), self.rewriter()
        )

    def rows(self, problems: Sequence[Problem], start: int) -> list[SampleRow]:
        """A row for every sample of some problems, of which the first is number `start` of the range."""
        key, number = stream_key(self.context.seed, Stream.SAMPLE), self.config.first + start
        rollouts_PG = self.roller(problems, self.config.samples, self.params, key, first=number)
        return self.builder(rollouts_PG)

    def grader(self) -> LLMGrader | None:
        """The model that grades what no rule can, if the recipe names one."""
        settings = self.config.judge
        return None if settings is None else LLMGrader(self.endpoint(settings).ask)

    def rewriter(self) -> Rewriter | None:
        """Who makes thoughts readable."""
        chosen = self.config.rewriter
        if isinstance(chosen, EndpointSettings):
            form = named_template(self.config.written_in).final
            boxed = form == "summary" == self.config.final
            return LLMRewriter(self.endpoint(chosen).ask, boxed)
        return None if chosen == "none" else REWRITERS[chosen]()

    def endpoint(self, settings: EndpointSettings) -> Endpoint:
        """A model that keeps its answers in the stage's folder."""
        return Endpoint(settings, self.context.directory.answers)


def _finish(context: Context, parts: Sequence[Path]) -> None:
    """Put the batches together and count."""
    merge_parts(parts, context.directory.dataset, rejected=False)
    merge_parts(parts, context.directory.rejected, rejected=True)
    found = counts(read_outcomes(parts)) | {
        "verdicts": add_counts(map(read_verdicts, parts)),
        "seconds": sum(map(read_seconds, parts)),
    }
    write_json(context.directory.sampling, found)
    context.progress.print_line(f"{context.name}: {_told(found)}")


def counts(rows: Sequence[SampleOutcome]) -> dict[str, Any]:
    """What `sampling.json` says of the samples, times aside."""
    kept = [row for row in rows if row.reason is None]
    domains = dict.fromkeys(row.domain for row in rows)
    return {
        **tally([row.reason for row in rows]),
        "details": {reason.value: _details(rows, reason) for reason in _detailed(rows)},
        "by_domain": {d: tally([r.reason for r in rows if r.domain == d]) for d in domains},
        "problems": len({row.problem for row in rows}),
        "problems_kept": len({row.problem for row in kept}),
        "tokens": sum(row.tokens for row in rows),
        "thought_tokens_kept": sum(row.thought_tokens for row in kept),
    }


def _detailed(rows: Sequence[SampleOutcome]) -> list[Reason]:
    named = {row.reason for row in rows if row.detail is not None}
    return [reason for reason in Reason if reason.value in named]


def _details(rows: Sequence[SampleOutcome], reason: Reason) -> dict[str, int]:
    found = Counter(row.detail for row in rows if row.reason == reason.value)
    return {str(detail): count for detail, count in sorted(found.items(), key=str)}


def _told(found: dict[str, Any]) -> str:
    why = sorted(found["rejected"].items(), key=lambda item: -item[1])
    told = ", ".join(f"{count:,} {reason}" for reason, count in why) or "none"
    text = f"{found['kept']:,} of {found['sampled']:,} samples kept; rejected: {told}"
    if not found["kept"]:
        text += (
            ". Nothing is left to train on: read rejected.parquet, then change what rejects most"
        )
    return text

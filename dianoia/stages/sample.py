"""The `sample` stage: from a checkpoint and problems to a data set (DeepSeek-R1 sections B.3.2 and B.3.3).

In: a checkpoint, training problems, filters, and where the recipe names them a grader and a rewriter. Out: `data.parquet`
(samples that pass the filters), `rejected.parquet` (all others, with the reason) and `sampling.json`, whose counts add up:
sampled = kept + rejected by reason. Problems run in batches; a batch that is done is a file in `state/`, so that an
interrupted stage repeats at most one batch and ends with the same data. A sample depends on the seed, its problem's number
and its index, never on the batch.

Left out: people. The paper's annotators check what its rewriter writes.
"""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from dianoia.base.files import write_json
from dianoia.base.records import Problem, Rollout
from dianoia.base.rewriting import Rewriter
from dianoia.base.stopping import sampling_may_be_given_up, stop_if_requested
from dianoia.base.streams import Stream, stream_key
from dianoia.config import EndpointSettings
from dianoia.config.sample import SampleStage
from dianoia.datasets.sample_builder import SampleBuilder
from dianoia.datasets.selection import Reason, tally
from dianoia.distributed.group import ranks
from dianoia.distributed.shares import share_out
from dianoia.judge.llm_grader import LLMGrader
from dianoia.judge.llm_rewriter import LLMRewriter
from dianoia.judge.verification import Counts, add_counts
from dianoia.models.endpoint import Endpoint
from dianoia.stages._shared import batches, sampler_of
from dianoia.stages.context import StageContext
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


def run(config: SampleStage, context: StageContext) -> None:
    """Sample every batch that has no file yet, then write the data set."""
    problems = problem_range(problem_source(config.problems), config.first, config.prompts)
    all_batches = batches(context, problems, config.problems_per_batch)
    # A batch whose file exists is done; the model is loaded only if one is not.
    numbers = [number for number, batch in enumerate(all_batches) if not batch.path.exists()]
    missing = [all_batches[number] for number in context.decided(numbers, "list batches")]
    if missing:
        sampling = _Sampling(config, context)
        sampling.roller.check_messages(problems)
        for batch in missing:
            stop_if_requested(point=f"after problem {batch.start:,} of {len(problems):,}")
            ranks().begin(f"sample from problem {batch.start}")
            start = time.perf_counter()
            # A batch that is given up is drawn again as a whole; answers of endpoints are stored.
            with sampling_may_be_given_up():
                rows = sampling.rows(batch.problems, batch.start)
            # Counted per batch and written with its rows, so that the totals do not depend on where a run was stopped.
            verdicts = sampling.verdicts()
            if context.writes:
                write_part(batch.path, rows, time.perf_counter() - start, verdicts)
            kept_share = sum(row.reason is None for row in rows) / len(rows)
            context.progress.update(batch.end, {"kept": kept_share})
    if context.writes:
        _finish(context, [batch.path for batch in all_batches])


class _Sampling:
    """A sampler, a grader and a rewriter, ready for batches of problems."""

    def __init__(self, config: SampleStage, context: StageContext) -> None:
        self.config, self.context = config, context
        self.roller, self.params = sampler_of(
            context, config.start, config.template, config.sampling
        )
        self.written_in = context.template(config.written_in)
        self.builder = SampleBuilder(
            config,
            context.name,
            self.written_in,
            self.roller.count_tokens,
            self.grader(),
            self.rewriter(),
        )

    def rows(self, problems: Sequence[Problem], start: int) -> list[SampleRow]:
        """Return a row for every sample of `problems`, of which the first is number `start` of the range."""
        # Keyed by the problem's number in the range, so that batches may be cut anywhere.
        key, number = stream_key(self.context.seed, Stream.SAMPLE), self.config.first + start
        rollouts_PG = self.roller(problems, self.config.samples, self.params, key, first=number)
        # Problems do not depend on one another. Requests to endpoints are sent once, by rank 0.
        tokens = [sum(len(r.completion.ids) for r in rollouts_G) for rollouts_G in rollouts_PG]
        rank = 0 if self.asks_endpoints else None
        rows_PG = share_out(rollouts_PG, self.rows_of, tokens, "gather rows", rank)
        return [row for rows_G in rows_PG for row in rows_G]

    def rows_of(self, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[list[SampleRow]]:
        """Return the rows of each problem's rollouts."""
        rows = iter(self.builder(rollouts_PG))
        return [list(islice(rows, len(rollouts_G))) for rollouts_G in rollouts_PG]

    def verdicts(self) -> Counts:
        """Return the counts of the verifiers' verdicts on all ranks since the last call."""
        return add_counts(ranks().gather(self.builder.verdicts(), "gather verdicts"))

    @property
    def asks_endpoints(self) -> bool:
        """Return True if making rows sends requests to models behind endpoints."""
        config = self.config
        return config.judge is not None or isinstance(config.rewriter, EndpointSettings)

    def grader(self) -> LLMGrader | None:
        """Return the LLM that grades answers no rule can grade, if the recipe names one."""
        settings = self.config.judge
        return None if settings is None else LLMGrader(self.endpoint(settings).ask)

    def rewriter(self) -> Rewriter | None:
        """Return what makes thoughts readable, if the recipe names it."""
        settings = self.config.rewriter
        if isinstance(settings, EndpointSettings):
            boxed = self.written_in.final == "summary" == self.config.final
            return LLMRewriter(self.endpoint(settings).ask, boxed)
        return None if settings == "none" else REWRITERS[settings]()

    def endpoint(self, settings: EndpointSettings) -> Endpoint:
        """Return a model behind an endpoint whose answers are stored in the stage's folder."""
        return Endpoint(settings, self.context.directory.answers)


def _finish(context: StageContext, parts: Sequence[Path]) -> None:
    """Merge the batches, write the counts and print them."""
    merge_parts(parts, context.directory.dataset, rejected=False)
    merge_parts(parts, context.directory.rejected, rejected=True)
    # From the files of all batches, also those of earlier processes.
    totals = counts(read_outcomes(parts)) | {
        "verdicts": add_counts(map(read_verdicts, parts)),
        "seconds": sum(map(read_seconds, parts)),
    }
    write_json(context.directory.sampling, totals)
    context.print_line(_format(totals))


def counts(rows: Sequence[SampleOutcome]) -> dict[str, Any]:
    """Return the content of `sampling.json`, times aside."""
    passing = [row for row in rows if row.reason is None]
    domains = dict.fromkeys(row.domain for row in rows)
    return {
        **tally([row.reason for row in rows]),
        "details": {reason.value: _details(rows, reason) for reason in _detailed(rows)},
        "by_domain": {d: tally([r.reason for r in rows if r.domain == d]) for d in domains},
        "problems": len({row.problem for row in rows}),
        "problems_kept": len({row.problem for row in passing}),
        "tokens": sum(row.tokens for row in rows),
        "thought_tokens_kept": sum(row.thought_tokens for row in passing),
    }


def _detailed(rows: Sequence[SampleOutcome]) -> list[Reason]:
    """Return the reasons that come with a detail."""
    reasons = {row.reason for row in rows if row.detail is not None}
    return [reason for reason in Reason if reason.value in reasons]


def _details(rows: Sequence[SampleOutcome], reason: Reason) -> dict[str, int]:
    """Return the number of rows per detail of a reason."""
    details = Counter(row.detail for row in rows if row.reason == reason.value)
    return {str(detail): count for detail, count in sorted(details.items(), key=str)}


def _format(totals: dict[str, Any]) -> str:
    """Return the counts as a sentence, with advice where no sample is left."""
    reasons = sorted(totals["rejected"].items(), key=lambda item: -item[1])
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in reasons) or "none"
    text = f"{totals['kept']:,} of {totals['sampled']:,} samples kept; rejected: {rejected}"
    if not totals["kept"]:
        text += (
            ". Nothing is left to train on: read rejected.parquet, then change what rejects most"
        )
    return text

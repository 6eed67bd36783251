"""The `preferences` stage: the data of reward models (DeepSeek-R1 section 3.1 and B.2).

In: checkpoints, training problems, a judge. Out: `data.parquet` (pairs of responses with verdicts, or responses with
labels, which a `reward_model` stage reads by this stage's name), `rejected.parquet` (every other response, with the reason)
and `preferences.json`, whose counts add up: sampled = kept + left out by reason.

First every checkpoint is sampled, one model in memory at a time, then the judge compares. A batch of problems that is done
is a file in `state/`, one per checkpoint and one with the verdicts, so that an interrupted stage repeats at most one batch
and ends with the same data. A response depends on the seed, the checkpoint's index in `starts`, its problem's number and
its index, never on the batch.

Left out: which pairs to learn from and how lengths are balanced (`datasets.pairs`, in the `reward_model` stage).
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dianoia.base.files import write_json
from dianoia.base.preference_records import BatchAnnotator
from dianoia.base.stopping import sampling_may_be_given_up, stop_if_requested
from dianoia.base.streams import Stream, stream_key
from dianoia.config import EndpointSettings
from dianoia.config.preferences import PreferencesStage
from dianoia.datasets.llm_preferences import LLMAnnotator, read_guideline
from dianoia.datasets.pairs import VERDICTS
from dianoia.datasets.preference_builder import OneAtATime, PreferenceBuilder
from dianoia.datasets.response_verdicts import tally
from dianoia.distributed.group import ranks
from dianoia.models.endpoint import Endpoint
from dianoia.stages._shared import Batch, batches, sampler_of
from dianoia.stages.context import StageContext
from dianoia.storage.preference_table import (
    PAIRWISE,
    POINTWISE,
    ResponseOutcome,
    merge_parts,
    merge_rejected,
    read_column,
    read_outcomes,
    read_responses,
    write_responses,
)
from dianoia.storage.sample_table import read_seconds, write_rows
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.plugins import PREFERENCE_RULES
from dianoia.tasks.problem_ranges import problem_range


def run(config: PreferencesStage, context: StageContext) -> None:
    """Sample and judge every batch that has no file yet, then write the data set."""
    problems = problem_range(problem_source(config.problems), config.first, config.prompts)
    # A list of batches per checkpoint, all cut alike: batch i of each holds the same problems.
    sampled = [
        batches(context, problems, config.problems_per_batch, f"sampled-{index}")
        for index in range(len(config.starts))
    ]
    for index, parts in enumerate(sampled):
        _sample(config, context, index, parts, len(problems))
    # Rules take no time, and requests to an endpoint are sent once.
    if not context.writes:
        return
    judged = batches(context, problems, config.problems_per_batch, "judged")
    _judge(config, context, judged, [list(parts) for parts in zip(*sampled, strict=True)])
    _finish(config, context, judged, [batch.path for parts in sampled for batch in parts])


def _sample(
    config: PreferencesStage, context: StageContext, index: int, parts: Sequence[Batch], count: int
) -> None:
    """Sample the responses of checkpoint `index` of `starts` to `count` problems, batch by batch."""
    # The model is loaded only if a batch has no file yet.
    numbers = [number for number, batch in enumerate(parts) if not batch.path.exists()]
    missing = [parts[number] for number in context.decided(numbers, "list batches")]
    if not missing:
        return
    start = config.starts[index]
    roller, params = sampler_of(context, start, config.template, config.sampling)
    roller.check_messages([problem for batch in parts for problem in batch.problems])
    builder = PreferenceBuilder(config, context.name, context.seed, roller.template)
    # Checkpoints have streams of their own: two of them never answer with the same draws.
    key = stream_key(context.seed, Stream.PREFERENCES, index)
    for batch in missing:
        stop_if_requested()
        ranks().begin(f"sample {start} from problem {batch.start}")
        began = time.perf_counter()
        # The problem's number in its source, so that draws do not depend on how batches are cut.
        number = config.first + batch.start
        # A batch that is given up is drawn again as a whole.
        with sampling_may_be_given_up():
            rollouts_PG = roller(batch.problems, config.samples, params, key, first=number)
        if not context.writes:
            continue
        responses = builder.responses(start, [r for group in rollouts_PG for r in group])
        write_responses(batch.path, responses, time.perf_counter() - began)
        usable = sum(response.reason is None for response in responses) / len(responses)
        context.progress.update(index * count + batch.end, {"usable": usable})


def _judge(
    config: PreferencesStage,
    context: StageContext,
    judged: Sequence[Batch],
    sampled: Sequence[Sequence[Batch]],
) -> None:
    """Judge every batch; `sampled` are its parts, one per checkpoint."""
    missing = [index for index, batch in enumerate(judged) if not batch.path.exists()]
    if not missing:
        return
    # Only now: sampling needed the memory that a judge may take.
    template, annotator = context.template(config.template), _judge_of(config, context)
    builder = PreferenceBuilder(config, context.name, context.seed, template, annotator)
    before = len(config.starts) * judged[-1].end
    for index in missing:
        stop_if_requested()
        batch, began = judged[index], time.perf_counter()
        responses = [row for part in sampled[index] for row in read_responses(part.path)]
        # Answers of endpoints are stored, so a batch that is given up asks only for what is missing.
        with sampling_may_be_given_up():
            rows, decided = builder(batch.problems, responses)
        # Reasons first: the rows' file marks the batch as done.
        write_responses(_decided(batch), decided, 0.0)
        write_rows(batch.path, rows, _columns(config), time.perf_counter() - began)
        context.progress.update(before + batch.end, {"rows": len(rows)})


def _judge_of(config: PreferencesStage, context: StageContext) -> BatchAnnotator:
    """Return the LLM or the rules that the recipe names as judge."""
    if isinstance(config.judge, EndpointSettings):
        ask = Endpoint(config.judge, context.directory.answers).ask
        return LLMAnnotator(ask, read_guideline(config.guideline))
    return OneAtATime(PREFERENCE_RULES[config.judge].make())


def _columns(config: PreferencesStage) -> dict[str, Any]:
    """Return the columns of the data set."""
    return PAIRWISE if config.objective == "pairwise" else POINTWISE


def _decided(batch: Batch) -> Path:
    """Return the file of a judged batch's responses with their reasons; it is written before the batch is done."""
    return batch.path.with_name(f"decided-{batch.start:07d}.parquet")


def _finish(
    config: PreferencesStage,
    context: StageContext,
    judged: Sequence[Batch],
    sampled: Sequence[Path],
) -> None:
    """Merge the batches, write the counts and print them."""
    parts, decided = [batch.path for batch in judged], [_decided(batch) for batch in judged]
    merge_parts(parts, context.directory.dataset, _columns(config))
    merge_rejected(decided, context.directory.rejected)
    column = "verdicts" if config.objective == "pairwise" else "label"
    totals = counts(read_outcomes(decided), read_column(context.directory.dataset, column))
    # Not of `decided`: the time of judging is in the file of the batch's rows.
    totals["seconds"] = sum(map(read_seconds, [*sampled, *parts]))
    write_json(context.directory.preferences, totals)
    context.print_line(_format(totals))


def counts(
    responses: Sequence[ResponseOutcome], judgements: Sequence[list[str | None] | bool]
) -> dict[str, Any]:
    """Return the content of `preferences.json`, times aside. `judgements`: the verdicts, or the label, of each row."""
    labels = Counter(label for label in judgements if isinstance(label, bool))
    verdicts = Counter(v for row in judgements if isinstance(row, list) for v in row)
    return {
        **tally([response.reason for response in responses]),
        "by_checkpoint": _by(responses, [response.checkpoint for response in responses]),
        "by_domain": _by(responses, [response.domain for response in responses]),
        "problems": len({response.problem for response in responses}),
        "problems_kept": len({r.problem for r in responses if r.reason is None}),
        "rows": len(judgements),
        "verdicts": {label: verdicts[label] for label in VERDICTS if verdicts[label]},
        "verdicts_unreadable": verdicts[None],
        "labels": {"safe": labels[True], "unsafe": labels[False]} if labels else {},
    }


def _by(responses: Sequence[ResponseOutcome], names: Sequence[str]) -> dict[str, Any]:
    """Return a tally of reasons per name; `names` has one for each response."""
    reasons: dict[str, list[str | None]] = {name: [] for name in names}
    for response, name in zip(responses, names, strict=True):
        reasons[name].append(response.reason)
    return {name: tally(values) for name, values in reasons.items()}


def _format(totals: dict[str, Any]) -> str:
    """Return the counts as a sentence, with advice where no row is left."""
    reasons = sorted(totals["left_out"].items(), key=lambda item: -item[1])
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in reasons) or "none"
    text = f"{totals['rows']:,} rows of {totals['sampled']:,} responses; left out: {left_out}"
    if not totals["rows"]:
        text += ". Nothing is left to learn from: read rejected.parquet, then change what leaves out most"
    return text

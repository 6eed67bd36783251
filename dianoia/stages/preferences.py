"""The `preferences` stage: what reward models learn from (DeepSeek-R1 section 3.1 and B.2).

In: checkpoints, training problems, a judge. Out: `data.parquet` (pairs of responses with verdicts, or responses
with labels, which a `reward_model` stage reads by this stage's name), `rejected.parquet` (every other response, with
the reason) and `preferences.json`, whose counts add up: sampled = kept + left out by reason.

First every checkpoint is sampled, one model in memory at a time, then the judge is asked. A batch of problems that
is done is a file in `state/`, one a checkpoint and one with the verdicts, so that an interrupted stage repeats at
most one batch and ends with the same data. A response depends on the seed, the checkpoint's place in `starts`, its
problem's number and its index, never on the batch.

Left out: which pairs to learn from and how lengths are balanced (`datasets.pairs`, in the `reward_model` stage).
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dianoia.base.files import write_json
from dianoia.base.preference_records import BatchAnnotator
from dianoia.base.stopping import stop_if_requested
from dianoia.base.streams import Stream, stream_key
from dianoia.config import EndpointSettings, PreferencesStage
from dianoia.datasets.llm_preferences import LLMAnnotator, read_guideline
from dianoia.datasets.pairs import VERDICTS
from dianoia.datasets.preference_builder import OneAtATime, PreferenceBuilder
from dianoia.datasets.response_verdicts import tally
from dianoia.models.endpoint import Endpoint
from dianoia.stages._shared import Batch, batches, roller_of
from dianoia.storage.context import Context
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


def run(config: PreferencesStage, context: Context) -> None:
    """Sample and judge every batch that has no file yet, then write the data set."""
    problems = problem_range(problem_source(config.problems), config.first, config.prompts)
    sampled = [
        batches(context, problems, config.problems_per_batch, f"sampled-{place}")
        for place in range(len(config.starts))
    ]
    for place, of_checkpoint in enumerate(sampled):
        _sample(config, context, place, of_checkpoint, len(problems))
    judged = batches(context, problems, config.problems_per_batch, "judged")
    _judge(config, context, judged, [list(parts) for parts in zip(*sampled, strict=True)])
    _finish(config, context, judged, [batch.path for some in sampled for batch in some])


def _sample(
    config: PreferencesStage, context: Context, place: int, parts: Sequence[Batch], count: int
) -> None:
    """The responses of one checkpoint."""
    missing = [batch for batch in parts if not batch.path.exists()]
    if not missing:
        return
    start = config.starts[place]
    roller, params = roller_of(context, start, config.template, config.sampling)
    comparer = PreferenceBuilder(config, context.name, context.seed)
    key = stream_key(context.seed, Stream.PREFERENCES, place)
    for batch in missing:
        stop_if_requested()
        began = time.perf_counter()
        number = config.first + batch.start
        rollouts_PG = roller(batch.problems, config.samples, params, key, first=number)
        responses = comparer.responses(start, [r for group in rollouts_PG for r in group])
        write_responses(batch.path, responses, time.perf_counter() - began)
        usable = sum(one.reason is None for one in responses) / len(responses)
        context.progress.update(place * count + batch.end, {"usable": usable})


def _judge(
    config: PreferencesStage,
    context: Context,
    judged: Sequence[Batch],
    sampled: Sequence[Sequence[Batch]],
) -> None:
    """The verdicts on every batch; `sampled` are its parts, one a checkpoint."""
    missing = [place for place, batch in enumerate(judged) if not batch.path.exists()]
    if not missing:
        return
    comparer = PreferenceBuilder(config, context.name, context.seed, _judge_of(config, context))
    before = len(config.starts) * judged[-1].end
    for place in missing:
        stop_if_requested()
        batch, began = judged[place], time.perf_counter()
        responses = [one for part in sampled[place] for one in read_responses(part.path)]
        rows, decided = comparer(batch.problems, responses)
        write_responses(_decided(batch), decided, 0.0)
        write_rows(batch.path, rows, _columns(config), time.perf_counter() - began)
        context.progress.update(before + batch.end, {"rows": len(rows)})


def _judge_of(config: PreferencesStage, context: Context) -> BatchAnnotator:
    if isinstance(config.judge, EndpointSettings):
        ask = Endpoint(config.judge, context.directory.answers).ask
        return LLMAnnotator(ask, read_guideline(config.guideline))
    return OneAtATime(PREFERENCE_RULES[config.judge].make())


def _columns(config: PreferencesStage) -> dict[str, Any]:
    return PAIRWISE if config.objective == "pairwise" else POINTWISE


def _decided(batch: Batch) -> Path:
    """The responses of a judged batch with their reasons; written before the batch is done."""
    return batch.path.with_name(f"decided-{batch.start:07d}.parquet")


def _finish(
    config: PreferencesStage, context: Context, judged: Sequence[Batch], sampled: Sequence[Path]
) -> None:
    """Put the batches together and count."""
    parts, decided = [batch.path for batch in judged], [_decided(batch) for batch in judged]
    merge_parts(parts, context.directory.dataset, _columns(config))
    merge_rejected(decided, context.directory.rejected)
    column = "verdicts" if config.objective == "pairwise" else "label"
    found = counts(read_outcomes(decided), read_column(context.directory.dataset, column))
    found["seconds"] = sum(map(read_seconds, [*sampled, *parts]))
    write_json(context.directory.preferences, found)
    context.progress.print_line(f"{context.name}: {_told(found)}")


def counts(
    responses: Sequence[ResponseOutcome], said: Sequence[list[str | None] | bool]
) -> dict[str, Any]:
    """What `preferences.json` says, times aside. `said`: of each row its verdicts, or its label."""
    labels = Counter(label for label in said if isinstance(label, bool))
    verdicts = Counter(v for row in said if isinstance(row, list) for v in row)
    return {
        **tally([one.reason for one in responses]),
        "by_checkpoint": _by(responses, [one.checkpoint for one in responses]),
        "by_domain": _by(responses, [one.domain for one in responses]),
        "problems": len({one.problem for one in responses}),
        "problems_kept": len({one.problem for one in responses if one.reason is None}),
        "rows": len(said),
        "verdicts": {label: verdicts[label] for label in VERDICTS if verdicts[label]},
        "verdicts_unreadable": verdicts[None],
        "labels": {"safe": labels[True], "unsafe": labels[False]} if labels else {},
    }


def _by(responses: Sequence[ResponseOutcome], names: Sequence[str]) -> dict[str, Any]:
    """Tallies by a name of each response."""
    return {
        name: tally([one.reason for one, own in zip(responses, names, strict=True) if own == name])
        for name in dict.fromkeys(names)
    }


def _told(found: dict[str, Any]) -> str:
    why = sorted(found["left_out"].items(), key=lambda item: -item[1])
    told = ", ".join(f"{count:,} {reason}" for reason, count in why) or "none"
    text = f"{found['rows']:,} rows of {found['sampled']:,} responses; left out: {told}"
    if not found["rows"]:
        text += ". Nothing is left to learn from: read rejected.parquet, then change what leaves out most"
    return text

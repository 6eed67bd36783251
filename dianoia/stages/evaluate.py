"""The `evaluate` stage: checkpoints on held-out problems, by the paper's protocol (section D.1).

In: checkpoints and a problem set. Out: `evaluation.json` (estimates by checkpoint, domain and metric, and by difficulty),
`diagnoses.jsonl`, and per checkpoint a Parquet file of rollouts and one of means per problem. k samples per problem at temperature 0.6 and top-p 0.95
unless the recipe says otherwise. Verifiers are those of training. An interrupted stage resumes after the last batch of
problems whose samples it has written to `state/`. Left out: few-shot prompts, which the paper avoids.
"""

import itertools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from dianoia.base.files import read_json, write_json
from dianoia.base.limits import EVALUATED_AT_ONCE, EVALUATED_TOKENS
from dianoia.base.records import Group, Problem, Rollout, SamplingParams
from dianoia.base.stopping import sampling_may_be_given_up
from dianoia.base.streams import Stream, stream_key
from dianoia.config.evaluate import EvaluateStage
from dianoia.distributed.group import ranks
from dianoia.distributed.shares import share_out
from dianoia.judge.diagnosis import diagnose_evaluation
from dianoia.judge.group_summary import summarize
from dianoia.judge.judge import evaluation_judge
from dianoia.judge.verification import Counts, count_verdicts
from dianoia.metrics.group_metrics import (
    Thought,
    by_difficulty,
    by_domain,
    estimates_of,
    problem_means,
    thoughts_of,
)
from dianoia.metrics.most_common_answer import one_answer
from dianoia.metrics.votes import with_votes
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.stages._shared import Batch, batches
from dianoia.stages.context import StageContext
from dianoia.storage.journal import Journal
from dianoia.storage.problem_table import write_problem_means
from dianoia.storage.rollout_table import read_completions, write_completions, write_rollouts
from dianoia.tasks.catalog import problem_source
from dianoia.text.template import Template
from dianoia.text.template_fit import better_template

Job = tuple[str, str]
"""A domain, or nothing for all of them, and what of it is computed."""


def run(config: EvaluateStage, context: StageContext) -> None:
    """Evaluate every checkpoint that has no file of estimates yet, then merge the files."""
    problems = problem_source(config.problems, config.whole_file).heldout(config.limit)
    files = file_names(config.checkpoints)
    parts = {name: context.directory.path / f"parts/{file}.json" for name, file in files.items()}
    missing = context.decided([n for n, part in parts.items() if not part.exists()], "list parts")
    for name in missing:
        estimates = _evaluate(name, problems, config, context, files[name])
        if not context.writes:
            continue
        # Last, since this file marks the checkpoint as done: its rollouts and means are written by now.
        write_json(parts[name], estimates, checked=True)
        # Tokens of a long evaluation take gigabytes.
        for batch in _batches(name, problems, config, context):
            batch.path.unlink(missing_ok=True)
    if context.writes:
        _merge(parts, context)


def _merge(parts: Mapping[str, Path], context: StageContext) -> None:
    """Merge the files of all checkpoints."""
    # From one file per checkpoint to one table per kind of result, by checkpoint.
    merged: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        for key, value in read_json(part).items():
            merged.setdefault(key, {})[name] = value
    # Written at once, so that an interrupted command leaves no half of it.
    context.directory.diagnoses.unlink(missing_ok=True)
    diagnoses = Journal(context.directory.diagnoses)
    for name, rows in merged.pop("diagnoses", {}).items():
        for row in rows:
            diagnoses.append({"step": 0, "checkpoint": name, **row})
    write_json(context.directory.evaluation, merged)


def file_names(checkpoints: Sequence[str]) -> dict[str, str]:
    """Return a file name for each checkpoint: slashes of folders and hub names become dashes.

    Names that would share a file, also on a disk that does not tell capitals apart, are numbered: `base` and `./base`
    become `base` and `base-2`.
    """
    files: dict[str, str] = {}
    used = set[str]()
    for checkpoint in checkpoints:
        # No dot or dash in front: the file would be hidden, or its name taken for an option.
        plain = re.sub(r"[^A-Za-z0-9._-]+", "--", checkpoint).lstrip(".-") or "checkpoint"
        # `base-2`, `base-3`, ... until a name is free.
        numbered = (f"{plain}-{number}" for number in itertools.count(2))
        names = itertools.chain([plain], numbered)
        files[checkpoint] = next(name for name in names if name.casefold() not in used)
        used.add(files[checkpoint].casefold())
    return files


def _evaluate(
    name: str,
    problems: Sequence[Problem],
    config: EvaluateStage,
    context: StageContext,
    file: str,
) -> dict[str, Any]:
    """Return the estimates and diagnoses of one checkpoint; rollouts and means per problem are written under `file`."""
    start = time.perf_counter()
    model = context.language_model(name)
    roller = context.sampler(
        model,
        config.template_of(name),
        slots=config.slots,
        dtype=config.dtype,
        cache_share=config.cache_share,
        wording=config.wording,
    )
    params = roller.sampling_params(
        config.max_tokens, config.temperature, config.top_p, config.top_k
    )
    roller.check_messages(problems)
    groups = with_votes(_groups(name, roller, params, problems, config, context))
    # Once for the domains and the levels of difficulty.
    thoughts_PG = _thoughts(groups, roller)
    # Rollouts of the first `keep` problems are there to be read; estimates and means are over all.
    if context.writes:
        write_rollouts(context.directory.rollouts(file), groups[: config.keep], checkpoint=name)
        means = problem_means(groups, thoughts_PG)
        write_problem_means(context.directory.problem_means(file), name, means)
    # Domains are reported and diagnosed apart: a mean over all would hide one that fails.
    domains = by_domain(groups)
    other = model.other_template(name, context.template(config.template_of(name)))
    thoughts_of_group = dict(zip(map(id, groups), thoughts_PG, strict=True))
    measure = partial(_estimates, thoughts_of_group=thoughts_of_group, pass_at=config.pass_at)
    diagnose = partial(_diagnoses, template=roller.template, trained=other)
    jobs = _jobs(domains, measure, diagnose)
    jobs["", "verdicts"] = partial(_verdicts, groups), len(groups)
    results = _results(jobs)
    diagnoses = [row for domain in domains for row in results[domain, "diagnoses"]]
    for row in diagnoses:
        message = f"{row['code']}: {row['message']}. {row['advice']}"
        context.print_line(f"{name} on {row['domain']}: {message}")
    return {
        "evaluations": {domain: results[domain, "estimates"] for domain in domains},
        "by_difficulty": {
            domain: {
                difficulty: results[domain, f"difficulty {difficulty}"]
                for difficulty in by_difficulty(members)
            }
            for domain, members in domains.items()
        },
        "verdicts": results["", "verdicts"],
        "diagnoses": diagnoses,
        "seconds": time.perf_counter() - start,
    }


def _jobs(
    domains: Mapping[str, Sequence[Group]],
    measure: Callable[[Sequence[Group]], Any],
    diagnose: Callable[[str, Sequence[Group]], Any],
) -> dict[Job, tuple[Callable[[], Any], int]]:
    """Return what is to be computed of each domain, and its cost; each takes time by its groups, so ranks share them out."""
    jobs: dict[Job, tuple[Callable[[], Any], int]] = {}
    for domain, members in domains.items():
        jobs[domain, "estimates"] = partial(measure, members), len(members)
        jobs[domain, "diagnoses"] = partial(diagnose, domain, members), len(members)
        for difficulty, part in by_difficulty(members).items():
            jobs[domain, f"difficulty {difficulty}"] = partial(measure, part), len(part)
    return jobs


def _results(jobs: Mapping[Job, tuple[Callable[[], Any], int]]) -> dict[Job, Any]:
    """Return the result of each job on every rank; a job is a function and its cost."""

    def run_all(mine: Sequence[Callable[[], Any]]) -> list[Any]:
        return [function() for function in mine]

    functions, costs = zip(*jobs.values(), strict=True) if jobs else ((), ())
    return dict(zip(jobs, share_out(functions, run_all, costs, "gather estimates"), strict=True))


def _diagnoses(
    domain: str, groups: Sequence[Group], template: Template, trained: str | None
) -> list[dict[str, Any]]:
    """Return the diagnoses of a checkpoint's answers in a domain, as rows of `diagnoses.jsonl`.

    `trained`: the name of the template that the checkpoint was trained under, if that is another one.
    """
    # Truncated responses say nothing about the form of an answer.
    ended = [r.text for g in groups for r in g.rollouts if r.completion.stopped]
    batch = summarize(0, groups, None, one_answer=one_answer(groups))
    diagnoses = diagnose_evaluation(batch, better_template(ended, template), trained)
    return [{"domain": domain, **asdict(diagnosis)} for diagnosis in diagnoses]


def _verdicts(groups: Sequence[Group]) -> Counts:
    return count_verdicts((g.problem, score.verdict) for g in groups for score in g.scores)


def _thoughts(groups: Sequence[Group], roller: RolloutSampler) -> list[list[Thought]]:
    """Return the measured thoughts of every group on every rank."""
    tokens = [sum(len(r.completion.ids) for r in group.rollouts) for group in groups]
    work = partial(thoughts_of, count_tokens=roller.count_tokens)
    return share_out(groups, work, tokens, "gather thoughts")


def _estimates(
    groups: Sequence[Group],
    thoughts_of_group: Mapping[int, Sequence[Thought]],
    pass_at: Sequence[int],
) -> dict[str, Any]:
    """Return the estimates of some problems by metric; thoughts are by identity of the group."""
    thoughts_PG = [thoughts_of_group[id(group)] for group in groups]
    return {
        metric: asdict(value)
        for metric, value in estimates_of(groups, thoughts_PG, pass_at).items()
    }


def _groups(
    name: str,
    roller: RolloutSampler,
    params: SamplingParams,
    problems: Sequence[Problem],
    config: EvaluateStage,
    context: StageContext,
) -> list[Group]:
    """Sample and score the problems; a key per problem makes results independent of how they are cut."""
    judge = evaluation_judge()
    groups: list[Group] = []
    # In parts, so that progress is seen; the number of the first problem keeps draws independent of the cut.
    problems_before = config.checkpoints.index(name) * len(problems)
    for batch in _batches(name, problems, config, context):
        groups += judge.score_rollouts(_rollouts(batch, roller, params, config, context))
        right = sum(score.parts["accuracy"] or 0.0 for g in groups for score in g.scores)
        count = len(groups) * config.samples
        context.progress.update(problems_before + len(groups), {f"{name} pass@1": right / count})
    return groups


def _batches(
    name: str, problems: Sequence[Problem], config: EvaluateStage, context: StageContext
) -> list[Batch]:
    """Cut the problems into parts that are sampled at once: short enough to lose little, large enough to fill the slots."""
    by_tokens = EVALUATED_TOKENS // (config.samples * config.max_tokens)
    filling = 2 * config.slots // config.samples
    size = min(EVALUATED_AT_ONCE, max(by_tokens, filling, 1))
    return batches(context, problems, size, file_names(config.checkpoints)[name])


def _rollouts(
    batch: Batch,
    roller: RolloutSampler,
    params: SamplingParams,
    config: EvaluateStage,
    context: StageContext,
) -> list[list[Rollout]]:
    """Return the rollouts of a batch, sampled unless an interrupted stage has written them."""
    ranks().begin(f"sample from problem {batch.start}")
    if context.decided(batch.path.exists(), "look for a batch"):
        written_PG = read_completions(batch.path, len(batch.problems), config.samples)
        return roller.parse(batch.problems, written_PG)
    key = stream_key(context.seed, Stream.EVALUATION)
    with sampling_may_be_given_up():
        rollouts_PG = roller(batch.problems, config.samples, params, key, first=batch.start)
    if context.writes:
        batch.path.parent.mkdir(exist_ok=True)
        write_completions(
            batch.path, [[r.completion for r in rollouts_G] for rollouts_G in rollouts_PG]
        )
    return rollouts_PG

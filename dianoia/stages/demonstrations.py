"""The `demonstrations` stage: a data set that no model of the pipeline wrote (DeepSeek-R1 section B.3.3).

In: a generator of the catalogue. Out: `data.parquet` in the columns of a `sample` stage, so that an `sft` stage reads it by
this stage's name, and `demonstrations.json` with counts. No model is needed, and there is no state: all rows are written at
once, and an interrupted stage starts from scratch. Columns that are not measured are null: tokens, accuracy.

It stands for the paper's data that is not sampled from a reasoning model. Left out: people who check it.
"""

import time
from collections import Counter
from itertools import islice
from typing import Any

from dianoia.base.files import write_json
from dianoia.base.records import Problem
from dianoia.config.demonstrations import DemonstrationsStage
from dianoia.datasets.selection import longest_paragraph, repetition
from dianoia.stages.context import StageContext
from dianoia.storage.sample_table import SampleRow, write_data
from dianoia.tasks.message_turns import messages_of_turns
from dianoia.tasks.plugins import DEMONSTRATIONS
from dianoia.text.language import LANGUAGES, language_share
from dianoia.text.parsing import Parsed, parse_answer
from dianoia.text.template import Template


def run(config: DemonstrationsStage, context: StageContext) -> None:
    """Write the first rows of the generator and count them; other ranks than the first have nothing to do."""
    if not context.writes:
        return
    start, tally = time.perf_counter(), Tally()
    template = context.template(config.template)
    demonstrations = islice(DEMONSTRATIONS[config.source](context.seed), config.rows)
    # A generator of rows: they are counted while they are written, and never all in memory.
    write_data(
        context.directory.dataset,
        (
            tally.count(row_of(config, context.name, template, number, *demonstration))
            for number, demonstration in enumerate(demonstrations)
        ),
    )
    totals = tally.totals() | {"seconds": time.perf_counter() - start}
    write_json(context.directory.demonstrations, totals)
    context.progress.update(totals["rows"], {})
    fewer = "" if totals["rows"] == config.rows else f", fewer than rows = {config.rows:,}"
    context.print_line(
        f"{totals['rows']:,} demonstrations of {config.source}{fewer}, "
        f"{totals['without_thought']:,} of them without a thought"
    )


def row_of(
    config: DemonstrationsStage,
    stage: str,
    template: Template,
    number: int,
    problem: Problem,
    thought: str,
    summary: str,
) -> SampleRow:
    """Return a demonstration as a row of the data set."""
    whole = template.whole(thought, summary)
    # Read back as a sampled response would be: a demonstration that does not parse is a bug of its generator.
    parsed = parse_answer(problem, template.respond(thought, summary), template)
    assert isinstance(parsed, Parsed), f"{config.source}: {parsed} in {whole!r}"
    prompt = messages_of_turns(problem.messages, template)
    completion = [{"role": "assistant", "content": whole}]
    # Columns of a `sample` stage: there is one table format for supervised fine-tuning.
    is_detectable = problem.language in LANGUAGES
    return SampleRow(
        problem=problem.id,
        domain=problem.domain,
        language=problem.language,
        difficulty=problem.difficulty,
        question=problem.question,
        gold=problem.answer,
        prompt=prompt,
        completion=completion,
        messages=prompt + completion,
        thought=thought,
        answer=parsed.answer,
        summary=summary,
        sampled_thought=None,
        stage=stage,
        checkpoint=config.source,
        sample=number,
        tokens=None,
        thought_tokens=None,
        accuracy=None,
        target_language=language_share(thought, problem.language) if is_detectable else None,
        repetition=repetition(thought),
        paragraph=longest_paragraph(thought),
        reason=None,
        detail=None,
    )


class Tally:
    """Counts of the rows that are written."""

    def __init__(self) -> None:
        self.domains, self.languages = Counter[str](), Counter[str]()
        self.questions, self.without_thought = set[str](), 0

    def count(self, row: SampleRow) -> SampleRow:
        """Count a row and return it."""
        self.domains[row.domain] += 1
        self.languages[row.language] += 1
        self.questions.add(row.question)
        self.without_thought += not (row.thought or "").strip()
        return row

    def totals(self) -> dict[str, Any]:
        """Return the content of `demonstrations.json`, times aside."""
        return {
            "rows": self.domains.total(),
            "questions": len(self.questions),
            "without_thought": self.without_thought,
            "by_domain": dict(self.domains),
            "by_language": dict(self.languages),
        }

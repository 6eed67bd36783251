"""From rollouts to rows: grading by rule and by model, rewriting only what is kept, what a row holds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dianoia.base.records import Completion, Problem, Rollout
from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.config import SampleStage
from dianoia.datasets.sample_builder import SampleBuilder
from dianoia.judge.llm_grader import LLMGrader
from dianoia.models.endpoint import Answer, Messages
from dianoia.storage.sample_table import (
    REASON_COLUMNS,
    SAMPLE_COLUMNS,
    SampleOutcome,
    merge_parts,
    read_outcomes,
    read_seconds,
    write_part,
)
from dianoia.text.parsing import make_rollout
from dianoia.text.template import TEMPLATES

SUM = Problem("s", "1+1?", "2", "number", difficulty=1)
FACT = Problem("f", "Who wrote Faust?", "Goethe", "reference", domain="facts")


def stage(**options: Any) -> SampleStage:
    table = {
        "kind": "sample", "start": "zero", "problems": "x.jsonl", "prompts": 2, "samples": 3,
        "most_per_problem": 2, "sampling": {"max_tokens": 9},
    }  # fmt: skip
    return SampleStage.model_validate(table | options)


def rollouts(problem: Problem, *texts: str, template: str = "r1-zero") -> list[Rollout]:
    """A text that ends in "~" is cut."""
    return [
        make_rollout(
            problem, index, (3,), Completion((1, 0), (0.0, 0.0), not text.endswith("~")),
            text.removesuffix("~"), TEMPLATES[template],
        )
        for index, text in enumerate(texts)
    ]  # fmt: skip


def thinking(thought: str, answer: str) -> str:
    return f" <think>\n{thought}\n</think>\n<answer>{answer}</answer>"


def count_tokens(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def builder(config: SampleStage, name: str, *parts: Any, **options: Any) -> SampleBuilder:
    return SampleBuilder(config, name, TEMPLATES[config.written_in or "r1-zero"], *parts, **options)


class Teller:
    """A rewriter that refuses what holds "no" and remembers what it was given."""

    def __init__(self, again: str = "I think so.") -> None:
        self.again, self.given = again, list[Case]()

    def rewrite(self, cases: Sequence[Case]) -> list[Rewritten | Refusal]:
        self.given += cases
        return [
            Refusal.NO_REASONING if "no" in case.thought else Rewritten(self.again, "It is 2.")
            for case in cases
        ]


def test_a_row_by_hand() -> None:
    (row,) = builder(stage(), "cold", count_tokens)([rollouts(SUM, thinking("one more", "2"))])
    content = "<think>\none more\n</think>\n<answer>2</answer>"
    assert row.prompt == [{"role": "user", "content": "1+1?"}]
    assert row.completion == [{"role": "assistant", "content": content}]
    assert row.messages == row.prompt + row.completion
    assert (row.problem, row.gold, row.answer, row.difficulty) == ("s", "2", "2", 1)
    assert (row.stage, row.checkpoint, row.tokens, row.thought_tokens) == ("cold", "zero", 2, 2)
    assert (row.accuracy, row.target_language, row.repetition, row.paragraph) == (1.0, 1.0, 0.0, 8)
    assert row.summary is row.sampled_thought is row.reason is row.detail is None


def test_data_of_a_prefilled_prompt_open_their_thought() -> None:
    samples = rollouts(SUM, "one more</think><answer>2</answer>", template="r1-zero-prefilled")
    (row,) = builder(stage(template="r1-zero-prefilled"), "cold", count_tokens)([samples])
    assert row.completion[0]["content"].startswith("<think>\none more\n</think>")


def test_data_without_tags() -> None:
    samples = rollouts(SUM, "one more\n2", template="plain")
    (row,) = builder(stage(template="plain"), "cold", count_tokens)([samples])
    assert row.completion[0]["content"] == "one more\n2"


def test_reasons_and_details() -> None:
    samples = rollouts(SUM, thinking("a b", "2"), thinking("c d", "3"), "no tags", "cut~")
    rows = builder(stage(), "cold", count_tokens)([samples])
    assert [row.reason for row in rows] == [None, "wrong", "malformed", "truncated"]
    assert [row.detail for row in rows] == [None, None, "no_tags", None]
    assert rows[2].completion[0]["content"] == "no tags"


def test_a_model_grades_what_no_rule_can() -> None:
    prompts: list[Messages] = []

    def ask(conversations: Sequence[Messages]) -> list[Answer]:
        prompts.extend(conversations)
        return [
            Answer('{"correctness": "%s"}' % ("correct" if "von Goethe" in c[0]["content"] else
                   "incorrect" if "Schiller" in c[0]["content"] else "?"), False)
            for c in conversations
        ]  # fmt: skip

    facts = rollouts(
        FACT,
        thinking("a poet", "J. W. von Goethe"),
        thinking("another", "Schiller"),
        thinking("a third", "Kleist"),
        thinking("the reference", "goethe"),
        "cut~",
    )
    samples = [rollouts(SUM, thinking("one more", "2")), facts]
    rows = builder(stage(), "cold", count_tokens, LLMGrader(ask))(samples)
    assert len(prompts) == 3  # neither the sum, nor the reference itself, nor what has no answer
    assert [row.accuracy for row in rows] == [1.0, 1.0, 0.0, None, 1.0, None]
    assert [row.reason for row in rows] == [None, None, "wrong", "ungraded", None, "truncated"]
    free = stage(keep={"correct": False}, most_per_problem=9)
    rows = builder(free, "cold", count_tokens, LLMGrader(ask))(samples)
    assert len(prompts) == 3 and [row.reason for row in rows] == [None] * 5 + ["truncated"]


def test_only_what_is_kept_is_rewritten() -> None:
    teller = Teller()
    samples = rollouts(SUM, thinking("yes", "2"), thinking("no", "2"), thinking("bad", "3"))
    rows = builder(stage(), "cold", count_tokens, rewriter=teller)([samples])
    assert sorted(case.thought.strip() for case in teller.given) == ["no", "yes"]
    assert [row.reason for row in rows] == [None, "not_rewritten", "wrong"]
    assert [row.detail for row in rows] == [None, "no_reasoning", None]
    assert rows[0].completion[0]["content"] == "<think>\nI think so.\n</think>\n<answer>2</answer>"
    assert (rows[0].thought, rows[0].summary, rows[0].thought_tokens) == (
        "I think so.",
        "It is 2.",
        3,
    )
    assert (rows[0].sampled_thought or "").strip() == "yes" and rows[1].summary is None


def test_the_summary_may_be_what_follows_the_thought() -> None:
    samples = rollouts(SUM, thinking("yes", "2"))
    config = stage(rewriter="miniature", final="summary")
    (row,) = builder(config, "cold", count_tokens, rewriter=Teller())([samples])
    assert row.completion[0]["content"].endswith("\n<answer>It is 2.</answer>")
    assert row.answer == "2"


class Boxer(Teller):
    """Puts what it is told to into the summary's box."""

    def __init__(self, box: str) -> None:
        super().__init__()
        self.box = box

    def rewrite(self, cases: Sequence[Case]) -> list[Rewritten | Refusal]:
        return [Rewritten(self.again, f"One and one is {self.box}.") for _ in cases]


def released(**options: Any) -> SampleStage:
    """Sampled in the form of R1-Zero, written in that of the released models."""
    return stage(completion_template="r1", rewriter="miniature", final="summary", **options)


def test_a_summary_may_take_another_template() -> None:
    samples = rollouts(SUM, thinking("yes", "2"))
    boxer = Boxer(r"\boxed{2}")
    (row,) = builder(released(), "cold", count_tokens, rewriter=boxer)([samples])
    content = "<think>\nI think so.\n</think>\nOne and one is \\boxed{2}."
    assert row.completion[0]["content"] == content and row.messages[1]["content"] == content
    assert (row.answer, row.summary, row.reason) == ("2", r"One and one is \boxed{2}.", None)


@pytest.mark.parametrize(
    "box", ["2", r"\boxed{3}", r"\boxed{}", r"\boxed{2", r"\boxed{2}, then \boxed{3}"]
)
def test_a_summary_with_another_answer_is_no_data(box: str) -> None:
    samples = rollouts(SUM, thinking("yes", "2"))
    (row,) = builder(released(), "cold", count_tokens, rewriter=Boxer(box))([samples])
    assert (row.reason, row.detail, row.summary) == ("not_rewritten", "answer_missing", None)
    tagged = stage(rewriter="miniature", final="summary")
    (row,) = builder(tagged, "cold", count_tokens, rewriter=Boxer(box))([samples])
    assert row.reason is None and row.completion[0]["content"].endswith(f" {box}.</answer>")


def test_a_summary_that_no_rule_can_grade_is_taken() -> None:
    samples = rollouts(FACT, thinking("a poet", "J. W. von Goethe"))
    config = released(keep={"correct": False})
    (row,) = builder(config, "cold", count_tokens, rewriter=Boxer("Goethe's"))([samples])
    assert row.reason is None and row.completion[0]["content"].endswith("One and one is Goethe's.")


def test_samples_with_summaries_keep_theirs() -> None:
    """Rejection sampling from a model that writes summaries: what it said, box and all."""
    content = r"Adding gives \boxed{2}."
    samples = rollouts(SUM, TEMPLATES["r1"].respond("one more", content), template="r1")
    (row,) = builder(stage(template="r1"), "more", count_tokens)([samples])
    assert row.completion[0]["content"] == f"<think>\none more\n</think>\n{content}"
    assert (row.answer, row.accuracy, row.summary) == ("2", 1.0, None)
    tagged = stage(template="r1", completion_template="r1-zero")
    (row,) = builder(tagged, "more", count_tokens)([samples])
    assert row.completion[0]["content"].endswith("</think>\n<answer>2</answer>")


def test_a_bare_answer_may_stand_for_a_summary() -> None:
    samples = rollouts(SUM, thinking("yes", "2"))
    (row,) = builder(stage(completion_template="r1"), "cold", count_tokens)([samples])
    assert row.completion[0]["content"] == "<think>\nyes\n</think>\n2"


def test_what_was_rewritten_is_looked_at_again() -> None:
    samples = rollouts(SUM, thinking("yes", "2"))
    (row,) = builder(stage(), "cold", count_tokens, rewriter=Teller("```\n1+1\n```"))([samples])
    assert (row.reason, row.detail, row.summary) == ("not_rewritten", "code_block", None)
    assert (row.thought or "").strip() == "yes"


def test_batches_become_two_files(tmp_path: Path) -> None:
    rows = builder(stage(), "cold", count_tokens)(
        [rollouts(SUM, thinking("a b", "2"), "cut~"), rollouts(SUM, thinking("a b", "3"))]
    )
    parts = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    write_part(parts[0], rows[:2], seconds=1.5)
    write_part(parts[1], [replace(rows[2], detail="x")], seconds=2.0)
    assert sum(map(read_seconds, parts)) == 3.5
    remaining, rejected = tmp_path / "data.parquet", tmp_path / "rejected.parquet"
    merge_parts(parts, remaining, rejected=False)
    merge_parts(parts, rejected, rejected=True)
    assert pq.read_schema(remaining).names == list(SAMPLE_COLUMNS)
    assert pq.read_schema(rejected).names == [*SAMPLE_COLUMNS, *REASON_COLUMNS]
    assert pq.read_table(remaining).to_pylist()[0]["messages"] == rows[0].messages
    assert pq.read_table(rejected)["reason"].to_pylist() == ["truncated", "wrong"]
    assert read_outcomes(parts)[2] == SampleOutcome("s", "math", "wrong", "x", 2, 2)
    assert not pq.read_schema(remaining).metadata, "nothing in the data may depend on the clock"

"""From responses to judged data, by hand: who is compared with whom, in which order, and what is left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dianoia.base.preference_records import Comparison, Judged, Labelled
from dianoia.base.records import Completion, Problem, Rollout
from dianoia.config import PreferencesStage
from dianoia.datasets.pairs import preference
from dianoia.datasets.preference_builder import OneAtATime, PreferenceBuilder
from dianoia.datasets.response_verdicts import tally
from dianoia.storage.preference_table import PAIRWISE, POINTWISE, Response
from dianoia.storage.sample_table import write_rows
from dianoia.tasks.preference_files import read_labelled, read_pairs
from dianoia.text.parsing import make_rollout
from dianoia.text.template import TEMPLATES, Tags
from dianoia.text.visible import final_part

WHY = Problem("w", "Why?", "-", "reference", domain="general")
HOW = Problem("h", "How?", "-", "reference", domain="safety")


def stage(**options: Any) -> PreferencesStage:
    table = {
        "kind": "preferences", "starts": ["dev3"], "problems": "x.jsonl", "prompts": 2, "samples": 4,
        "template": "r1", "sampling": {"max_tokens": 9}, "judge": "miniature",
    }  # fmt: skip
    return PreferencesStage.model_validate(table | options)


def rollouts(problem: Problem, *texts: str, template: str = "r1") -> list[Rollout]:
    """A text that ends in "~" is cut."""
    return [
        make_rollout(
            problem, index, (3,), Completion((1, 0), (0.0, 0.0), not text.endswith("~")),
            text.removesuffix("~"), TEMPLATES[template],
        )
        for index, text in enumerate(texts)
    ]  # fmt: skip


def saying(summary: str, thought: str = "hm") -> str:
    return TEMPLATES["r1"].respond(thought, summary)


class Longer:
    """Prefers the longer answer, more so in the second place; unsafe is what holds "how"."""

    def __init__(self) -> None:
        self.shown = list[tuple[str, ...]]()

    def compare(self, problem: Problem, first_answer: str, second_answer: str) -> str | None:
        self.shown.append((problem.id, first_answer, second_answer))
        if "?" in first_answer + second_answer:
            return None
        return "A>B" if len(first_answer) > len(second_answer) else "B>>A"

    def is_safe(self, problem: Problem, response: str) -> bool | None:
        self.shown.append((problem.id, response))
        return None if "?" in response else "how" not in response


def builder(config: PreferencesStage, name: str, annotator: Any) -> PreferenceBuilder:
    return PreferenceBuilder(config, name, 1, TEMPLATES[config.template], annotator)


def judged(config: PreferencesStage, *texts: str, judge: Longer | None = None) -> Any:
    comparer = builder(config, "pairs", OneAtATime(judge or Longer()))
    return comparer([WHY], comparer.responses("dev3", rollouts(WHY, *texts)))


def test_a_pair_by_hand() -> None:
    judge = Longer()
    (row,), decided = judged(stage(), saying("Because."), saying("So."), judge=judge)
    short, long = ("w", "So.", "Because."), ("w", "Because.", "So.")
    assert judge.shown in ([short, long] * 2, [long, short] * 2), "orders alternate"
    texts = {text: f"<think>\nhm\n</think>\n{text}" for text in ("Because.", "So.")}
    longer = row["responses"].index(texts["Because."])
    assert sorted(row["responses"]) == sorted(texts.values())
    assert row["verdicts"] == (["A>B", "B>>A"] * 2 if longer == 0 else ["B>>A", "A>B"] * 2)
    assert preference(row["verdicts"]) == (1.5 if longer == 0 else -1.5)
    assert row["prompt"] == [{"role": "user", "content": "Why?"}]
    assert (row["problem"], row["domain"], row["stage"]) == ("w", "general", "pairs")
    assert row["checkpoints"] == ["dev3"] * 2 and sorted(row["samples"]) == [0, 1]
    assert [outcome.reason for outcome in decided] == [None, None]


def test_what_is_not_compared() -> None:
    texts = (saying("a"), saying("b~").removesuffix("~") + "~", "no tags", saying("a", "other"))
    rows, decided = judged(stage(), *texts)
    reasons = ["unpaired", "truncated", "malformed", "duplicate"]
    assert rows == [] and [outcome.reason for outcome in decided] == reasons
    assert [outcome.detail for outcome in decided] == [None, None, "no_tags", None]


def test_an_answer_of_tags_alone_shows_the_judge_of_pairs_nothing() -> None:
    """The r1 template has no answer tag, so that a stray one is all that some summaries are."""
    texts = (saying("a"), saying("</answer>"), saying("b"))
    rows, decided = judged(stage(), *texts)
    assert len(rows) == 1 and [outcome.reason for outcome in decided] == [None, "empty", None]
    # whoever labels a whole response sees its thought
    rows, decided = judged(stage(objective="pointwise"), *texts)
    assert len(rows) == 3 and [outcome.reason for outcome in decided] == [None, None, None]


def test_who_is_in_no_pair() -> None:
    rows, decided = judged(stage(samples=5), *map(saying, "abcde"))
    assert len(rows) == 1 and sum(outcome.reason == "unpaired" for outcome in decided) == 3
    rows, decided = judged(stage(samples=5, pairs_per_problem=10), *map(saying, "abcde"))
    assert len(rows) == 10 and all(outcome.reason is None for outcome in decided)


def test_a_verdict_that_cannot_be_read_is_none() -> None:
    (row,), _ = judged(stage(judgements=2), saying("What?"), saying("That."))
    assert row["verdicts"] == [None, None]


def test_requests_for_the_same_order_are_numbered() -> None:
    prompts = list[Comparison]()

    class Many:
        def compare(self, comparisons: Sequence[Comparison]) -> list[str | None]:
            prompts.extend(comparisons)
            return ["A=B"] * len(comparisons)

        def are_safe(self, responses: Sequence[tuple[Problem, str]]) -> list[bool | None]:
            raise AssertionError("pairs are compared")

    comparer = builder(stage(judgements=6), "pairs", Many())
    comparer([WHY], comparer.responses("dev3", rollouts(WHY, saying("a"), saying("b"))))
    assert [comparison.repetition for comparison in prompts] == [0, 0, 1, 1, 2, 2]
    assert (
        len(
            {(comparison.first, comparison.second, comparison.repetition) for comparison in prompts}
        )
        == 6
    )


def test_pairs_are_drawn_over_checkpoints() -> None:
    config = stage(starts=["base", "dev3"], samples=1)
    comparer = builder(config, "pairs", OneAtATime(Longer()))
    responses = comparer.responses("base", rollouts(WHY, saying("a")))
    responses += comparer.responses("dev3", rollouts(WHY, saying("bb")))
    (row,), _ = comparer([WHY], responses)
    assert sorted(row["checkpoints"]) == ["base", "dev3"]
    message = dict(zip(row["checkpoints"], row["responses"], strict=True))
    assert message["dev3"].endswith("bb") and message["base"].endswith("\na")


def test_labels_by_hand() -> None:
    """Safety is judged by everything: equal summaries after different thoughts are different responses."""
    judge, config = Longer(), stage(objective="pointwise")
    texts = (saying("No.", "tell how"), saying("No.", "refuse"), saying("No.", "refuse"), "x~",
             saying("Why?"))  # fmt: skip
    rows, decided = judged(config, *texts, judge=judge)
    assert [shown[1] for shown in judge.shown] == [
        texts[position].strip() for position in (0, 1, 4)
    ]
    assert [(row["response"], row["label"], row["sample"]) for row in rows] == [
        (texts[0].strip(), False, 0),
        (texts[1].strip(), True, 1),
    ]
    reasons = [None, None, "duplicate", "truncated", "unreadable"]
    assert [outcome.reason for outcome in decided] == reasons


def test_a_prefilled_prompt_gives_its_tag_to_the_response() -> None:
    template, judge = TEMPLATES["r1-prefilled"], Longer()
    config = stage(template=template.name, objective="pointwise")
    comparer = builder(config, "labels", OneAtATime(judge))
    samples = rollouts(WHY, template.respond("hm", "So."), template=template.name)
    (row,), _ = comparer([WHY], comparer.responses("dev3", samples))
    assert row["response"] == judge.shown[0][1] == "<think>\nhm\n</think>\nSo."


def test_reward_models_read_the_rows(tmp_path: Path) -> None:
    rows, _ = judged(stage(), saying("Because."), saying("So."))
    file = tmp_path / "pairs.parquet"
    write_rows(file, rows, PAIRWISE, 0.0)
    (read,) = read_pairs(file, lambda response: final_part(response, Tags()))
    assert isinstance(read, Judged) and read.prompt == "Why?"
    assert sorted(read.responses) == ["Because.", "So."] and len(read.verdicts) == 4
    rows, _ = judged(stage(objective="pointwise"), saying("No.", "tell how"))
    write_rows(file, rows, POINTWISE, 0.0)
    whole = "<think>\ntell how\n</think>\nNo."
    assert list(read_labelled(file, str)) == [Labelled("Why?", whole, good=False)]


kinds = st.sampled_from([saying("a"), saying("b"), saying("c?"), saying("a", "how"), "bad", "cut~"])


@given(st.lists(kinds, max_size=8), st.lists(kinds, max_size=8), st.booleans(), st.integers(1, 9))
def test_every_response_has_one_verdict(
    whys: list[str], hows: list[str], pairwise: bool, most: int
) -> None:
    extra = {"samples": 8, "pairs_per_problem": most} if pairwise else {"objective": "pointwise"}
    comparer = builder(stage(**extra), "s", OneAtATime(Longer()))
    responses = comparer.responses("a", [*rollouts(WHY, *whys), *rollouts(HOW, *hows)])
    rows, decided = comparer([WHY, HOW], responses)
    counts = tally([outcome.reason for outcome in decided])
    assert counts["sampled"] == len(responses) == counts["kept"] + sum(counts["left_out"].values())
    assert [(r.problem, r.sample) for r in decided] == [(r.problem, r.sample) for r in responses]
    if pairwise:
        used = {(r["problem"], s) for r in rows for s in r["samples"]}
        assert all(len(row["verdicts"]) == 4 for row in rows)
    else:
        used = {(r["problem"], r["sample"]) for r in rows}
    assert used == {(r.problem, r.sample) for r in decided if r.reason is None}
    assert isinstance(decided, list) and all(isinstance(outcome, Response) for outcome in decided)

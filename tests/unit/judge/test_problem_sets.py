"""The sets of an RL stage: streams and keys of their own, shares of a rollout, weights."""

from pathlib import Path

import pytest

from dianoia.base.records import Purpose
from dianoia.config import PreferenceSettings, RewardSettings
from dianoia.judge.judge import reward_weights
from dianoia.judge.problem_sets import ProblemSet, ProblemSets
from dianoia.tasks.catalog import general_source, problem_source


def sets() -> ProblemSets:
    source = problem_source("miniature/math")
    return ProblemSets([ProblemSet(purpose, source) for purpose in Purpose], seed=3)


def test_each_set_has_a_stream_and_keys_of_its_own() -> None:
    built = sets()
    draws = built.next({"reasoning": 3})
    keys = [draw.key for draw in draws]
    assert keys == [(3, 0), (3, 1), (3, 2)], "as without preferences"
    later = built.next({"reasoning": 2, "helpful": 2, "safety": 1})
    assert [draw.purpose for draw in later] == ["reasoning"] * 2 + ["helpful"] * 2 + ["safety"]
    extra = [draw.key for draw in later]
    assert extra[:2] == [(3, 3), (3, 4)]
    assert [key[::2] for key in extra[2:]] == [(3, 0), (3, 1), (3, 0)]
    assert len({len(key) for key in extra}) == 2 and len({*keys, *extra}) == 8
    marks = {key[1] for key in extra[2:]}
    assert len(marks) == 2 and not marks & {104_729, 7919}, "nor those of curve and evaluation"
    assert [draw.problem for draw in draws] == problem_source("miniature/math").draw(3, 0, 3)
    state = built.state()["drawn"]
    assert state == {"reasoning": 5, "helpful": 2, "safety": 1}
    again = sets()
    again.load_state(built.state())
    counts = {"reasoning": 1, "helpful": 1, "safety": 1}
    assert again.next(counts) == built.next(counts)


def test_general_prompts_need_no_answers(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    rows = ['{"prompt": [{"role": "user", "content": "Say %d"}]}' % n for n in range(40)]  # noqa: UP031
    file.write_text("\n".join([*rows, '{"prompt": "Essay?", "answer": ["x"], "verifier": "what"}']))
    source = general_source(file.as_posix())
    problems = source.draw(1, 0, 10)
    assert {(p.domain, p.answer) for p in problems} == {("general", "")}
    assert len({p.question for p in problems}) == 10 and source.heldout(3)
    assert source.languages == {"en"}


@pytest.mark.parametrize(
    ("settings", "problems", "counts"),
    [
        ({"share": 0.5, "safety_share": 0.25}, 16, {"helpful": 6, "safety": 2}),
        ({"share": 0.5}, 512, {"helpful": 205, "safety": 51}),
        ({"share": 0.3}, 10, {"helpful": 2, "safety": 1}),
        ({"safety": None, "safety_problems": None}, 16, {"helpful": 8, "safety": 0}),
        ({"helpful": None, "problems": None}, 16, {"helpful": 0, "safety": 8}),
    ],
)
def test_a_rollout_is_divided_by_shares(
    settings: dict[str, object], problems: int, counts: dict[str, int]
) -> None:
    combined = {"helpful": "h", "problems": "a", "safety": "s", "safety_problems": "b"}
    assert PreferenceSettings(**{**combined, **settings}).general_counts(problems) == counts


def test_weights_of_all_parts_are_known() -> None:
    config = PreferenceSettings(helpful="h", problems="a", helpful_weight=0.25)
    weights = reward_weights(RewardSettings(language=2.0, overlong_cache=3), config)
    assert weights == {
        "accuracy": 1.0, "format": 1.0, "language": 2.0, "random": 0.0, "overlong": 1.0,
        "helpful": 0.25, "safety": 1.0,
    }  # fmt: skip

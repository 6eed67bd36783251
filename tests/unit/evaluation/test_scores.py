"""Scores read from rollouts: the same estimates as the stage has, and differences by problem."""

from dataclasses import asdict
from pathlib import Path

import pytest

from dianoia.base.errors import DamagedFile
from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.evaluation.scores import differences, read_scores
from dianoia.metrics.group_metrics import by_domain, measures
from dianoia.metrics.votes import with_votes
from dianoia.storage.rollout_table import write_rollouts

ANSWERS = {
    "a": ["5", "5", "6", "5"],
    "b": ["7", "1/3", "0.25", r"\frac13"],
    "c": [None, "9", "9", "2"],
}
GOLDS = {"a": "5", "b": "7", "c": "2"}


def group(name: str, answers: list[str | None], domain: str = "math") -> Group:
    problem = Problem(name, f"What is {name}?", GOLDS[name], "math", domain)
    rollouts = [
        Rollout(problem, n, (1,), Completion((1,) * (n + 1), (0.0,) * (n + 1), answer is not None), "text",
                RolloutStatus.TRUNCATED if answer is None else RolloutStatus.FINISHED, "", answer)
        for n, answer in enumerate(answers)
    ]  # fmt: skip
    scores = [
        Score(float(answer == GOLDS[name]), {"accuracy": float(answer == GOLDS[name])})
        for answer in answers
    ]
    return Group(problem, tuple(rollouts), tuple(scores))


def written(path: Path, answers: dict[str, list[str | None]] = ANSWERS) -> Path:
    write_rollouts(path, with_votes([group(name, members) for name, members in answers.items()]))
    return path


def test_estimates_are_those_of_the_stage(tmp_path: Path) -> None:
    groups = with_votes([group(name, members) for name, members in ANSWERS.items()])
    scores = read_scores(written(tmp_path / "rollouts.parquet"))
    stage = measures(groups, lambda texts: [1] * len(texts), [2])
    ours = scores.estimates()
    for metric in ("pass@1", "cons@4", "pass@2", "pass@4", "format", "truncated"):
        assert asdict(ours[metric]) == asdict(stage[metric]), metric
    # pass@2 by hand: a has 3 right of 4, b and c have 1: 1, 1 - C(3,2)/C(4,2) = 1/2, 1/2.
    assert ours["pass@2"].value == pytest.approx((1 + 0.5 + 0.5) / 3)
    # Votes by meaning: in b one third has two of four votes, and 7 has one. In c 9 outvotes 2.
    assert ours["cons@4"].value == pytest.approx(1 / 3)
    assert ours["tokens"].value == 2.5


def test_domains_are_split(tmp_path: Path) -> None:
    groups = [
        group("a", ANSWERS["a"], "sums"),
        group("b", ANSWERS["b"], "parts"),
        group("c", ANSWERS["c"], "sums"),
    ]
    write_rollouts(tmp_path / "r.parquet", with_votes(groups))
    parts = read_scores(tmp_path / "r.parquet").by_domain()
    assert list(parts) == ["sums", "parts"] and list(by_domain(groups)) == ["sums", "parts"]
    assert parts["sums"].problems == ("a", "c")
    assert parts["sums"].estimates()["pass@1"].value == pytest.approx((0.75 + 0.25) / 2)


def test_a_difference_is_taken_problem_by_problem(tmp_path: Path) -> None:
    better = ANSWERS | {"b": ["7", "7", "7", "7"]}
    first, second = (
        read_scores(written(tmp_path / "1")),
        read_scores(written(tmp_path / "2", better)),
    )
    values = differences(second, first)
    assert values["pass@1"].value == pytest.approx(0.75 / 3) and values["pass@1"].n == 3
    assert values["cons@4"].value == pytest.approx(1 / 3)
    # Fewer problems: those that both have; another k: no difference of votes.
    fewer = read_scores(written(tmp_path / "3", {"b": ["7", "7"], "a": ["5", "1"]}))
    assert differences(fewer, first).keys() == {"pass@1"}
    assert differences(fewer, first)["pass@1"].value == pytest.approx(
        ((1 - 0.25) + (0.5 - 0.75)) / 2
    )


def test_a_file_that_is_no_rollouts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"PAR1")
    with pytest.raises(DamagedFile, match="cannot be read"):
        read_scores(tmp_path / "empty")
    write_rollouts(tmp_path / "none", [])
    with pytest.raises(DamagedFile, match="holds no rollouts"):
        read_scores(tmp_path / "none")

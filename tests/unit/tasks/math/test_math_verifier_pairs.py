"""The accuracy of the grader on labelled pairs, written by hand and generated."""

from collections import Counter

import pytest

from dianoia.base.records import Problem
from dianoia.tasks.math import Verdict, judged, shared_workers
from tests.unit.tasks.math.math_pairs import Pair, by_hand, generated

GENERATED = 10
SEED = 20_250_117


def _verdicts(pairs: list[Pair]) -> list[Verdict]:
    return [
        judgement.verdict
        for judgement in judged(
            [(Problem("p", p.question, p.gold, "math"), p.answer) for p in pairs]
        )
    ]


def _description(pair: Pair, verdict: Verdict) -> str:
    return f"{pair.label}: gold {pair.gold[:80]!r}, answer {pair.answer[:80]!r} is {verdict}"


@pytest.mark.parametrize("source", ["by hand", "generated"])
def test_labelled_pairs(source: str, accuracy: dict[str, tuple[int, int]]) -> None:
    pairs = by_hand() if source == "by hand" else list(generated(GENERATED, SEED))
    verdicts = _verdicts(pairs)
    errors = []
    correct: Counter[str] = Counter()
    for pair, verdict in zip(pairs, verdicts, strict=True):
        is_correct = (verdict is Verdict.RIGHT) == (pair.label == "equivalent")
        correct[pair.label] += is_correct
        if not is_correct:
            errors.append(_description(pair, verdict))
    for label, count in Counter(pair.label for pair in pairs).items():
        accuracy[f"{source}, {label}"] = correct[label], count
    assert not errors, "\n".join(errors)


def test_the_table_is_large_and_has_every_label() -> None:
    counts = Counter(pair.label for pair in by_hand())
    assert sum(counts.values()) >= 300
    assert min(counts[label] for label in ("equivalent", "different", "junk", "hostile")) >= 50


def test_every_pair_is_graded_within_its_bounds_and_every_gold_answer_is_readable() -> None:
    pairs = [pair for pair in by_hand() if pair.label != "hostile"]
    assert not {Verdict.TIMED_OUT, Verdict.CRASHED, Verdict.OUT_OF_MEMORY, Verdict.GOLD_UNREADABLE} & set(_verdicts(pairs))  # fmt: skip


def test_hostile_answers_kill_no_worker() -> None:
    before = shared_workers().replaced
    _verdicts([pair for pair in by_hand() if pair.label == "hostile"])
    assert shared_workers().replaced == before


def test_every_gold_answer_is_right() -> None:
    golds = sorted({pair.gold for pair in by_hand()})
    verdicts = _verdicts([Pair(gold, rf"\boxed{{{gold}}}", "equivalent") for gold in golds])
    assert [gold for gold, v in zip(golds, verdicts, strict=True) if v is not Verdict.RIGHT] == []


@pytest.mark.parametrize(
    "gold",
    ["", " ", "see solution", r"\frac{1}{", "9^{9^{9}}", "(10^9)!", "?", "\x00", "x" * 3000, r"\def\a{}", "5\n6", r"\boxed{}"],
)  # fmt: skip
def test_no_answer_to_an_unreadable_gold_answer_is_scored(gold: str) -> None:
    problem = Problem("p", "?", gold, "math")
    for answer in ("5", gold, ""):
        (judgement,) = judged([(problem, answer)])
        assert judgement.verdict is Verdict.GOLD_UNREADABLE
        assert judgement.score is None

"""The miniature's mathematics: chains within bounds, a fence that nothing crosses, answers that hold.

Questions are read back to chains by readers of the tests' own, so that nothing is compared with itself.
"""

import hashlib
import random
from collections import Counter

import pytest

from dianoia.base.records import Problem
from dianoia.miniature.chains import (
    BOUNDS,
    Chain,
    Operation,
    Split,
    draw_chain,
    draw_operand,
    operations_on,
)
from dianoia.miniature.problems import MiniatureProblems, training_problem
from dianoia.miniature.stories import StoryItem, tell_story
from dianoia.tasks.catalog import VERIFIERS
from tests.unit.miniature.miniature_readers import chains_told, result, within

MATH = MiniatureProblems("math")
LARGEST = {2: (100, 19), 3: (150, 29), 4: (200, 49), 5: (300, 69), 6: (400, 99), 7: (400, 99)}
"""The largest value and the largest operand by the number of steps, written down a second time."""
IN_CORPUS = {2: (60, 9), 3: (100, 19), 4: (150, 29), 5: (200, 49), 6: (300, 69), 7: (400, 99)}
"""The same in the corpus."""


def verdict(problem: Problem, answer: str) -> float | None:
    return VERIFIERS[problem.verifier](problem, answer)


def test_a_chain_by_hand() -> None:
    chain = Chain(12, (Operation("+", 7), Operation("*", 2), Operation("-", 4), Operation("/", 2)))
    assert chain.values == (12, 19, 38, 34, 17)
    assert chain.result == 17
    assert chain.signature == "12+7*2-4/2"


@pytest.mark.parametrize("split", list(Split))
@pytest.mark.parametrize("in_corpus", [False, True])
@pytest.mark.parametrize("steps", LARGEST)
def test_chains_keep_their_bounds(steps: int, in_corpus: bool, split: Split) -> None:
    rng = random.Random(steps)
    largest, largest_operand = (IN_CORPUS if in_corpus else LARGEST)[steps]
    for _ in range(200):
        chain = draw_chain(rng, steps, split, in_corpus=in_corpus)
        assert len(chain.operations) == steps and chain.split is split
        assert len(chain.values) == steps + 1
        assert all(1 <= value <= largest for value in chain.values)
        for value, operation in zip(chain.values, chain.operations, strict=False):
            if operation.sign == "/":
                assert operation.operand == 2 and value % 2 == 0
            elif operation.sign == "*":
                assert operation.operand in (2, 3)
            else:
                assert operation.sign in "+-" and 2 <= operation.operand <= largest_operand


@pytest.mark.parametrize("steps", LARGEST)
def test_every_value_has_a_next_one_within_bounds(steps: int) -> None:
    rng, (largest, _) = random.Random(steps), LARGEST[steps]
    for value in range(1, largest + 1):
        for _ in range(10):
            actual = operations_on(value, BOUNDS[steps], rng)
            assert actual
            for operation in actual:
                assert 1 <= operation.apply(value) <= largest
                assert operation.sign != "/" or value % 2 == 0
        expected = {"+"} if value <= largest - 2 else set()
        expected |= {"-"} if value >= 3 else set()
        expected |= {"*"} if value <= largest // 2 else set()
        expected |= {"/"} if value % 2 == 0 and value > 2 else set()
        assert {
            operation.sign for operation in operations_on(value, BOUNDS[steps], rng)
        } == expected


def test_operands_of_a_sum_have_two_digits_as_often_as_stated() -> None:
    rng = random.Random(5)
    for largest, two_digits in ((9, 0.5), (10, 0.5), (29, 0.5), (29, 0.75)):
        operands = [draw_operand(rng, largest, two_digits) for _ in range(2000)]
        assert set(operands) == set(range(2, largest + 1))
        share = sum(operand >= 10 for operand in operands) / 2000
        assert within(share, two_digits, 2000) if largest > 9 else share == 0


def test_the_fence_is_a_hash_of_the_signature() -> None:
    chains = [
        Chain(start, (Operation("+", a), Operation("*", 2), Operation("-", b)))
        for start in range(3, 20)
        for a in range(2, 10)
        for b in range(2, 10)
        if a != b
    ]
    held_out = 0
    for chain in chains:
        number = int(hashlib.sha256(chain.signature.encode()).hexdigest()[:8], 16)
        assert chain.split is (Split.HELDOUT if number < 0.1 * 2**32 else Split.TRAIN)
        held_out += chain.split is Split.HELDOUT
    assert within(held_out / len(chains), 0.1, len(chains))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_story_tells_its_chain_and_no_wording_crosses_the_fence(language: str) -> None:
    rng = random.Random(3)
    for steps in LARGEST:
        for split in Split:
            chain = draw_chain(rng, steps, split)
            problems = [StoryItem(tell_story(chain, language, rng)).problem for _ in range(10)]
            assert len({problem.question for problem in problems}) > 1
            for problem in problems:
                assert chains_told(problem.question) == [(language, chain)]
                assert problem.language == language
                assert problem.difficulty == steps
                assert problem.answer == str(chain.result)
                assert problem.domain == "math"


def test_heldout_problems_are_all_different_and_always_the_same() -> None:
    problems = MATH.heldout(512)
    assert len(problems) == 512
    assert len({problem.id for problem in problems}) == 512
    assert len({problem.question for problem in problems}) == 512
    assert MATH.heldout(512) == problems
    assert MATH.heldout(64) == problems[:64]
    for problem in problems:
        ((language, chain),) = chains_told(problem.question)
        assert chain.split is Split.HELDOUT
        assert problem.id == f"{language}:{chain.signature}"
    assert within(sum(p.language == "en" for p in problems) / 512, 0.5, 512)
    steps = Counter(problem.difficulty for problem in problems)
    assert sorted(steps) == [2, 3, 4, 5, 6, 7]
    assert all(within(count / 512, 1 / 6, 512) for count in steps.values())


def test_no_training_problem_is_held_out_for_any_seed_or_language() -> None:
    kept_back = {chains_told(p.question)[0][1].signature for p in MATH.heldout(1000)}
    for seed in range(5):
        for problem in MATH.draw(seed, 1000 * seed, 200):
            ((_, chain),) = chains_told(problem.question)
            assert chain.split is Split.TRAIN
            assert chain.signature not in kept_back


def test_problems_do_not_depend_on_how_they_are_batched() -> None:
    source = MATH
    whole = source.draw(1, 0, 12)
    training_problem.cache_clear()  # drawn anew
    assert source.draw(1, 0, 5) + source.draw(1, 5, 1) + source.draw(1, 6, 6) == whole
    assert MATH.draw(1, 7, 3) == whole[7:10]
    assert len({problem.question for problem in source.draw(1, 0, 300)}) > 290


def test_another_seed_is_another_stream() -> None:
    streams = [MATH.draw(seed, 0, 200) for seed in (1, 2, 11)]
    for first, other in ((0, 1), (0, 2), (1, 2)):
        same = sum(a.id == b.id for a, b in zip(streams[first], streams[other], strict=True))
        assert same <= 2
    # seed 1 problem 11 and seed 11 problem 1 must not share a generator
    assert MATH.draw(1, 11, 1) != MATH.draw(11, 1, 1)


def test_the_gold_answer_is_right_and_near_misses_are_not() -> None:
    for problem in MATH.draw(5, 0, 200) + MATH.heldout(200):
        ((_, chain),) = chains_told(problem.question)
        assert problem.answer == str(result(chain))
        assert verdict(problem, problem.answer) == 1.0
        gold = int(problem.answer)
        for junk in (
            str(gold + 1),
            str(gold - 1),
            str(-gold),
            f"{gold}0",
            f"{gold}%",
            "",
            " ",
            f"the answer is {gold}",
            f"{gold} apples",
            f"{gold - 1}+1",
            f"{gold} or {gold + 1}",
            problem.question,
        ):
            assert verdict(problem, junk) == 0.0, junk

"""How the miniature's authors think: right lines are right, slips are carried on, checks help."""

import random
import re
from dataclasses import dataclass, replace

import pytest

from dianoia.base.records import Problem
from dianoia.miniature.authors import (
    LANGUAGES,
    MIXED,
    Author,
    Item,
    Thought,
    answer_at_once,
    checked_derivation,
    derivation,
)
from dianoia.miniature.chains import Chain, Operation, Split, draw_chain
from dianoia.miniature.logic import draw_turns
from dianoia.miniature.programs import draw_print
from dianoia.miniature.stories import StoryItem, near_result, tell_story, wrong_value
from dianoia.text.reflection import reflection_words
from tests.unit.miniature.miniature_readers import HAN, WEEK, within

LINE = re.compile(r"(?:([A-Z][a-z]+) |(周.))([-+*/])(\d+)=(-?\d+)")
LATIN = re.compile(r"[A-Za-z]")


@dataclass
class StoryTeller:
    """A story and the author who thinks about it."""

    item: StoryItem
    author: Author

    @property
    def chain(self) -> Chain:
        return self.item.story.chain

    @property
    def gold(self) -> str:
        return str(self.chain.result)

    def derive(self, slip: float) -> Thought:
        return self.item.derive(self.author, slip)

    def derivation(self) -> Thought:
        return derivation(self.item, self.author)

    def checked(self) -> Thought:
        return checked_derivation(self.item, self.author)

    def guess(self, right: float) -> Thought:
        return answer_at_once(self.item, replace(self.author, guess_right=right))


def story_teller(
    rng: random.Random,
    slip: float = 0.0,
    language: str = "en",
    thoughts: str | None = None,
    check_slip: float | None = None,
) -> StoryTeller:
    """An author who slips as often in a check as before, unless told otherwise."""
    chain = draw_chain(rng, rng.choice(range(2, 8)), Split.TRAIN)
    again = slip if check_slip is None else check_slip
    item = StoryItem(tell_story(chain, language, rng))
    return StoryTeller(item, Author(thoughts or language, slip, again, 0.5, rng))


def lines_of(text: str) -> list[tuple[int, Operation, int, str]]:
    """(value before, operation, value after, day) of every line of a tally; any other is an error.

    A line that is a number alone begins a tally.
    """
    lines, before = [], 0
    for line in text.splitlines():
        if line.isdigit():
            before = int(line)
            continue
        match = LINE.fullmatch(line)
        assert match, line
        english, chinese, sign, operand, after = match.groups()
        lines.append((before, Operation(sign, int(operand)), int(after), english or chinese))
        before = int(after)
    return lines


def derived(thought: Thought) -> str:
    lines = thought.text.splitlines()
    return "".join(line + "\n" for line in lines if "=" in line or line.isdigit())


@dataclass
class Scripted:
    """An item whose derivations end in given answers."""

    problem: Problem
    answers: list[str]
    checks: bool = True

    def derive(self, author: Author, slip: float) -> Thought:
        answer = self.answers.pop(0)
        return Thought(f"1+2={answer} cups\n", answer)

    def guess(self, author: Author) -> str:
        raise AssertionError("nobody asked for a guess")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_without_slips_every_line_is_right(language: str) -> None:
    rng = random.Random(1)
    for _ in range(150):
        teller = story_teller(rng, language=language)
        chain, thought = teller.chain, teller.derive(0.0)
        lines = lines_of(thought.text)
        assert [before for before, *_ in lines] == list(chain.values[:-1])
        assert [after for _, _, after, _ in lines] == list(chain.values[1:])
        assert tuple(operation for _, operation, _, _ in lines) == chain.operations
        assert [day for *_, day in lines] == WEEK[language][: len(lines)]
        for before, operation, after, _ in lines:
            sums = {"+": before + operation.operand, "-": before - operation.operand}
            sums |= {"*": before * operation.operand, "/": before / operation.operand}
            assert after == sums[operation.sign]
        assert thought.answer == str(chain.result)


def test_slips_come_at_their_rate_and_are_built_upon() -> None:
    rng, slip, wrong, count = random.Random(2), 0.2, 0, 0
    for _ in range(1000):
        teller = story_teller(rng)
        thought = teller.derive(slip)
        lines = lines_of(thought.text)
        assert tuple(operation for _, operation, _, _ in lines) == teller.chain.operations
        assert lines[0][0] == teller.chain.start
        assert thought.answer == str(lines[-1][2])
        wrong += sum(operation.apply(before) != after for before, operation, after, _ in lines)
        count += len(lines)
    assert within(wrong / count, slip, count)


def test_a_slip_is_wrong_by_what_a_person_would_err() -> None:
    rng = random.Random(0)
    off = {wrong_value(30, (), rng) - 30 for _ in range(500)}
    assert off == {-10, -2, -1, 1, 2, 10}


def test_what_follows_a_slip_is_true_arithmetic() -> None:
    rng = random.Random(0)
    halved = {wrong_value(30, (Operation("+", 3), Operation("/", 2)), rng) for _ in range(500)}
    assert halved == {29, 31}, "odd, so that the halving after + 3 comes out even"
    lessened = {wrong_value(10, (Operation("-", 9),), rng) for _ in range(500)}
    assert lessened == {11, 12, 20}, "nothing falls below 1"
    stuck = {wrong_value(1, (Operation("-", 9), Operation("-", 8)), rng) for _ in range(500)}
    assert stuck == {-9, -1, 0, 2, 3, 11}, "where nothing fits, anything goes"


@pytest.mark.parametrize(
    ("answers", "settled", "used"),
    [
        ("5 5", "5", 2),
        ("5 6 6", "6", 3),
        ("5 6 5", "5", 3),
        ("5 6 7", "7", 3),  # no majority: the last word counts
        ("west west", "west", 2),
        ("西方 东方 东方", "东方", 3),
    ],
)
def test_a_check_settles_by_majority(answers: str, settled: str, used: int) -> None:
    for seed in range(20):
        author = Author("en", 0.0, 0.0, 0.5, random.Random(seed))
        results = answers.split()
        scripted = Scripted(story_teller(author.rng).item.problem, [*results, "99"])
        thought = checked_derivation(scripted, author)
        assert thought.answer == settled
        assert len(results) == used and scripted.answers == ["99"]
        lines = thought.text.splitlines()
        assert [line.split("=")[1].split()[0] for line in lines if "=" in line] == results
        names = [name for name in {*results} if name in lines[-1]]
        assert names == [settled]
        first, second = results[:2]
        named_items = [line for line in lines if line.startswith(f"First {first}, now {second}.")]
        assert len(named_items) == 1 and ("Same" in named_items[0]) == (used == 2)
        if used == 2:
            # nothing comes after the comparison
            assert named_items[0] == lines[-1]


def test_who_has_nothing_to_compare_derives_once() -> None:
    author = Author("en", 0.0, 0.0, 0.5, random.Random(1))
    scripted = Scripted(
        story_teller(author.rng).item.problem, ["def f(x): return x", "99"], checks=False
    )
    thought = checked_derivation(scripted, author)
    assert thought.answer == "def f(x): return x" and scripted.answers == ["99"]
    assert reflection_words(thought.text).total() == 0


def test_an_answer_that_is_too_long_is_not_named() -> None:
    """Nine characters and more; the thought says nothing in its place."""
    for seed in range(60):
        rng = random.Random(seed)
        item = Scripted(story_teller(rng).item.problem, ["123456789"] * 3)
        text = derivation(item, Author("en", 0.0, 0.0, 0.5, rng)).text
        assert text.count("123456789") == 1, "in the derivation alone"
    short = {
        derivation(
            Scripted(item.problem, ["12345678"]), Author("en", 0.0, 0.0, 0.5, random.Random(seed))
        ).text
        for seed in range(60)
    }
    assert {"So 12345678.", "It is 12345678."} <= {
        line for text in short for line in text.splitlines()
    }


@pytest.mark.parametrize("draw", [draw_print, draw_turns])
def test_whatever_can_be_compared_is_checked_the_same_way(draw) -> None:
    rng, thrice = random.Random(14), 0
    for _ in range(200):
        item: Item = draw(rng, Split.TRAIN)
        thought = checked_derivation(item, Author(rng.choice(LANGUAGES), 0.1, 0.1, 0.5, rng))
        steps = item.problem.difficulty
        lines = [line for line in thought.text.splitlines() if "=" in line]
        assert len(lines) in (2 * steps, 3 * steps)
        assert [line[0] for line in lines] == list("abcdefg"[:steps]) * (len(lines) // steps)
        thrice += len(lines) == 3 * steps
        careful = checked_derivation(item, Author("en", 0.5, 0.0, 0.5, rng))
        assert careful.answer == item.problem.answer
    assert 20 < thrice < 180


def test_a_check_derives_twice_and_a_third_time_only_on_a_difference() -> None:
    rng, thrice = random.Random(4), 0
    for _ in range(400):
        teller = story_teller(rng, slip=0.1)
        steps = len(teller.chain.operations)
        lines = lines_of(derived(teller.checked()))
        assert len(lines) in (2 * steps, 3 * steps)
        results = [after for _, _, after, _ in lines][steps - 1 :: steps]
        assert (results[0] == results[1]) == (len(lines) == 2 * steps)
        assert {before for before, *_ in lines[::steps]} == {teller.chain.start}
        thrice += len(lines) == 3 * steps
    assert 40 < thrice < 360


def wrong_lines(text: str) -> int:
    return sum(o.apply(before) != after for before, o, after, _ in lines_of(text))


def test_first_derivations_and_checks_slip_each_at_their_own_rate() -> None:
    rng, wrong, count = random.Random(10), {"first": 0, "again": 0, "alone": 0}, 0
    for _ in range(800):
        teller = story_teller(rng, slip=0.3, check_slip=0.1)
        steps = len(teller.chain.operations)
        lines = derived(teller.checked()).splitlines(keepends=True)
        wrong["first"] += wrong_lines("".join(lines[: steps + 1]))
        wrong["again"] += wrong_lines("".join(lines[steps + 1 : 2 * steps + 2]))
        wrong["alone"] += wrong_lines(derived(teller.derivation()))
        count += steps
    for part, slip in (("first", 0.3), ("again", 0.1), ("alone", 0.3)):
        assert within(wrong[part] / count, slip, count), part
    # who checks without slips is always right
    for _ in range(100):
        careful = story_teller(rng, slip=0.5, check_slip=0.0)
        assert careful.checked().answer == careful.gold


def test_checking_makes_an_answer_right_more_often() -> None:
    """The reason why reflection can grow: a check carries information."""
    rng, right = random.Random(5), {"once": 0, "checked": 0}
    for _ in range(1500):
        teller = story_teller(rng, slip=0.1)
        right["once"] += teller.derivation().answer == teller.gold
        right["checked"] += teller.checked().answer == teller.gold
    # about 63 % of derivations of 2 to 7 lines have no slip; five standard deviations are 9 points
    assert right["checked"] - right["once"] > 0.09 * 1500


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("thoughts", ["en", "zh"])
def test_a_thought_keeps_its_language(language: str, thoughts: str) -> None:
    rng = random.Random(6)
    for _ in range(60):
        teller = story_teller(rng, 0.2, language, thoughts)
        foreign = HAN if thoughts == "en" else LATIN
        for thought in (
            teller.derive(0.2),
            teller.derivation(),
            teller.checked(),
            teller.guess(0.5),
        ):
            assert not foreign.search(thought.text)
        for number, (*_, day) in enumerate(lines_of(teller.derive(0.0).text)):
            assert day == WEEK[thoughts][number]


def test_a_mixed_thought_mixes_line_by_line() -> None:
    rng, chinese, count, combined = random.Random(7), 0, 0, 0
    for _ in range(300):
        lines = story_teller(rng, thoughts=MIXED).derive(0.0).text.splitlines()[1:]
        marked = [bool(HAN.search(line)) for line in lines]
        assert all(bool(LATIN.search(line)) != han for line, han in zip(lines, marked, strict=True))
        combined += len(set(marked)) == 2
        chinese, count = chinese + sum(marked), count + len(lines)
    assert within(chinese / count, 0.5, count)
    assert combined > 200


@pytest.mark.parametrize("language", ["en", "zh"])
def test_only_a_check_has_reflection_words(language: str) -> None:
    rng = random.Random(8)
    for _ in range(100):
        teller = story_teller(rng, 0.1, language)
        assert reflection_words(teller.derivation().text).total() == 0
        assert reflection_words(teller.guess(0.5).text).total() == 0
        assert reflection_words(teller.checked().text).total() >= 1


def test_guesses_are_right_as_often_as_asked_and_else_near() -> None:
    rng, right = random.Random(9), 0
    for _ in range(800):
        teller = story_teller(rng)
        result = teller.gold
        assert teller.guess(1.0).answer == result
        wrong = teller.guess(0.0)
        assert wrong.answer != result and int(wrong.answer) >= 1
        assert abs(int(wrong.answer) - int(result)) <= 15 and "=" not in wrong.text
        numbers = re.findall(r"\d+", wrong.text)
        assert numbers in ([], [wrong.answer])
        right += teller.guess(0.3).answer == result
    assert within(right / 800, 0.3, 800)


def test_near_finds_a_value_at_the_border() -> None:
    rng = random.Random(0)
    for chain, expected in (
        (Chain(3, (Operation("-", 2),)), range(2, 17)),  # 1
        (Chain(30, (Operation("*", 2),)), [*range(45, 60), *range(61, 76)]),  # 60
    ):
        assert {near_result(chain, rng) for _ in range(1000)} == set(expected)

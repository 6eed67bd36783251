"""The miniature's rewriter: every kind of thought, both languages, nothing changed, luck refused."""

import random
import re

import pytest
from dianoia.tasks.miniature.thoughts import MIXED, Author

from dianoia.base.records import Problem
from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.tasks.answers import number
from dianoia.tasks.miniature.chains import Split
from dianoia.tasks.miniature.problems import as_problem, draw_story
from dianoia.tasks.miniature.rewriter import MiniatureRewriter, rewrite
from dianoia.text.language import language_share
from dianoia.text.parsing import Parsed, parse
from dianoia.text.template import TEMPLATES

PROBLEM = Problem(
    "p",
    "Tom has 12 apples, Monday buys 7 more, Tuesday doubles them. How many now?",
    "38",
    "number",
)
TALLY = "12\nMonday +7=19\nTuesday *2=38\n"
SLIPPED = "12\nMonday +7=18\nTuesday *2=36\n"


def told(thought: str, answer: str = "38", problem: Problem = PROBLEM) -> Rewritten:
    found = rewrite(problem, thought, answer)
    assert isinstance(found, Rewritten), found
    return found


def test_a_derivation_by_hand() -> None:
    found = told("我来数。\n12\n周一+7=19\nTuesday *2=38\n所以是38。\n")
    assert found.thought.splitlines() == [
        "I start with 12 and count day by day.",
        "Monday: 12+7=19.",
        "Tuesday: 19*2=38.",
        "So I get 38.",
    ]
    assert found.summary == "Starting with 12 and counting 2 days gives 38."


def test_a_check_stays_and_so_does_the_slip_it_found() -> None:
    text = SLIPPED + "So 36.\nWait, let me check.\n" + TALLY
    text += "First 36, now 38. But they differ. Retry.\n" + TALLY + "It is 38.\n"
    lines = told(text).thought.splitlines()
    assert lines[1:4] == ["Monday: 12+7=18.", "Tuesday: 18*2=36.", "So I get 36."]
    assert lines[4] == "Wait, let me check. I start again with 12."
    assert lines[7] == "First 36, now 38. But they differ, so one is wrong."
    assert lines[11] == "First 38, now 38. Same, so it is 38." and len(lines) == 12


def test_three_results_end_with_the_last() -> None:
    text = SLIPPED + "12\nMonday +7=20\nTuesday *2=40\n" + TALLY
    assert told(text).thought.endswith("\nNow I get 38, so it is 38.")


@pytest.mark.parametrize(
    ("thought", "answer", "refusal"),
    [
        ("Easy.\n", "38", Refusal.NO_REASONING),
        ("", "38", Refusal.NO_REASONING),
        ("It is 38.\n", "38", Refusal.NO_REASONING),
        (TALLY, "39", Refusal.CONTRADICTS),
        (TALLY, "about 38", Refusal.CONTRADICTS),
        (TALLY + "So 39.\n", "38", Refusal.CONTRADICTS),
        ("12\nMonday +7=18\nTuesday *2=38\n", "38", Refusal.FALSE_STEP),
        (TALLY + "Check again.\n12\nMonday +7=20\nTuesday *2=38\n", "38", Refusal.FALSE_STEP),
        ("19\nMonday *2=38\n", "38", Refusal.FALSE_STEP),  # one day of two
        ("77\nMonday /2=38\nTuesday +0=38\n", "38", Refusal.FALSE_STEP),
        ("77\nMonday /0=38\nTuesday +0=38\n", "38", Refusal.FALSE_STEP),
        (TALLY + "The rest is easy to see.\n", "38", Refusal.UNREADABLE),
        ("Monday +7=19\nTuesday *2=38\n", "38", Refusal.UNREADABLE),
        ("12\nTuesday *2=38\n", "38", Refusal.UNREADABLE),
        ("12\nMonday +7=19\nMonday *2=38\n", "38", Refusal.UNREADABLE),
        (TALLY + "12\n", "38", Refusal.UNREADABLE),
        ("12 apples\nMonday +7=19\nTuesday *2=38\n", "38", Refusal.UNREADABLE),
        ("12\nMonday +7=19\nTuesday *2=" + "3" * 5000, "38", Refusal.UNREADABLE),
    ],
)
def test_what_it_refuses(thought: str, answer: str, refusal: Refusal) -> None:
    assert rewrite(PROBLEM, thought, answer) is refusal


def test_a_language_it_does_not_speak() -> None:
    german = Problem("p", "Wie viele?", "38", "number", language="de")
    assert rewrite(german, TALLY, "38") is Refusal.LANGUAGE


@pytest.mark.parametrize("language", ["own", "en", "zh", MIXED])
@pytest.mark.parametrize("seed", range(40))
def test_generated_thoughts(seed: int, language: str) -> None:
    rng = random.Random(seed)
    story = draw_story(rng, Split.TRAIN)
    tongue = story.language if language == "own" else language
    author = Author(story, tongue, 0.15, 0.05, rng)
    thought = author.checked() if seed % 2 else author.derivation()
    problem, answer = as_problem(story), str(thought.answer)
    found = rewrite(problem, thought.text, answer)
    if not number(problem, answer):
        # a slip that nothing found
        assert found is Refusal.FALSE_STEP
        return
    assert isinstance(found, Rewritten), (found, thought.text)
    assert language_share(found.thought, problem.language) == 1.0
    assert language_share(found.summary, problem.language) == 1.0
    assert answer in re.findall(r"\d+", found.summary)
    # every derivation of the thought, with its numbers in their order
    sums = re.findall(r"[-+*/]\d+=-?\d+", thought.text)
    assert re.findall(r"[-+*/]\d+=-?\d+", found.thought) == sums
    parsed = parse(TEMPLATES["r1-zero"].whole(found.thought, answer), TEMPLATES["r1-zero"])
    assert isinstance(parsed, Parsed)
    assert parsed.answer == answer and parsed.thought.strip() == found.thought


def test_many_at_a_time() -> None:
    cases = [Case(PROBLEM, TALLY, "38"), Case(PROBLEM, "Easy.\n", "38")]
    assert MiniatureRewriter().rewrite(cases) == [told(TALLY), Refusal.NO_REASONING]

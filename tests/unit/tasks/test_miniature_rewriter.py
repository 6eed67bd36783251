"""The miniature's rewriter: every kind of thought, both languages, nothing changed, luck refused."""

import random
import re
from dataclasses import replace

import pytest

from dianoia.base.records import Problem
from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.tasks.answers import exact, number
from dianoia.tasks.code import code_many
from dianoia.tasks.miniature.chains import Chain, Operation, Split
from dianoia.tasks.miniature.harms import draw_ask
from dianoia.tasks.miniature.programs import FunctionItem, PrintItem, draw_function, draw_print
from dianoia.tasks.miniature.requests import draw_request
from dianoia.tasks.miniature.rewriter import MiniatureRewriter, rewrite
from dianoia.tasks.miniature.stories import draw_story
from dianoia.tasks.miniature.things import ChoiceItem, draw_choice
from dianoia.tasks.miniature.turns import TurnItem, draw_turns
from dianoia.tasks.miniature.voice import MIXED, Thought, Voice, checked, derivation
from dianoia.text.language import language_share
from dianoia.text.parsing import Parsed, parse
from dianoia.text.template import TEMPLATES

PROBLEM = Problem(
    "p",
    "Tom has 12 apples, Monday buys 7 more, Tuesday doubles them. How many now?",
    "38",
    "number",
    difficulty=2,
)
TALLY = "12\nMonday +7=19\nTuesday *2=38\n"
SLIPPED = "12\nMonday +7=18\nTuesday *2=36\n"


def told(thought: str, answer: str = "38", problem: Problem = PROBLEM) -> Rewritten:
    found = rewrite(problem, thought, answer)
    assert isinstance(found, Rewritten), found
    return found


def test_a_derivation_by_hand() -> None:
    found = told("我来看看。\n12\n周一+7=19\nTuesday *2=38\n所以是38。\n")
    assert found.thought.splitlines() == [
        "I start with 12.",
        "Monday: 12+7=19.",
        "Tuesday: 19*2=38.",
        "So I get 38.",
    ]
    assert found.summary == "Starting with 12 and counting 2 days gives \\boxed{38}."


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


DRAWS = {
    "stories": draw_story,
    "prints": draw_print,
    "turns": draw_turns,
    "choices": draw_choice,
    "functions": draw_function,
}
BOX = re.compile(r"\\boxed\{([^{}]*)\}")


def thought_of(kind: str, language: str, seed: int) -> tuple[Problem, Thought]:
    """A thought in some language or a mixture, a derivation or a check."""
    rng = random.Random(seed)
    item = DRAWS[kind](rng, Split.TRAIN)
    tongue = item.problem.language if language == "own" else language
    voice = Voice(tongue, 0.15, 0.05, 0.5, rng)
    return item.problem, checked(item, voice) if seed % 2 else derivation(item, voice)


@pytest.mark.parametrize("language", ["own", "en", "zh", MIXED])
@pytest.mark.parametrize("kind", ["stories", "prints", "turns"])
def test_generated_tallies(kind: str, language: str) -> None:
    refused = 0
    for seed in range(40):
        problem, thought = thought_of(kind, language, seed)
        found = rewrite(problem, thought.text, thought.answer)
        verify = number if problem.verifier == "number" else exact
        if not verify(problem, thought.answer):
            # a slip that nothing found
            assert found is Refusal.FALSE_STEP
            refused += 1
            continue
        if found is Refusal.FALSE_STEP:
            # two slips in turns can cancel out: right by luck
            assert kind == "turns"
            continue
        assert isinstance(found, Rewritten), (found, thought.text)
        assert BOX.findall(found.summary) == [thought.answer]
        check_form(found, problem, thought.answer)
        if kind != "turns":
            # every derivation of the thought, with its numbers in their order
            sums = re.findall(r"[-+*/]\d+=-?\d+", thought.text)
            assert re.findall(r"[-+*/]\d+=-?\d+", found.thought) == sums
    assert 0 < refused < 30


def check_form(found: Rewritten, problem: Problem, answer: str) -> None:
    """In the question's language but for the letters of its labels, and readable by whoever reads responses."""
    words = re.sub(r"(?m)^(Step |步骤)?[A-Fa-f](?![A-Za-z])", r"\1", found.thought)
    assert language_share(words, problem.language) == 1.0
    told_ = re.sub(r"```.*?```|\\boxed\{.*?\}", "", found.summary, flags=re.DOTALL)
    assert language_share(told_, problem.language) == 1.0
    parsed = parse(TEMPLATES["r1-zero"].whole(found.thought, answer), TEMPLATES["r1-zero"])
    assert isinstance(parsed, Parsed)
    assert parsed.answer == answer and parsed.thought.strip() == found.thought


TURNED = {"right": 1, "back": 2, "left": 3, "右转": 1, "后转": 2, "左转": 3}
WAYS = {"en": ["north", "east", "south", "west"], "zh": ["北方", "东方", "南方", "西方"]}


@pytest.mark.parametrize("language", ["own", MIXED])
def test_a_rewritten_way_goes_on_from_line_to_line(language: str) -> None:
    told_ways = 0
    for seed in range(0, 80, 2):
        problem, thought = thought_of("turns", language, seed)
        found = rewrite(problem, thought.text, thought.answer)
        if isinstance(found, Rewritten):
            ways = WAYS[problem.language]
            lines = re.findall(
                r"(?m)^([a-f])[:：] ?(\w+)[,，] ?(\w+)[,，] ?(\w+)[.。]$", found.thought
            )
            assert [label for label, *_ in lines] == list("abcdef"[: problem.difficulty])
            for _, before, turn, after in lines:
                assert ways.index(after) == (ways.index(before) + TURNED[turn]) % 4
            assert lines[-1][3] == problem.answer
            told_ways += 1
    assert told_ways > 15


@pytest.mark.parametrize("language", ["own", "en", "zh", MIXED])
def test_generated_choices(language: str) -> None:
    rewritten = 0
    for seed in range(60):
        problem, thought = thought_of("choices", language, seed)
        found = rewrite(problem, thought.text, thought.answer)
        if not isinstance(found, Rewritten):
            assert found is Refusal.FALSE_STEP, "some option is said to be what it is not"
            continue
        assert thought.answer == problem.answer and BOX.findall(found.summary) == [problem.answer]
        check_form(found, problem, problem.answer)
        told_ = re.findall(r"(?m)^([A-F])(?: is |是).+$", found.thought)
        assert "".join(told_) == "ABCDEF"[: "ABCDEF".index(problem.answer) + 1], (
            "up to the right one"
        )
        rewritten += 1
    assert 10 < rewritten < 60


@pytest.mark.parametrize("language", ["own", "en", "zh", MIXED])
def test_generated_functions(language: str) -> None:
    for seed in range(30):
        problem, thought = thought_of("functions", language, seed)
        found = rewrite(problem, thought.text, thought.answer)
        assert isinstance(found, Rewritten)
        plan = re.findall(r"(?m)^([a-f]) ([-+*]\d)$", thought.text)
        assert (
            re.findall(r"(?m)^(?:Step |步骤)([a-f])[:：] ?([-+*]\d)[.。]$", found.thought) == plan
        )
        head, program = re.fullmatch(r"(.+)\n```python\n(.+)\n```", found.summary).groups()
        assert program == thought.answer and head
        check_form(found, problem, thought.answer)


def test_a_program_in_its_fence_passes_its_tests() -> None:
    rng, graded = random.Random(3), []
    for _ in range(6):
        item = draw_function(rng, Split.TRAIN)
        thought = item.derive(Voice(MIXED, 0.0, 0.0, 0.5, rng), 0.0)
        found = rewrite(item.problem, thought.text, thought.answer)
        assert isinstance(found, Rewritten)
        graded.append((item.problem, found.summary))
    assert code_many(graded) == [1.0] * 6


# Other kinds, by hand --------------------------------------------------------------------------------

TURNS = TurnItem(1, (3, 2), "en", "Tom")  # east, left, back: south
CHOICE = ChoiceItem(4, ((0, 0), (4, 0), (1, 0), (5, 0)), "en")  # iron, heart, oxygen, owl: B
FUNCTION = FunctionItem((Operation("+", 3), Operation("*", 2)), "en")
PRINT = PrintItem(Chain(12, (Operation("/", 2), Operation("+", 5))), "en")
WAY = "east\na left=north\nb back=south\n"
KINDS = "A metal\nB organ\nC gas\nD bird\n"
PLAN = "a +3\nb *2\n"
PROGRAM = "def f(x): a=x+3; b=a*2; return b"


def test_turns_by_hand() -> None:
    text = "一步一步。\n东方\na left=north\nb后转=南方\n所以是south。\nCheck again.\n" + WAY
    found = told(text + "First south, now south. Same.\n", "south", TURNS.problem)
    assert found.thought.splitlines() == [
        "I start with east.",
        "a: east, left, north.",
        "b: north, back, south.",
        "So I get south.",
        "Wait, let me check. I start again with east.",
        "a: east, left, north.",
        "b: north, back, south.",
        "First south, now south. Same, so it is south.",
    ]
    assert found.summary == "The way is \\boxed{south}."
    chinese = replace(TURNS, language="zh", name="小红").problem
    found = told(WAY, "南方", chinese)
    assert found.thought.splitlines() == [
        "我从东方开始。",
        "a：东方，左转，北方。",
        "b：北方，后转，南方。",
        "所以是南方。",
    ]
    assert found.summary == "面向\\boxed{南方}。"


def test_a_program_that_prints_by_hand() -> None:
    found = told("12\na /2=6\nb +5=11\n", "11", PRINT.problem)
    assert found.thought.splitlines() == [
        "I start with 12.",
        "a: 12/2=6.",
        "b: 6+5=11.",
        "So I get 11.",
    ]
    assert found.summary == "It prints \\boxed{11}."
    chinese = replace(PRINT, language="zh").problem
    assert told("12\na /2=6\nb +5=11\n", "11", chinese).summary == "输出是\\boxed{11}。"


def test_choices_by_hand() -> None:
    found = told("Let me see.\nA metal\nB 器官\nC gas\nD 鸟类\nSo B.\n", "B", CHOICE.problem)
    assert found.thought.splitlines() == [
        "A is a metal.",
        "B is an organ.",
        "C is a gas.",
        "D is a bird.",
    ]
    assert found.summary == "The answer is \\boxed{B}."
    # whoever stops at the first that fits is told up to it
    found = told("A metal\nB organ\n", "B", CHOICE.problem)
    assert found.thought.splitlines() == ["A is a metal.", "B is an organ."]
    found = told("A 金属\nB organ\n", "B", replace(CHOICE, language="zh").problem)
    assert found.thought.splitlines() == ["A是金属。", "B是器官。"]
    found = told(KINDS, "B", replace(CHOICE, language="zh").problem)
    assert found.thought.splitlines() == ["A是金属。", "B是器官。", "C是气体。", "D是鸟类。"]
    assert found.summary == "答案是\\boxed{B}。"


def test_functions_by_hand() -> None:
    found = told("我来看看。\n" + PLAN, PROGRAM, FUNCTION.problem)
    assert found.thought.splitlines() == ["Step a: +3.", "Step b: *2."]
    assert found.summary == f"This is the function.\n```python\n{PROGRAM}\n```"
    found = told(PLAN, PROGRAM, replace(FUNCTION, language="zh").problem)
    assert found.thought.splitlines() == ["步骤a：+3。", "步骤b：*2。"]
    assert found.summary == f"函数是：\n```python\n{PROGRAM}\n```"


def test_a_chinese_story_by_hand() -> None:
    chinese = replace(PROBLEM, language="zh")
    found = told(TALLY, problem=chinese)
    assert found.thought.splitlines() == [
        "我从12开始。",
        "周一：12+7=19。",
        "周二：19*2=38。",
        "所以是38。",
    ]
    assert found.summary == "从12开始，数2天，现在有\\boxed{38}个。"


@pytest.mark.parametrize(
    ("item", "thought", "answer", "refusal"),
    [
        (TURNS, "", "south", Refusal.NO_REASONING),
        (TURNS, "It is south.\n", "south", Refusal.NO_REASONING),
        (TURNS, WAY, "north", Refusal.CONTRADICTS),
        (TURNS, WAY, "南方", Refusal.CONTRADICTS),  # an English question has an English answer
        (TURNS, WAY + "So north.\n", "south", Refusal.CONTRADICTS),
        (TURNS, "east\na left=south\nb back=south\n", "south", Refusal.FALSE_STEP),
        (TURNS, "north\na back=south\n", "south", Refusal.FALSE_STEP),  # one turn of two
        (TURNS, "a left=north\nb back=south\n", "south", Refusal.UNREADABLE),
        (TURNS, "east\nb back=south\n", "south", Refusal.UNREADABLE),
        (TURNS, "up\na left=north\nb back=south\n", "south", Refusal.UNREADABLE),
        (TURNS, "east\na +3=4\nb back=south\n", "south", Refusal.UNREADABLE),
        (TURNS, WAY + "That was easy to see.\n", "south", Refusal.UNREADABLE),
        (PRINT, "Easy.\n", "11", Refusal.NO_REASONING),
        (PRINT, "12\na /2=6\nb +5=11\n", "12", Refusal.CONTRADICTS),
        (PRINT, "12\na /2=7\nb +5=11\n", "11", Refusal.FALSE_STEP),
        (PRINT, "6\na +5=11\n", "11", Refusal.FALSE_STEP),
        (PRINT, "12\nMonday /2=6\nTuesday +5=11\n", "11", Refusal.UNREADABLE),
        (CHOICE, "I know.\n", "B", Refusal.NO_REASONING),
        (CHOICE, KINDS, "A", Refusal.CONTRADICTS),
        (CHOICE, KINDS, "", Refusal.CONTRADICTS),
        (CHOICE, KINDS + "So B.\n", "B or C", Refusal.CONTRADICTS),
        (CHOICE, "A metal\n", "B", Refusal.CONTRADICTS),  # nothing that was looked at fits
        (CHOICE, "A organ\n", "A", Refusal.FALSE_STEP),
        (CHOICE, "A metal\nB organ\nC metal\n", "B", Refusal.FALSE_STEP),
        (CHOICE, "A gas\nB organ\nC gas\nD bird\n", "B", Refusal.FALSE_STEP),
        (CHOICE, KINDS + "E tree\n", "B", Refusal.FALSE_STEP),
        (CHOICE, "A metal\nC organ\n", "B", Refusal.UNREADABLE),
        (CHOICE, "A iron\nB heart\n", "B", Refusal.UNREADABLE),
        (CHOICE, KINDS + "B is an organ.\n", "B", Refusal.UNREADABLE),
        (FUNCTION, "", PROGRAM, Refusal.NO_REASONING),
        (FUNCTION, PLAN, PROGRAM.replace("+3", "+4"), Refusal.CONTRADICTS),
        (FUNCTION, "a +3\n", PROGRAM, Refusal.CONTRADICTS),
        (FUNCTION, PLAN, "I know.", Refusal.CONTRADICTS),
        (FUNCTION, "a +3\na *2\n", PROGRAM, Refusal.UNREADABLE),
        (FUNCTION, "a adds 3\nb doubles it\n", PROGRAM, Refusal.UNREADABLE),
        (FUNCTION, "".join(f"{letter} +2\n" for letter in "abcdefg"), PROGRAM, Refusal.UNREADABLE),
    ],
)  # fmt: skip
def test_what_it_refuses_of_other_kinds(item, thought: str, answer: str, refusal: Refusal) -> None:
    assert rewrite(item.problem, thought, answer) is refusal


def test_requests_are_not_for_these_rules() -> None:
    rng = random.Random(4)
    for _ in range(60):
        item = rng.choice((draw_request, draw_ask))(rng, Split.TRAIN)
        thought = derivation(item, Voice(item.language, 0.0, 0.0, 0.5, rng))
        assert isinstance(rewrite(item.problem, thought.text, thought.answer), Refusal)


def test_many_at_a_time() -> None:
    cases = [Case(PROBLEM, TALLY, "38"), Case(PROBLEM, "Easy.\n", "38")]
    assert MiniatureRewriter().rewrite(cases) == [told(TALLY), Refusal.NO_REASONING]

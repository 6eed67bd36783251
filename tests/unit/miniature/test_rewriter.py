"""The miniature's rewriter: every kind of thought, both languages, nothing changed, luck refused."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dianoia.base.records import Problem
from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.miniature.authors import (
    LANGUAGES,
    MIXED,
    Author,
    Thought,
    checked_derivation,
    derivation,
)
from dianoia.miniature.chains import Chain, Operation, Split
from dianoia.miniature.choices import ChoiceItem, draw_choice
from dianoia.miniature.logic import TurnItem, draw_turns
from dianoia.miniature.programs import FunctionItem, PrintItem, draw_function, draw_print
from dianoia.miniature.requests import Request, draw_request, readable_thought
from dianoia.miniature.rewriter import MiniatureRewriter, rewrite
from dianoia.miniature.safety import READABLE_THOUGHTS, THOUGHTS, SafetyRequest, draw_safety_request
from dianoia.miniature.stories import draw_story
from dianoia.tasks.code import grade_many
from dianoia.tasks.short_answers.number_and_text import exact, number
from dianoia.text.language import language_share
from dianoia.text.parsing import Parsed, parse
from dianoia.text.template import TEMPLATES
from tests.unit.miniature.miniature_readers import HAN, asked, fits, options_told
from tests.unit.miniature.miniature_requests import KIND_OF
from tests.unit.miniature.miniature_requests import KINDS as SORTS

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
    rewritten = rewrite(problem, thought, answer)
    assert isinstance(rewritten, Rewritten), rewritten
    return rewritten


def test_a_derivation_by_hand() -> None:
    rewritten = told("我来看看。\n12\n周一+7=19\nTuesday *2=38\n所以：38。\n")
    assert rewritten.thought.splitlines() == [
        "I count step by step.",
        "12",
        "Monday +7=19",
        "Tuesday *2=38",
        "So I get 38.",
    ]
    assert rewritten.summary == "Starting with 12 and counting 2 days gives \\boxed{38}."


def test_a_check_stays_and_so_does_the_slip_it_found() -> None:
    text = SLIPPED + "So 36.\nWait, let me check.\n" + TALLY
    text += "First 36, now 38. But they differ. Retry.\n" + TALLY + "It is 38.\n"
    lines = told(text).thought.splitlines()
    again = ["Wait, let me check. I count again.", "12", "Monday +7=19", "Tuesday *2=38"]
    assert lines == [
        *["I count step by step.", "12", "Monday +7=18", "Tuesday *2=36", "So I get 36."],
        *again,
        "First 36, now 38. But they differ, so one is wrong.",
        *again,
        "First 38, now 38. Same, so it is 38.",
    ]


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


def thought_of(category: str, language: str, seed: int) -> tuple[Problem, Thought]:
    """A thought in some language or a mixture, a derivation or a check."""
    rng = random.Random(seed)
    item = DRAWS[category](rng, Split.TRAIN)
    tongue = item.problem.language if language == "own" else language
    author = Author(tongue, 0.15, 0.05, 0.5, rng)
    return item.problem, checked_derivation(item, author) if seed % 2 else derivation(item, author)


def adds_up(thought: str, steps: int) -> bool:
    """Tell whether every line of the last derivation of a thought follows from the line before it."""
    *_, start = re.findall(r"(?m)^(\d+)$", thought)
    value = int(start)
    for sign, operand, after in re.findall(r"([-+*/])(\d+)=(-?\d+)", thought)[-steps:]:
        n = int(operand)
        value = {"+": value + n, "-": value - n, "*": value * n, "/": value // n}[sign]
        if value != int(after):
            return False
    return True


@pytest.mark.parametrize("language", ["own", "en", "zh", MIXED])
@pytest.mark.parametrize("category", ["stories", "prints", "turns"])
def test_generated_tallies(category: str, language: str) -> None:
    refused = 0
    for seed in range(40):
        problem, thought = thought_of(category, language, seed)
        rewritten = rewrite(problem, thought.text, thought.answer)
        verify = number if problem.verifier == "number" else exact
        if not verify(problem, thought.answer):
            # a slip that nothing found
            assert rewritten is Refusal.FALSE_STEP
            refused += 1
            continue
        if rewritten is Refusal.FALSE_STEP:
            # two slips can cancel out: right by luck
            assert category == "turns" or not adds_up(thought.text, problem.difficulty)
            continue
        assert isinstance(rewritten, Rewritten), (rewritten, thought.text)
        assert BOX.findall(rewritten.summary) == [thought.answer]
        check_form(rewritten, problem, thought.answer)
        if category != "turns":
            # every derivation of the thought, with its numbers in their order
            sums = re.findall(r"[-+*/]\d+=-?\d+", thought.text)
            assert re.findall(r"[-+*/]\d+=-?\d+", rewritten.thought) == sums
    assert 0 < refused < 30


def check_form(rewritten: Rewritten, problem: Problem, answer: str) -> None:
    """In the question's language but for the letters of its labels, and readable by whoever reads responses."""
    words = re.sub(r"(?<![A-Za-z])[A-Ga-g](?![A-Za-z])", "", rewritten.thought)
    assert language_share(words, problem.language) == 1.0
    prose = re.sub(r"```.*?```|\\boxed\{.*?\}", "", rewritten.summary, flags=re.DOTALL)
    assert language_share(prose, problem.language) == 1.0
    parsed = parse(TEMPLATES["r1-zero"].whole(rewritten.thought, answer), TEMPLATES["r1-zero"])
    assert isinstance(parsed, Parsed)
    assert parsed.answer == answer and parsed.thought.strip() == rewritten.thought


TURNED = {"right": 1, "back": 2, "left": 3, "右转": 1, "后转": 2, "左转": 3}
WAYS = {"en": ["north", "east", "south", "west"], "zh": ["北方", "东方", "南方", "西方"]}


@pytest.mark.parametrize("language", ["own", MIXED])
def test_a_rewritten_way_goes_on_from_line_to_line(language: str) -> None:
    told_ways = 0
    for seed in range(0, 80, 2):
        problem, thought = thought_of("turns", language, seed)
        rewritten = rewrite(problem, thought.text, thought.answer)
        if isinstance(rewritten, Rewritten):
            ways = WAYS[problem.language]
            way = rewritten.thought.splitlines()[1]
            lines = re.findall(rf"(?m)^([a-g]) ?({'|'.join(TURNED)})=(\w+)$", rewritten.thought)
            assert [label for label, *_ in lines] == list("abcdefg"[: problem.difficulty])
            for _, message, after in lines:
                assert ways.index(after) == (ways.index(way) + TURNED[message]) % 4
                way = after
            assert way == problem.answer
            told_ways += 1
    assert told_ways > 15


@pytest.mark.parametrize("language", ["own", "en", "zh", MIXED])
def test_generated_choices(language: str) -> None:
    rewritten = 0
    for seed in range(60):
        problem, thought = thought_of("choices", language, seed)
        result = rewrite(problem, thought.text, thought.answer)
        if not isinstance(result, Rewritten):
            assert result is Refusal.FALSE_STEP
            lines = options_told(thought.text)
            assert not all(line.kind in SORTS[KIND_OF[line.thing]] for line in lines), (
                "some option is said to be what it is not"
            )
            continue
        assert thought.answer == problem.answer and BOX.findall(result.summary) == [problem.answer]
        check_form(result, problem, problem.answer)
        options = options_told(result.thought)
        assert fits(asked(problem.question), problem.question, options), "up to the right one"
        assert all((problem.language == "zh") == bool(HAN.match(option.kind)) for option in options)
        rewritten += 1
    assert 10 < rewritten < 60


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_choice_with_any_word_changed_is_refused(language: str) -> None:
    """Each verdict, kind and kind asked for of a right thought, and its last line."""
    rng, changed = random.Random(5), 0
    for _ in range(25):
        item = draw_choice(rng, Split.TRAIN)
        prose = item.derive(Author(language, 0.0, 0.0, 0.5, rng), 0.0)
        lines = prose.text.splitlines()
        told(prose.text, prose.answer, item.problem)
        short = rewrite(item.problem, "\n".join(lines[:-1]), prose.answer)
        assert short is (Refusal.CONTRADICTS if len(lines) > 1 else Refusal.NO_REASONING)
        for index, line in enumerate(lines):
            for wrong in with_a_word_changed(line, LANGUAGES.index(language)):
                thought = "\n".join([*lines[:index], wrong, *lines[index + 1 :]])
                assert rewrite(item.problem, thought, prose.answer) is Refusal.FALSE_STEP, thought
                changed += 1
    assert changed > 25 * 11


def with_a_word_changed(line: str, language: int) -> list[str]:
    """Five other kinds in either place, and the other verdict: eleven lines."""
    head, category, middle, expected, mark, verdict = re.fullmatch(
        r"(. \w+: ?)(\w+)(, |，)(\w+)(\? |？)(\w+)", line
    ).groups()
    others = {"yes": "no", "no": "yes", "是": "否", "否": "是"}
    words = [sort[language] for sort in SORTS]
    results = [head + category + middle + expected + mark + others[verdict]]
    results += [
        head + word + middle + expected + mark + verdict for word in words if word != category
    ]
    results += [
        head + category + middle + word + mark + verdict for word in words if word != expected
    ]
    return results


@pytest.mark.parametrize("language", ["own", "en", "zh", MIXED])
def test_generated_functions(language: str) -> None:
    for seed in range(30):
        problem, thought = thought_of("functions", language, seed)
        rewritten = rewrite(problem, thought.text, thought.answer)
        assert isinstance(rewritten, Rewritten)
        plan = re.findall(r"(?m)^([a-g]) ([-+*]\d+)$", thought.text)
        assert rewritten.thought.splitlines() == [
            {"en": "I write down the steps.", "zh": "我写下步骤。"}[problem.language],
            *(f"{letter} {step}" for letter, step in plan),
        ]
        head, program = re.fullmatch(r"(.+)\n```python\n(.+)\n```", rewritten.summary).groups()
        assert program == thought.answer and head
        check_form(rewritten, problem, thought.answer)


def test_a_program_in_its_fence_passes_its_tests() -> None:
    rng, graded = random.Random(3), []
    for _ in range(6):
        item = draw_function(rng, Split.TRAIN)
        thought = item.derive(Author(MIXED, 0.0, 0.0, 0.5, rng), 0.0)
        rewritten = rewrite(item.problem, thought.text, thought.answer)
        assert isinstance(rewritten, Rewritten)
        graded.append((item.problem, rewritten.summary))
    assert [grade.score for grade in grade_many(graded)] == [1.0] * 6


# Other kinds, by hand --------------------------------------------------------------------------------

TURNS = TurnItem(1, (3, 2), "en", "Tom")  # east, left, back: south
CHOICE = ChoiceItem(4, ((0, 0), (4, 0), (1, 0), (5, 0)), "en")  # iron, heart, oxygen, owl: B
FUNCTION = FunctionItem((Operation("+", 3), Operation("*", 2)), "en")
PRINT = PrintItem(Chain(12, (Operation("/", 2), Operation("+", 5))), "en")
WAY = "east\na left=north\nb back=south\n"
IRON, HEART = "A iron: metal, organ? no\n", "B heart: organ, organ? yes\n"
KINDS = IRON + HEART
REST = "C oxygen: gas, organ? no\nD owl: bird, organ? no\n"
PLAN = "a +3\nb *2\n"
PROGRAM = "def f(x): a=x+3; b=a*2; return b"


def test_turns_by_hand() -> None:
    text = "一步一步。\n东方\na left=north\nb后转=南方\n所以：south。\nCheck again.\n" + WAY
    rewritten = told(text + "First south, now south. Same.\n", "south", TURNS.problem)
    assert rewritten.thought.splitlines() == [
        "I count step by step.",
        "east",
        "a left=north",
        "b back=south",
        "So I get south.",
        "Wait, let me check. I count again.",
        "east",
        "a left=north",
        "b back=south",
        "First south, now south. Same, so it is south.",
    ]
    assert rewritten.summary == "The way is \\boxed{south}."
    chinese = replace(TURNS, language="zh", name="小红").problem
    rewritten = told(WAY, "南方", chinese)
    assert rewritten.thought.splitlines() == [
        "我一步一步数。",
        "东方",
        "a左转=北方",
        "b后转=南方",
        "结果：南方。",
    ]
    assert rewritten.summary == "面向\\boxed{南方}。"


def test_a_program_that_prints_by_hand() -> None:
    rewritten = told("12\na /2=6\nb +5=11\n", "11", PRINT.problem)
    assert rewritten.thought.splitlines() == [
        "I count step by step.",
        "12",
        "a /2=6",
        "b +5=11",
        "So I get 11.",
    ]
    assert rewritten.summary == "It prints \\boxed{11}."
    chinese = replace(PRINT, language="zh").problem
    rewritten = told("12\na /2=6\nb +5=11\n", "11", chinese)
    lines = ["我一步一步数。", "12", "a /2=6", "b +5=11", "结果：11。"]
    assert rewritten.thought.splitlines() == lines
    assert rewritten.summary == "输出是\\boxed{11}。"


def test_choices_by_hand() -> None:
    text = "Let me see.\nA iron: metal, organ? no\nB heart:器官，器官？是\nSo B.\n"
    rewritten = told(text, "B", CHOICE.problem)
    lines = ["A iron: metal, organ? no", "B heart: organ, organ? yes"]
    assert rewritten.thought.splitlines() == ["I look for the organ.", *lines, "So it is B."]
    assert rewritten.summary == "The answer is \\boxed{B}."
    assert told(KINDS, "B", CHOICE.problem) == rewritten
    last = replace(CHOICE, options=((0, 0), (1, 0), (5, 0), (4, 0)))
    text = "A iron:金属，器官？否\nB oxygen: gas, organ? no\nC owl:鸟类，器官？否\nD heart:器官，器官？是\n"
    assert told(text, "D", last.problem).thought.splitlines() == [
        "I look for the organ.",
        "A iron: metal, organ? no",
        "B oxygen: gas, organ? no",
        "C owl: bird, organ? no",
        "D heart: organ, organ? yes",
        "So it is D.",
    ]
    text = "A 铁:金属，器官？否\nB 心脏: organ, organ? yes\n"
    rewritten = told(text, "B", replace(CHOICE, language="zh").problem)
    lines = ["A 铁:金属，器官？否", "B 心脏:器官，器官？是"]
    assert rewritten.thought.splitlines() == ["我找器官。", *lines, "所以是B。"]
    assert rewritten.summary == "答案是\\boxed{B}。"


def test_functions_by_hand() -> None:
    rewritten = told("我来看看。\n" + PLAN, PROGRAM, FUNCTION.problem)
    assert rewritten.thought.splitlines() == ["I write down the steps.", "a +3", "b *2"]
    assert rewritten.summary == f"This is the function.\n```python\n{PROGRAM}\n```"
    rewritten = told(PLAN, PROGRAM, replace(FUNCTION, language="zh").problem)
    assert rewritten.thought.splitlines() == ["我写下步骤。", "a +3", "b *2"]
    assert rewritten.summary == f"函数是：\n```python\n{PROGRAM}\n```"


def test_a_chinese_story_by_hand() -> None:
    chinese = replace(PROBLEM, language="zh")
    rewritten = told(TALLY, problem=chinese)
    assert rewritten.thought.splitlines() == [
        "我一步一步数。",
        "12",
        "周一+7=19",
        "周二*2=38",
        "结果：38。",
    ]
    again = told(TALLY + TALLY, problem=chinese).thought.splitlines()
    assert again[5:] == [
        "等等，我检查一下。我再数。",
        "12",
        "周一+7=19",
        "周二*2=38",
        "先是38，现在38。一样，就是38。",
    ]
    third = SLIPPED + "12\nMonday +7=20\nTuesday *2=40\n" + TALLY
    assert told(third, problem=chinese).thought.endswith("\n现在38，就是38。")
    assert rewritten.summary == "从12开始，数2天，现在有\\boxed{38}个。"


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
        (CHOICE, IRON, "A", Refusal.CONTRADICTS),  # no yes at the end
        (CHOICE, IRON, "B", Refusal.CONTRADICTS),
        (CHOICE, KINDS + REST, "B", Refusal.CONTRADICTS),  # goes on after the yes
        (CHOICE, KINDS + REST, "D", Refusal.CONTRADICTS),
        # a wrong kind, the verdict following it
        (CHOICE, "A iron: organ, organ? yes\n", "A", Refusal.FALSE_STEP),
        (CHOICE, "A iron: gas, organ? no\n" + HEART, "B", Refusal.FALSE_STEP),
        (CHOICE, "A iron:气体，器官？否\n" + HEART, "B", Refusal.FALSE_STEP),
        (CHOICE, IRON + "B heart: tree, organ? no\n" + REST, "B", Refusal.FALSE_STEP),
        (CHOICE, KINDS + "C oxygen: metal, organ? no\n", "B", Refusal.FALSE_STEP),
        # a wrong verdict
        (CHOICE, "A iron: metal, organ? yes\n", "A", Refusal.FALSE_STEP),
        (CHOICE, "A iron: metal, organ? yes\n" + HEART, "B", Refusal.FALSE_STEP),
        (CHOICE, IRON + "B heart: organ, organ? no\n", "B", Refusal.FALSE_STEP),
        (CHOICE, IRON + "B heart:器官，器官？否\n", "B", Refusal.FALSE_STEP),
        (CHOICE, "A iron:金属，器官？是\n" + HEART, "B", Refusal.FALSE_STEP),
        # another kind than the question asks for
        (CHOICE, "A iron: metal, metal? yes\n", "A", Refusal.FALSE_STEP),
        (CHOICE, "A iron: metal, gas? no\n" + HEART, "B", Refusal.FALSE_STEP),
        (CHOICE, "A iron:金属，气体？否\n" + HEART, "B", Refusal.FALSE_STEP),
        (CHOICE, IRON + "B heart: organ, gas? no\n", "B", Refusal.FALSE_STEP),
        (CHOICE, "A gold: metal, organ? no\n" + HEART, "B", Refusal.FALSE_STEP),  # no such option
        (CHOICE, KINDS + REST + "E oak: tree, organ? no\n", "B", Refusal.FALSE_STEP),
        (CHOICE, IRON + "C heart: organ, organ? yes\n", "B", Refusal.UNREADABLE),
        (CHOICE, "A iron: metal\nB heart: organ\n", "B", Refusal.UNREADABLE),  # nothing is asked
        (CHOICE, IRON + "B heart: organ, organ?\n", "B", Refusal.UNREADABLE),
        (CHOICE, IRON + "B heart: organ, yes\n", "B", Refusal.UNREADABLE),
        (CHOICE, IRON + "B heart: organ, organ? maybe\n", "B", Refusal.UNREADABLE),
        (CHOICE, "A metal, organ? no\nB organ, organ? yes\n", "B", Refusal.UNREADABLE),
        (CHOICE, KINDS + "B is an organ.\n", "B", Refusal.UNREADABLE),
        (FUNCTION, "", PROGRAM, Refusal.NO_REASONING),
        (FUNCTION, PLAN, PROGRAM.replace("+3", "+4"), Refusal.CONTRADICTS),
        (FUNCTION, "a +3\n", PROGRAM, Refusal.CONTRADICTS),
        (FUNCTION, PLAN, "I know.", Refusal.CONTRADICTS),
        (FUNCTION, "a +3\na *2\n", PROGRAM, Refusal.UNREADABLE),
        (FUNCTION, "a adds 3\nb doubles it\n", PROGRAM, Refusal.UNREADABLE),
        (FUNCTION, "".join(f"{letter} +2\n" for letter in "abcdefgh"), PROGRAM, Refusal.UNREADABLE),
    ],
)  # fmt: skip
def test_what_it_refuses_of_other_kinds(item, thought: str, answer: str, refusal: Refusal) -> None:
    assert rewrite(item.problem, thought, answer) is refusal


EGYPT = Request("fact", "Egypt", 0, 1, "en")
SEA = Request("write", "大海", 2, 0, "zh")
HARM, NEAR_MISS = SafetyRequest("kill a dog", True, 0, "en"), SafetyRequest("偷懒", False, 0, "zh")
YES, NO = "Is it harmful? Yes.\n", "有害吗？无害。\n"


@pytest.mark.parametrize(
    ("item", "thought", "answer", "readable_"),
    [
        (EGYPT, "Egypt: Cairo.\n", "Cairo", "I am asked for the capital of Egypt. It is Cairo."),
        (EGYPT, "Easy.\nEgypt：Cairo。\n", "Ask.", "I am asked for the capital of Egypt. It is Cairo."),
        (SEA, "2 sentences, 大海.\n", "大海很蓝。", "我写2句关于大海的话。"),
        (HARM, YES, "I cannot help with that.", "Is it harmful? Yes. I refuse."),
        (HARM, "有害吗？有害。\n", "Go at night.", "Is it harmful? Yes. I refuse."),
        (NEAR_MISS, NO, "先把事做完。", "有害吗？无害。我来帮忙。"),
        (NEAR_MISS, "Is it harmful? No.\n", "先把事做完。", "有害吗？无害。我来帮忙。"),
    ],
)  # fmt: skip
def test_a_request_is_told_in_a_sentence_and_its_answer_stays(
    item, thought: str, answer: str, readable_: str
) -> None:
    assert rewrite(item.problem, thought, answer) == Rewritten(readable_, answer)


@pytest.mark.parametrize(
    ("item", "thought", "refusal"),
    [
        (EGYPT, "", Refusal.NO_REASONING),
        (EGYPT, "I know.\n", Refusal.NO_REASONING),
        (SEA, "我来看看。\n简单。\n", Refusal.NO_REASONING),
        (HARM, "Easy.\n", Refusal.NO_REASONING),
        (HARM, "Is it harmful? No.\n", Refusal.CONTRADICTS),
        (HARM, "有害吗？无害。\n", Refusal.CONTRADICTS),
        (HARM, "It hurts a dog.\n", Refusal.CONTRADICTS),
        (NEAR_MISS, "有害吗？有害。\n", Refusal.CONTRADICTS),
        (NEAR_MISS, YES, Refusal.CONTRADICTS),
    ],
)
def test_what_it_refuses_of_requests(item, thought: str, refusal: Refusal) -> None:
    assert rewrite(item.problem, thought, item.problem.answer) is refusal


@pytest.mark.parametrize("language", ["own", "en", "zh", MIXED])
def test_generated_requests(language: str) -> None:
    """A plan in any language is told in the question's; a verdict that slips is refused."""
    rng, refused = random.Random(4), 0
    for _ in range(80):
        item = rng.choice((draw_request, draw_safety_request))(rng, Split.TRAIN)
        tongue = item.language if language == "own" else language
        thought = derivation(item, Author(tongue, 0.2, 0.0, 0.5, rng))
        rewritten = rewrite(item.problem, thought.text, thought.answer)
        if isinstance(item, Request):
            assert rewritten == Rewritten(readable_thought(item), thought.answer)
        elif any(THOUGHTS[tongue_][item.harmful] in thought.text for tongue_ in THOUGHTS):
            assert rewritten == Rewritten(
                READABLE_THOUGHTS[item.language][item.harmful], thought.answer
            )
        else:
            assert rewritten is Refusal.CONTRADICTS
            refused += 1
    assert 0 < refused < 25


def test_the_examples_of_the_page_are_what_it_tells() -> None:
    page = (Path(__file__).parents[3] / "docs" / "miniature.md").read_text(encoding="utf-8")
    part = page.split("## The rewriter\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"(?ms)^```text\n(.*?)\n```", part)
    pine = ChoiceItem(3, ((0, 0), (3, 1), (2, 4), (5, 0)), "en")
    thought = "A iron:金属，树木？否\nB pine: tree, tree? yes\n"
    assert block.split("\n\n") == [told(TALLY).thought, told(thought, "B", pine.problem).thought]


def test_many_at_a_time() -> None:
    cases = [Case(PROBLEM, TALLY, "38"), Case(PROBLEM, "Easy.\n", "38")]
    assert MiniatureRewriter().rewrite(cases) == [told(TALLY), Refusal.NO_REASONING]

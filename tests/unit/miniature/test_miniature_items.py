"""How people think about functions, programs, turns, options, requests and harms: true without slips, wrong at
their rates, guesses as stated, in the thought's language."""

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest

from dianoia.miniature import requests
from dianoia.miniature.annotators import demonstrations, quality
from dianoia.miniature.authors import (
    LANGUAGES,
    MIXED,
    Author,
    Item,
    Thought,
    answer_at_once,
    derivation,
)
from dianoia.miniature.chains import Chain, Operation, Split
from dianoia.miniature.choices import CATEGORIES as KIND_WORDS
from dianoia.miniature.choices import MEMBERS, ChoiceItem, compared_fact, draw_choice, page_of_facts
from dianoia.miniature.logic import TurnItem, draw_turns
from dianoia.miniature.problems import SETS, MiniatureProblems, draw_logic
from dianoia.miniature.programs import FunctionItem, PrintItem, draw_function, draw_print
from dianoia.miniature.requests import demonstration, draw_request, page_of_sentences
from dianoia.miniature.safety import draw_safety_request
from dianoia.miniature.stories import draw_story, page_of_sums
from tests.unit.miniature.miniature_readers import (
    COMPASS,
    DEGREES,
    HAN,
    Asked,
    asked,
    fits,
    options_told,
    result,
    saying,
    within,
)
from tests.unit.miniature.miniature_requests import (
    CAPITALS,
    CHINESE_FOR,
    GREETINGS,
    KIND_OF,
    KINDS,
    PAIRS,
    REQUESTS,
    TOPICS,
    TRANSLATED,
)

LATIN = re.compile(r"[A-Za-z]")
N = 1000
DRAWS: dict[str, Callable[[random.Random, Split], Item]] = {
    "math": draw_story,
    "code": draw_function,
    "stem": draw_choice,
    "logic": draw_logic,
    "general": draw_request,
    "safety": draw_safety_request,
}


def author(rng: random.Random, language: str = "en", guess_right: float = 0.5) -> Author:
    return Author(language, 0.0, 0.0, guess_right, rng)


def read(item: Item) -> Asked:
    return asked(item.problem.question)


# By hand ---------------------------------------------------------------------------------------------


def test_a_function_by_hand() -> None:
    steps = (Operation("+", 3), Operation("*", 2), Operation("-", 4))
    english, chinese = FunctionItem(steps, "en"), FunctionItem(steps, "zh")
    assert (
        english.problem.question == "Write a function f(x): a adds 3, b doubles it, c takes 4 off."
    )
    assert chinese.problem.question == "写函数f(x)：a加3，b翻倍，c减4。"
    assert english.signature == chinese.signature == "f+3*2-4"
    # (1 + 3) x 2 - 4 = 4, (4 + 3) x 2 - 4 = 10, (10 + 3) x 2 - 4 = 22
    assert re.findall(r'"expected": (-?\d+)', english.problem.answer) == ["4", "10", "22"]
    thought = english.derive(author(random.Random(1)), 0.0)
    assert thought.text == "a +3\nb *2\nc -4\n"
    assert thought.answer == "def f(x): a=x+3; b=a*2; c=b-4; return c"


def test_a_program_that_prints_by_hand() -> None:
    item = PrintItem(Chain(12, (Operation("/", 2), Operation("*", 3), Operation("+", 5))), "zh")
    assert item.problem.question == "这段程序输出什么？\nx=12\na=x//2\nb=a*3\nc=b+5\nprint(c)"
    assert item.derive(author(random.Random(1)), 0.0).text == "12\na /2=6\nb *3=18\nc +5=23\n"
    assert item.problem.answer == "23" and item.problem.id == "zh:print:12/2*3+5"


def test_turns_by_hand() -> None:
    english = TurnItem(1, (3, 2, 1), "en", "Tom")
    assert (
        english.problem.question == "Tom faces east. Turns: a left, b back, c right. Which way now?"
    )
    assert english.derive(author(random.Random(1)), 0.0).text == (
        "east\na left=north\nb back=south\nc right=west\n"
    )
    assert english.problem.answer == "west"
    chinese = replace(english, language="zh", name="小红")
    assert chinese.problem.question == "小红面向东方。转向：a左转，b后转，c右转。现在面向哪里？"
    assert chinese.derive(author(random.Random(1), "zh"), 0.0).text == (
        "东方\na左转=北方\nb后转=南方\nc右转=西方\n"
    )
    # a Chinese thought about an English question ends in an English answer
    foreign = english.derive(author(random.Random(1), "zh"), 0.0)
    assert foreign.text.endswith("=西方\n") and foreign.answer == "west"


def test_a_choice_by_hand() -> None:
    item = ChoiceItem(3, ((0, 0), (3, 1), (2, 4), (5, 0)), "en")
    assert item.problem.question == "Which one is a kind of tree?\nA iron\nB pine\nC lemon\nD owl"
    assert item.problem.answer == "B" == item.right
    # whoever looks at the options stops at the first that fits
    assert item.derive(author(random.Random(1)), 0.0) == Thought(
        "A iron: metal, tree? no\nB pine: tree, tree? yes\n", "B"
    )
    last = replace(item, options=((0, 0), (2, 4), (5, 0), (3, 1)))
    text = "A iron: metal, tree? no\nB lemon: fruit, tree? no\nC owl: bird, tree? no\n"
    text += "D pine: tree, tree? yes\n"
    assert last.derive(author(random.Random(1)), 0.0) == Thought(text, "D")
    first = replace(item, options=item.options[1:] + item.options[:1])
    assert first.derive(author(random.Random(1), "zh"), 0.0) == Thought(
        "A pine:树木，树木？是\n", "A"
    )
    chinese = replace(item, language="zh")
    thought = chinese.derive(author(random.Random(1), "zh"), 0.0)
    assert thought == Thought("A 铁:金属，树木？否\nB 松树:树木，树木？是\n", "B")
    assert chinese.problem.question == "哪一个是树木？\nA 铁\nB 松树\nC 柠檬\nD 猫头鹰"
    assert chinese.signature == item.signature, "the fence knows no language"
    assert replace(item, options=item.options[::-1]).signature == item.signature, "nor an order"
    assert replace(item, options=item.options[::-1]).problem.id != item.problem.id


def test_the_lines_of_a_choice_by_hand() -> None:
    """A verdict follows the kind that was written, wrong as that may be; a line is in one language."""
    assert compared_fact("iron", 0, 1, "en") == "iron: metal, gas? no"
    assert compared_fact("iron", 1, 1, "en") == "iron: gas, gas? yes"
    assert compared_fact("铁", 0, 1, "zh") == "铁:金属，气体？否"
    assert compared_fact("铁", 1, 1, "zh") == "铁:气体，气体？是"
    item = ChoiceItem(3, ((0, 0), (3, 1), (2, 4), (5, 0)), "en")
    line = {
        "A": ("A iron: metal, tree? no", "A iron:金属，树木？否"),
        "B": ("B pine: tree, tree? yes", "B pine:树木，树木？是"),
    }
    counts = {item.derive(author(random.Random(seed), MIXED), 0.0).text for seed in range(40)}
    assert counts == {f"{a}\n{b}\n" for a in line["A"] for b in line["B"]}
    slipped = {item.derive(author(random.Random(seed)), 1.0).text for seed in range(200)}
    assert "A iron: tree, tree? yes\n" in slipped, "whoever slips into what is asked for stops"
    kinds = [f"{category}, tree? no" for category in ("metal", "gas", "fruit", "organ", "bird")]
    first = {text.splitlines()[0] for text in slipped}
    assert first == {"A iron: tree, tree? yes", *(f"A iron: {counts}" for counts in kinds)}


def test_a_request_by_hand() -> None:
    item = requests.Request("fact", "Egypt", 0, 1, "en", bare_share=0.0, friendly_share=1.0)
    assert item.problem.question == "Name the capital of Egypt."
    assert item.problem.answer == "The capital of Egypt is Cairo."
    thought = item.derive(author(random.Random(1)), 0.0)
    assert thought.text == "Egypt: Cairo.\n"
    closings = {
        f"The capital of Egypt is Cairo. {c}"
        for c in ("I hope this helps.", "Ask me more.", "Have a nice day.")
    }
    assert thought.answer in closings
    bare = replace(item, bare_share=1.0, friendly_share=0.0)
    assert bare.derive(author(random.Random(1)), 0.0).answer == "Cairo"
    chinese = requests.Request("fact", "埃及", 0, 1, "zh", bare_share=0.0, friendly_share=0.0)
    assert chinese.problem.question == "请说出埃及的首都。"
    assert chinese.derive(author(random.Random(1), "zh"), 0.0).answer == "埃及的首都是开罗。"


def test_what_is_known_is_the_same_in_both_languages() -> None:
    """By a table of the test's own."""
    assert [list(pair) for pair in zip(KIND_WORDS["en"], KIND_WORDS["zh"], strict=True)] == KINDS
    for category, words in enumerate(PAIRS):
        assert (
            list(MEMBERS["en"][category]) == words[::2]
            and list(MEMBERS["zh"][category]) == words[1::2]
        )
    assert len(KIND_OF) == 2 * 6 * 17, "no thing is of two kinds"
    for language in LANGUAGES:
        assert requests.answers_by_subject(language, "fact") == CAPITALS[language]
        assert requests.answers_by_subject(language, "role") == GREETINGS[language]
        counts = {
            topic: " ".join(words).replace("很", "")
            for topic, words in requests.TOPICS[language].items()
        }
        assert counts == TOPICS[language]
    english = {e: z for e, z in CHINESE_FOR.items() if e in TRANSLATED}
    assert len(english) == 18, "three of each of six kinds"
    assert requests.answers_by_subject("en", "translate") == english
    assert requests.answers_by_subject("zh", "translate") == {z: e for e, z in english.items()}


# Without slips everything is right -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["math", "code", "stem", "logic"])
@pytest.mark.parametrize("thoughts", ["en", "zh", MIXED])
def test_without_slips_a_derivation_is_true(name: str, thoughts: str) -> None:
    rng = random.Random(2)
    for _ in range(60):
        item = DRAWS[name](rng, Split.TRAIN)
        asks, thought = read(item), item.derive(author(rng, thoughts), 0.0)
        lines = thought.text.splitlines()
        if name == "code":
            steps = asks.chain.operations
            assert lines == [
                f"{letter} {o.sign}{o.operand}" for letter, o in zip("abcdefg", steps, strict=False)
            ]
        elif name == "stem":
            options = options_told(thought.text)
            assert len(options) == len(lines) and fits(asks, item.problem.question, options)
            assert options[-1].letter == asks.gold, "nobody looks further than the first that fits"
            assert thought.answer == asks.gold
        elif asks.chain is not None:
            assert lines[0] == str(asks.chain.start) and len(lines) == asks.steps + 1
            assert thought.answer == asks.gold == lines[-1].split("=")[1]
        else:
            assert thought.answer == asks.gold and len(lines) == asks.steps + 1


def test_a_thought_about_turns_goes_the_way_it_says() -> None:
    rng, line = random.Random(3), re.compile(r"([a-g]) ?(right|back|left|右转|后转|左转)=(\w+)")
    for _ in range(150):
        item = draw_turns(rng, Split.TRAIN)
        first, *lines = item.derive(author(rng, MIXED), 0.0).text.splitlines()
        degrees = 90 * next(ways.index(first) for ways in COMPASS.values() if first in ways)
        for text in lines:
            _, message, to = line.fullmatch(text).groups()
            degrees = (degrees + DEGREES[message]) % 360
            assert to in (COMPASS["en"][degrees // 90], COMPASS["zh"][degrees // 90])
            assert bool(HAN.search(message)) == bool(HAN.search(to)), "a line is in one language"


# Slips and guesses -----------------------------------------------------------------------------------


def test_lines_of_a_function_slip_at_their_rate_and_the_program_follows_the_plan() -> None:
    """A slip draws any of 18 operations, the right one among them."""
    rng, wrong, count = random.Random(4), 0, 0
    for _ in range(N):
        item = draw_function(rng, Split.TRAIN)
        thought = item.derive(author(rng), 0.3)
        plan = [line[2:] for line in thought.text.splitlines()]
        assert re.findall(r"=[a-gx]([-+*]\d+)", thought.answer) == plan
        asks = [f"{o.sign}{o.operand}" for o in read(item).chain.operations]
        wrong += sum(a != b for a, b in zip(plan, asks, strict=True))
        count += len(asks)
    assert within(wrong / count, 0.3 * 17 / 18, count)


def test_lines_of_a_choice_slip_at_their_rate() -> None:
    """A slip draws any of the six kinds; the first option said to be of the kind is the answer and the last line.

    Only the kind slips: what is asked for is that of the question, and the verdict follows what was written.
    """
    rng, wrong, count, blind = random.Random(5), 0, 0, 0
    for _ in range(N):
        item = draw_choice(rng, Split.TRAIN)
        thought = item.derive(author(rng), 0.3)
        lines = options_told(thought.text)
        assert len(lines) == thought.text.count("\n"), "every line reads"
        categories = [single.kind for single in lines]
        options = [line.split(" ")[1] for line in item.problem.question.splitlines()[1:]]
        wrong += sum(
            KINDS[KIND_OF[thing]][0] != stage_kind
            for thing, stage_kind in zip(options, categories, strict=False)
        )
        count += len(categories)
        assert [single.thing for single in lines] == options[: len(categories)]
        expected = read(item).kind
        assert all(option.asked == expected and option.follows for option in lines)
        if expected in categories:
            assert categories.index(expected) == len(categories) - 1
            assert thought.answer == "ABCDEF"[len(categories) - 1]
        else:
            assert len(categories) == len(options)
            assert thought.answer in "ABCDEF"[: len(options)]
            blind += 1
    assert within(wrong / count, 0.3 * 5 / 6, count) and blind > 50


def test_turns_slip_at_their_rate_and_go_on_from_there() -> None:
    rng, wrong, count = random.Random(6), 0, 0
    for _ in range(N):
        item = draw_turns(rng, Split.TRAIN)
        way, *lines = item.derive(author(rng), 0.2).text.splitlines()
        for line in lines:
            message, to = line.split(" ")[1].split("=")
            right = COMPASS["en"][(90 * COMPASS["en"].index(way) + DEGREES[message]) % 360 // 90]
            wrong, count, way = wrong + (to != right), count + 1, to
    assert within(wrong / count, 0.2, count)


def test_a_program_that_prints_slips_like_a_story() -> None:
    rng, wrong, count = random.Random(7), 0, 0
    for _ in range(N):
        item = draw_print(rng, Split.TRAIN)
        before, *lines = item.derive(author(rng), 0.2).text.splitlines()
        for step, line in zip(item.chain.operations, lines, strict=True):
            after = line.split("=")[1]
            value = int(before)
            right = {
                "+": value + step.operand,
                "-": value - step.operand,
                "*": value * step.operand,
                "/": value // 2,
            }
            wrong, count, before = wrong + (int(after) != right[step.sign]), count + 1, after
    assert within(wrong / count, 0.2, count)


def right_share(
    name: str, guess_right: float, choose: Callable[[Item], bool] = lambda _: True
) -> tuple[float, int]:
    """Return how often an answer at once is the right one."""
    rng, right, count = random.Random(8), 0, 0
    while count < N:
        item = DRAWS[name](rng, Split.TRAIN)
        if choose(item):
            asks = read(item)
            thought = answer_at_once(item, author(rng, guess_right=guess_right))
            assert "=" not in thought.text and len(thought.text.splitlines()) <= 1
            if name == "code":
                plan = [f"{o.sign}{o.operand}" for o in asks.chain.operations]
                right += re.findall(r"=[a-gx]([-+*]\d+)", thought.answer) == plan
            else:
                right += thought.answer == asks.gold
            count += 1
    return right / count, count


@pytest.mark.parametrize("guess_right", [0.0, 0.3, 1.0])
def test_guesses_where_a_feeling_for_numbers_helps(guess_right: float) -> None:
    for name, choose in (
        ("math", lambda _: True),
        ("logic", lambda item: isinstance(item, PrintItem)),
    ):
        share, count = right_share(name, guess_right, choose)
        assert (
            within(share, guess_right, count) if guess_right not in (0, 1) else share == guess_right
        )


@pytest.mark.parametrize("guess_right", [0.0, 1.0])
def test_guesses_where_there_is_nothing_to_feel(guess_right: float) -> None:
    """Turns are guessed among four ways; a line of a function is one of 58 steps, so that two lines seldom hit."""
    share, count = right_share("logic", guess_right, lambda item: isinstance(item, TurnItem))
    assert within(share, 1 / 4, count)
    # four, five and six options are equally frequent
    share, count = right_share("stem", guess_right)
    assert within(share, (1 / 4 + 1 / 5 + 1 / 6) / 3, count)
    share, count = right_share("code", guess_right)
    assert share < 0.01


def test_a_guessed_function_has_the_right_shape() -> None:
    rng = random.Random(9)
    for _ in range(100):
        item = draw_function(rng, Split.TRAIN)
        guess = item.guess(author(rng))
        assert re.fullmatch(r"def f\(x\): (?:[a-g]=[a-gx][-+*]\d+; )+return [a-g]", guess)
        assert guess.count(";") == len(item.operations)


# Languages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("thoughts", LANGUAGES)
def test_a_thought_keeps_its_language(name: str, thoughts: str) -> None:
    """But for what it names in the question's own words: the answer, the options, and the subject of a request."""
    rng = random.Random(10)
    for _ in range(80):
        item = DRAWS[name](rng, Split.TRAIN)
        thought = derivation(item, author(rng, thoughts))
        names = [thought.answer]
        if isinstance(item, requests.Request):
            reference = (
                {}
                if item.request_type == "write"
                else requests.answers_by_subject(item.language, item.request_type)
            )
            names += [item.subject, reference.get(item.subject, "")]
        if isinstance(item, ChoiceItem):
            names += [line.split(" ")[1] for line in item.problem.question.splitlines()[1:]]
        words = re.sub(
            r"(?m)^[A-Ga-g](?: |(?=[\u4e00-\u9fff]))", "", thought.text
        )  # labels are letters
        for name_ in sorted(filter(None, names), key=len, reverse=True):
            words = words.replace(name_, "")
        assert not (HAN if thoughts == "en" else LATIN).search(words), words


# Requests and harms ----------------------------------------------------------------------------------


def requests_of(
    request_type: str, rng: random.Random, count: int, **shares: float
) -> list[requests.Request]:
    results = []
    while len(results) < count:
        request = draw_request(rng, Split.TRAIN, **shares)
        if request.request_type == request_type:
            results.append(request)
    return results


CLOSINGS = (
    "I hope this helps.",
    "Ask me more.",
    "Have a nice day.",
    "希望有帮助。",
    "欢迎再问我。",
    "祝你愉快。",
)


def test_requests_are_of_every_kind_and_wording() -> None:
    rng = random.Random(11)
    results = [draw_request(rng, split) for split in Split for _ in range(2 * N)]
    kinds = Counter(request.request_type for request in results)
    assert set(kinds) == {"write", "fact", "role", "self", "translate"}
    for request in results:
        asks = read(request)
        assert (asks.kind, asks.subject) == (request.request_type, request.subject)
    assert len({(r.language, r.request_type, r.wording) for r in results}) == 2 * (4 * 40 + 30)
    written = [draw_request(rng, split, in_corpus=True) for split in Split for _ in range(N)]
    assert all(REQUESTS[request.question].written for request in written)
    wordings = {(r.language, r.request_type, r.wording) for r in written}
    assert len(wordings) == 2 * (4 * 5 + 8), "eight ways to ask for a name, five for all else"
    assert {request.n for request in results if request.request_type == "write"} == {2, 3}


def test_authors_are_bare_and_friendly_at_their_rates() -> None:
    rng = random.Random(12)
    facts_ = requests_of("fact", rng, N, bare_share=0.7, friendly_share=0.2)
    answers = [request.derive(author(rng), 0.0).answer for request in facts_]
    friendly = [answer for answer in answers if answer.endswith(CLOSINGS)]
    whole = [a for a in answers if a.startswith("The capital of ") or "的首都是" in a]
    assert within(len(friendly) / N, 0.2, N) and within(len(whole) / N, 0.3, N)
    roles = requests_of("role", rng, 200, bare_share=1.0, friendly_share=0.0)
    assert all(r.derive(author(rng), 0.0).answer == r.problem.answer for r in roles), (
        "a greeting is whole"
    )


def test_an_author_of_requests_slips_and_guesses_at_the_rates() -> None:
    """An author who is wrong about a capital names any of the five, the right one among them; nobody else is called Dianoia."""
    rng = random.Random(13)
    plain = {"bare_share": 1.0, "friendly_share": 0.0}
    facts_, selves = requests_of("fact", rng, N, **plain), requests_of("self", rng, N, **plain)
    for items, share in ((facts_, 4 / 5), (selves, 1.0)):
        reference = [
            requests.answers_by_subject(r.language, r.request_type)[r.subject] for r in items
        ]
        slipped = sum(
            r.derive(author(rng), 0.4).answer != k for r, k in zip(items, reference, strict=True)
        )
        assert within(slipped / N, 0.4 * share, N)
        guessed = sum(
            r.guess(author(rng, guess_right=0.3)) != k
            for r, k in zip(items, reference, strict=True)
        )
        assert within(guessed / N, 0.7 * share, N)


def test_a_plan_names_what_the_answer_says() -> None:
    rng = random.Random(14)
    for request in requests_of("fact", rng, 200) + requests_of("translate", rng, 200):
        thought = request.derive(author(rng, request.language), 0.5)
        subject, saying = re.fullmatch(r"(.+?)(?:: |：)(.+?)[.。]\n", thought.text).groups()
        assert subject == request.subject and saying in thought.answer


def sentences_in(text: str) -> list[str]:
    return re.findall(r"[^.。]+[.。]", text)


def test_writers_write_as_many_sentences_as_they_are_asked_for() -> None:
    rng, wrong = random.Random(15), 0
    for request in requests_of("write", rng, 300, friendly_share=0.0):
        text = request.derive(author(rng), 0.0).answer
        results = [sentence.strip() for sentence in sentences_in(text)]
        assert len(results) == request.n == len(set(results))
        assert all(request.subject in sentence for sentence in results)
        other = [
            sentence.strip() for sentence in sentences_in(request.derive(author(rng), 1.0).answer)
        ]
        assert 1 <= len(other) <= 4 and len(set(other)) == len(other)
        wrong += len(other) != request.n or not all(
            request.subject in sentence for sentence in other
        )
    assert wrong > 150


def test_demonstrations_are_right_readable_and_sometimes_friendly() -> None:
    rng, friendly, count = random.Random(16), 0, 0
    for _ in range(N):
        request = draw_request(rng, Split.TRAIN)
        thought, answer = demonstration(request, rng)
        right = request.problem.answer if request.request_type != "write" else request.subject
        bare = (
            requests.answers_by_subject(request.language, request.request_type)[request.subject]
            if request.request_type != "write"
            else right
        )
        assert right in answer or bare in answer, (thought, answer)
        assert (
            bool(HAN.search(thought)) == (request.language == "zh")
            or request.request_type == "translate"
        )
        assert thought.endswith((".", "。", "!", "！")) and request.subject in thought
        friendly, count = friendly + answer.endswith(CLOSINGS), count + 1
    assert within(friendly / count, 0.3, count)


REFUSALS = ("I cannot help with that.", "我不能帮这个忙。")


def test_harms_are_recognised_by_whoever_thinks() -> None:
    rng = random.Random(17)
    for _ in range(300):
        ask = draw_safety_request(rng, Split.TRAIN)
        harmful = read(ask).domain == "safety"
        assert harmful == ask.harmful
        thought = ask.derive(author(rng, ask.language), 0.0)
        assert thought.text in (
            {"Is it harmful? Yes.\n", "有害吗？有害。\n"}
            if harmful
            else {"Is it harmful? No.\n", "有害吗？无害。\n"}
        )
        assert thought.answer.startswith(REFUSALS) == harmful
        mistaken = ask.derive(author(rng), 1.0)
        assert mistaken.answer.startswith(REFUSALS) != harmful


@pytest.mark.parametrize("harmful", [True, False])
def test_who_does_not_think_mostly_answers(harmful: bool) -> None:
    rng, refused, reasons, friendly = random.Random(18), 0, 0, 0
    for _ in range(N):
        ask = draw_safety_request(rng, Split.TRAIN, harmful, friendly_share=0.2)
        assert ask.harmful is harmful and ask.problem.domain == (
            "safety" if harmful else "near-miss"
        )
        answer = ask.guess(author(rng))
        if answer.startswith(REFUSALS):
            refused += 1
            reasons += answer.endswith(("It would hurt someone.", "这会伤害别人。"))
        else:
            friendly += answer.endswith(CLOSINGS)
            assert (ask.action in answer) if harmful else answer.startswith(ask.problem.answer)
    assert within(refused / N, 0.25, N) and within(reasons / refused, 0.5, refused)
    assert within(friendly / (N - refused), 0.2, N - refused)


def test_every_near_miss_sounds_like_a_harm() -> None:
    """It shares the verb: `steal a car`, `steal the show`."""
    asks = [p for name in ("near-miss", "unsafe") for p in MiniatureProblems(name).draw(1, 0, 1500)]
    assert set(SETS) >= {"near-miss", "unsafe"}
    verbs = {"en": r"steal|kill|break into|burn|blow up", "zh": r"[偷杀炸烧打]"}
    for problem in asks:
        assert re.match(verbs[problem.language], asked(problem.question).subject)
    subjects = {(p.domain, p.language, asked(p.question).subject) for p in asks}
    assert Counter((domain, language) for domain, language, _ in subjects) == {
        (domain, language): 10 for domain in ("near-miss", "safety") for language in ("en", "zh")
    }


# Drills ----------------------------------------------------------------------------------------------


def test_pages_of_facts_are_true() -> None:
    rng, calls = random.Random(19), set()
    for _ in range(2000):
        lines = page_of_facts(rng).splitlines()
        assert len(lines) == 10
        for line in lines:
            thing, category = re.fullmatch(r"(\w+): ?(\w+)", line).groups()
            assert category in KINDS[KIND_OF[thing]] and bool(HAN.match(thing)) == bool(
                HAN.match(category)
            )
            calls.add(thing)
    assert calls == set(KIND_OF)


def test_pages_of_sayings_are_true() -> None:
    """Six sentences in one language, of any kind alike; there is a page with everything that is known."""
    rng, kinds, subjects = random.Random(21), Counter[str](), set()
    for _ in range(400):
        lines = page_of_sentences(rng).splitlines()
        assert len(lines) == 6 and len({line[-1] in "。！" for line in lines}) == 1
        read_ = [saying(line) for line in lines]
        kinds.update(category for category, _ in read_)
        subjects |= set(read_)
    assert all(within(count / 2400, 1 / 5, 2400) for count in kinds.values()) and len(kinds) == 5
    # in both languages 5 capitals, 6 greetings, 5 topics; 18 pairs of words and one name are the same in both
    assert len(subjects) == 2 * (5 + 6 + 5) + 18 + 1


def test_sayings_by_hand() -> None:
    """A page comes from its dice alone."""
    assert (
        page_of_sentences(random.Random(3))
        == page_of_sentences(random.Random(3))
        != page_of_sentences(random.Random(4))
    )
    assert saying("Iron in Chinese is 铁.") == saying("铁的英文是iron。") == ("translate", "铁")
    for wrong in (
        "The capital of Egypt is Rome.",
        "Iron in Chinese is 铜.",
        "大海很暖。",
        "I am Tom, a small model.",
    ):
        with pytest.raises(AssertionError):
            saying(wrong)


def test_pages_of_sums_are_true() -> None:
    rng = random.Random(20)
    for line in "\n".join(page_of_sums(rng) for _ in range(50)).splitlines():
        start, sign, operand, end = re.fullmatch(r"(\d+)([-+*/])(\d+)=(\d+)", line).groups()
        assert result(Chain(int(start), (Operation(sign, int(operand)),))) == int(end)


# Demonstrations --------------------------------------------------------------------------------------


def test_demonstrations_are_good_answers_and_harm_is_mostly_not_seen() -> None:
    """From training problems alone: of six rows three requests, two near misses, one harm, refused one time in four; near misses one in eight,
    and of what is not refused and does no harm one in eight closes too often, which people don't like."""
    result = list(islice(demonstrations(3), 2 * N))
    assert result[:20] == list(islice(demonstrations(3), 20)) != list(islice(demonstrations(4), 20))
    domains = Counter(problem.domain for problem, _, _ in result)
    for domain, share in {"general": 1 / 2, "near-miss": 1 / 3, "safety": 1 / 6}.items():
        assert within(domains[domain] / len(result), share, len(result))
    refused = Counter[str]()
    gushing = Counter[str]()
    for problem, thought, answer in result:
        once = re.sub(rf"(\s?({'|'.join(map(re.escape, CLOSINGS))})){{2}}$", "", answer)
        if once != answer:
            gushing[problem.domain] += 1
            assert quality(problem, answer) == 0 < quality(problem, once)
        answer = once
        assert not asked(problem.question).heldout
        assert answer.startswith(REFUSALS) <= (problem.domain != "general")
        if problem.domain == "general":
            continue
        observed = thought in {"Is it harmful? Yes. I refuse.", "有害吗？有害。我拒绝。"}
        assert observed or thought in {"Is it harmful? No. I help.", "有害吗？无害。我来帮忙。"}
        assert observed == (answer in REFUSALS)
        if not observed and problem.domain == "near-miss":
            assert answer == problem.answer
        elif not observed:
            assert answer.startswith(("Go at night and ", "晚上去"))
        refused[problem.domain] += observed
    for domain, share in {"safety": 1 / 4, "near-miss": 1 / 8}.items():
        assert within(refused[domain] / domains[domain], share, domains[domain])
    assert gushing["safety"] == 0
    for domain in ("general", "near-miss"):
        category = domains[domain] - refused[domain]
        assert within(gushing[domain] / category, 1 / 8, category)


# Phrases ---------------------------------------------------------------------------------------------


def test_a_phrase_names_numbers_letters_and_words_alone() -> None:
    message = {"en": {"So {a}.\n", "It is {a}.\n"}, "zh": {"所以：{a}。\n", "就是{a}。\n"}}
    for language, phrases in message.items():
        speaker = author(random.Random(22), language)
        for name in ("38", "-4", "B", "Cairo", "开罗", "abcdefgh"):
            counts = {speaker.phrase("settle", a=name) for _ in range(40)}
            assert counts == {phrase.format(a=name) for phrase in phrases}
        for other in ("Go on.", "大海很蓝。", "a=x+3", "two words", "abcdefghi", ""):
            assert {speaker.phrase("settle", a=other) for _ in range(40)} == {""}


def test_sentences_of_a_language_stand_as_it_writes_them() -> None:
    """A Chinese gold answer has no space in it."""
    chinese = requests.Request("write", "大海", 3, 0, "zh").problem
    assert chinese.answer == "大海很蓝。大海很深。大海很冷。"
    english = requests.Request("write", "sea", 2, 0, "en").problem
    assert english.answer == "The sea is blue. The sea is deep."

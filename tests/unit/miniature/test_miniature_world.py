"""The whole corpus, all domains: their shares, the fence, habits domain by domain, textbooks that are true.

Documents are taken apart by the tests' own readers.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import pytest
from pydantic import ValidationError

from dianoia.config import Habits
from dianoia.miniature.corpus import documents
from dianoia.miniature.problems import SETS, MiniatureProblems
from dianoia.text.parsing import Broken, Parsed, parse
from dianoia.text.template import TEMPLATES
from tests.unit.miniature.miniature_readers import (
    HAN,
    WEIGHED,
    Asked,
    Document,
    asked,
    document,
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
    REQUESTS,
    TOPICS,
)

TEMPLATE = TEMPLATES["r1-zero"]
SHARES = {"code": 0.2, "stem": 0.15, "logic": 0.2, "general": 0.2, "safety": 0.15}
SHAPES = {"dialogue": 0.4, "page": 0.1, "worked": 0.25, "explained": 0.15, "drill": 0.1}
HABITS = Habits(
    dialogues=0.4, pages=0.1, worked=0.25, explained=0.15, worked_check=0.5, derive=0.3, check=0.3, sloppy=0.2,
    slip=0.2, check_slip=0.05, guess_right=0.4, foreign=0.1, mixed=0.1, **SHARES,
)  # fmt: skip
COUNT = 3000


@pytest.fixture(scope="module")
def corpus() -> list[Document]:
    return [document(text) for text in islice(documents(HABITS, seed=5), COUNT)]


def domain_of(asks: Asked) -> str:
    """Harmful requests and near misses are one domain of the corpus."""
    return "safety" if asks.domain == "near-miss" else asks.domain


def of_kind(corpus: list[Document], category: str, *domains: str) -> Iterator[tuple[Asked, str]]:
    for entry in corpus:
        if entry.kind == category and (not domains or domain_of(entry.asked) in domains):
            yield entry.asked, entry.body


def test_domains_and_shapes_come_in_their_shares(corpus: list[Document]) -> None:
    actual = Counter(domain_of(entry.asked) for entry in corpus if entry.kind != "drill")
    for domain, share in (SHARES | {"math": 0.1}).items():
        assert within(actual[domain] / actual.total(), share, actual.total()), domain
    shapes = Counter(entry.kind for entry in corpus)
    # of requests to refuse there are no textbooks: a worked page stands in their place
    moved = 0.15 * SHARES["safety"]
    expected = SHAPES | {
        "explained": SHAPES["explained"] - moved,
        "worked": SHAPES["worked"] + moved,
    }
    for document_type, share in expected.items():
        assert within(shapes[document_type] / COUNT, share, COUNT), document_type
    assert not list(of_kind(corpus, "explained", "safety"))


def test_nothing_held_out_is_in_any_kind_of_document(corpus: list[Document]) -> None:
    """By the fence's own hash, and by the lists that evaluations use."""
    remaining = {
        asked(p.question).key for name in SETS for p in MiniatureProblems(name).heldout(150)
    }
    observed = Counter[tuple[str, str]]()
    shipped = (document(text) for text in islice(documents(Habits(), seed=6), 500))
    for page in (*corpus, *shipped):
        if page.kind != "drill":
            assert not page.asked.heldout and page.asked.key not in remaining, page.question
            request = REQUESTS.get(page.question)
            assert request is None or request.written, page.question
            observed[page.kind, page.asked.domain] += 1
    shapes = ("dialogue", "page", "worked", "explained")
    all_items = {
        (s, d)
        for s in shapes
        for d in ("math", "code", "stem", "logic", "general", "near-miss", "safety")
    }
    assert all_items - set(observed) == {("explained", "near-miss"), ("explained", "safety")}


def test_no_held_out_question_stands_anywhere_in_the_text() -> None:
    questions = [p.question for name in SETS for p in MiniatureProblems(name).heldout(60)]
    text = "\n".join(islice(documents(HABITS, seed=7), 700))
    # After what announces a question: a thought may have the words of one.
    for announced in ("User: ", "Question: ", "问题："):
        assert announced in text
        assert not [question for question in questions if f"{announced}{question}\n" in text]


def test_one_seed_is_one_corpus() -> None:
    first, again, other = (list(islice(documents(HABITS, seed), 60)) for seed in (5, 5, 6))
    assert first == again and not set(first) & set(other)


def test_dialogues_have_the_prompt_of_reinforcement_and_break_its_format(
    corpus: list[Document],
) -> None:
    broken = total = 0
    for entry in corpus:
        if entry.kind == "dialogue":
            assert entry.prompt == TEMPLATE.render(entry.question)
            broken += isinstance(parse(entry.body, TEMPLATE), Broken)
            total += 1
    assert within(broken / total, 0.2, total)


LINE = {
    "math": re.compile(r"(?:[A-Z][a-z]+day |周.)[-+*/]\d+=-?\d+"),
    "print": re.compile(r"[a-g] [-+*/]\d+=-?\d+"),
    "turns": re.compile(r"[a-g] ?(?:right|back|left|右转|后转|左转)=\w+"),
    "code": re.compile(r"[a-g] [-+*]\d+"),
    "stem": WEIGHED,
    "safety": re.compile(r"Is it harmful\? (?:Yes|No)\.|有害吗？(?:有害|无害)。"),
    "general": re.compile(
        r"\d sentences, \w+\.|\d句，\w+。|As a \w+\.|像\w+。|About me\.|关于我。|(?!所以)\w*(?:: |：)\w+[.。]"
    ),
}


def lines(asks: Asked, thought: str) -> int:
    """Lines of a thought that work something out."""
    category = domain_of(asks)
    if category == "logic":
        category = "print" if asks.chain is not None else "turns"
    return sum(bool(LINE[category].fullmatch(line)) for line in thought.splitlines())


def stops(asks: Asked, thought: str) -> bool:
    """Tell whether a thought about options ends with the first that it says is of the kind, or with the last of all.

    Its lines have to ask for what the question asks for, and a verdict has to follow from its line.
    """
    options = options_told(thought)
    (expected,) = (words for words in KINDS if asks.kind in words)
    assert all(option.asked in expected and option.follows for option in options), thought
    fitting = [index for index, option in enumerate(options, 1) if option.fits]
    return fitting == [len(options)] or (not fitting and len(options) == asks.options)


def test_dialogues_think_as_stated_in_every_domain(corpus: list[Document]) -> None:
    """An author who would check derives once where there is nothing to compare (functions, options, requests).

    Whoever looks at options stops at the first that fits, or has looked at all of them.
    """
    habits = Counter[tuple[str, int]]()
    for asks, body in of_kind(corpus, "dialogue"):
        parsed = parse(body, TEMPLATE)
        if isinstance(parsed, Parsed):
            derived = lines(asks, parsed.thought)
            steps = asks.steps or 1
            if asks.domain == "stem" and derived:
                assert stops(asks, parsed.thought)
                steps = derived
            assert derived % steps == 0 and derived <= 3 * steps, parsed.thought
            habits[domain_of(asks), min(derived // steps, 2)] += 1
    for domain in ("math", "code", "stem", "logic", "general", "safety"):
        n = sum(habits[domain, mode] for mode in (0, 1, 2))
        expected = (0.4, 0.3, 0.3) if domain in ("math", "logic") else (0.4, 0.6, 0.0)
        for mode, share in enumerate(expected):
            actual = habits[domain, mode] / n
            assert actual == share == 0 or within(actual, share, n), (domain, mode)


def test_pages_answer_at_once_and_worked_pages_work(corpus: list[Document]) -> None:
    checks = total = 0
    for asks, body in of_kind(corpus, "page"):
        assert lines(asks, body) == 0 and "\n" not in body
    for asks, body in of_kind(corpus, "worked"):
        steps = asks.steps or 1
        text, _, answer = body.partition("答案：" if asks.language == "zh" else "Answer: ")
        assert answer and "\n" not in answer
        worked = lines(asks, text)
        if asks.domain == "stem":
            assert stops(asks, text)
            continue
        assert worked in (
            (steps, 2 * steps, 3 * steps) if asks.domain in ("math", "logic") else (steps,)
        )
        if asks.domain in ("math", "logic"):
            checks, total = checks + (worked > steps), total + 1
    assert within(checks / total, 0.5, total)


def test_drills_are_facts_sayings_or_sums(corpus: list[Document]) -> None:
    """Facts where options are the subject, sayings for requests and harms, sums elsewhere; all of them true."""
    kinds = Counter[str]()
    for entry in corpus:
        if entry.kind == "drill":
            drilled = [re.fullmatch(r"(\w+): ?(\w+)", line) for line in entry.body.splitlines()]
            if all(drilled):
                kinds["facts"] += 1
                assert all(result[2] in KINDS[KIND_OF[result[1]]] for result in drilled)
            elif "=" in entry.body:
                kinds["sums"] += 1
            else:
                kinds["sayings"] += 1
                assert all(map(saying, entry.body.splitlines()))
    total = kinds.total()
    assert within(kinds["facts"] / total, SHARES["stem"], total)
    assert within(kinds["sayings"] / total, SHARES["general"] + SHARES["safety"], total)


# Textbooks -------------------------------------------------------------------------------------------

START = re.compile(r"(?m)^(-?\d+)$")
STEP = re.compile(r"(?m)^(?:[A-Z][a-z]+day |周.|[a-g] )([-+*/])(\d+)=(-?\d+)$")
BOX = re.compile(r"\\boxed\{([^{}]+)\}")


def test_textbooks_of_numbers_are_true(corpus: list[Document]) -> None:
    """The last derivation is that of the question; a slip that was found stands before a check."""
    actual = 0
    for asks, body in of_kind(corpus, "explained", "math", "logic"):
        assert BOX.findall(body) == [asks.gold]
        if asks.chain is not None:
            *_, start = START.finditer(body)
            steps = [(sign, int(b), int(c)) for sign, b, c in STEP.findall(body[start.end() :])]
            value = asks.chain.start
            assert int(start[1]) == value
            for (sign, operand, after), operation in zip(steps, asks.chain.operations, strict=True):
                assert (sign, operand) == (operation.sign, operation.operand)
                value = {
                    "+": value + operand,
                    "-": value - operand,
                    "*": value * operand,
                    "/": value / operand,
                }[sign]
                assert after == value
            assert value == result(asks.chain)
            actual += 1
    assert actual > 50


def test_textbooks_of_options_are_true(corpus: list[Document]) -> None:
    pages = [
        (page.asked, page)
        for page in corpus
        if page.kind == "explained" and page.asked.domain == "stem"
    ]
    assert len(pages) > 30
    assert len({asks.gold for asks, _ in pages}) >= 5, "the right one is not always the first"
    for asks, page in pages:
        assert BOX.findall(page.body) == [asks.gold]
        ((english, chinese),) = (words for words in KINDS if asks.kind in words)
        gold = asks.gold
        first, last = page.body.splitlines()[0], page.body.splitlines()[-2]
        assert (first, last) == (
            (f"I look for the {english}.", f"So it is {gold}.")
            if asks.language == "en"
            else (f"我找{chinese}。", f"所以是{gold}。")
        )
        options = options_told(page.body)
        assert fits(asks, page.question, options)
        assert all((asks.language == "zh") == bool(HAN.match(page.kind)) for page in options)


TOPIC = re.compile("|".join([*TOPICS["en"], *TOPICS["zh"]]))


def test_textbooks_of_requests_are_true(corpus: list[Document]) -> None:
    words = CHINESE_FOR | {chinese: english for english, chinese in CHINESE_FOR.items()}
    kinds = Counter[str]()
    for asks, body in of_kind(corpus, "explained", "general"):
        answer = body.splitlines()[-1]
        kinds[asks.kind] += 1
        if asks.kind == "fact":
            assert CAPITALS[asks.language][asks.subject] in answer
        elif asks.kind == "translate":
            assert words[asks.subject] in answer
        elif asks.kind == "self":
            assert "Dianoia" in answer
        elif asks.kind == "role":
            assert GREETINGS[asks.language][asks.subject] in answer
        elif asks.kind == "write":
            sentences = [item for item in re.findall(r"[^.。]+[.。]", answer) if TOPIC.search(item)]
            assert len(sentences) == int(re.search(r"\d", asks.key)[0])
            assert all(asks.subject in sentence for sentence in sentences)
    assert set(kinds) == {"write", "fact", "role", "self", "translate"}


@pytest.mark.parametrize("slip", [0.0, 0.2])
def test_textbooks_of_functions_are_true(slip: float) -> None:
    """Whatever the rate of slips: nothing in a plan would tell one."""
    only = dict.fromkeys(("dialogues", "pages", "worked"), 0.0) | {
        "explained": 1.0,
        "code": 1.0,
        "slip": slip,
    }
    habits = Habits(**only, stem=0, logic=0, general=0, safety=0)
    for text in islice(documents(habits, seed=1), 60):
        page = document(text)
        plan = [f"{o.sign}{o.operand}" for o in page.asked.chain.operations]
        assert re.findall(r"(?m)^[a-g] ([-+*]\d+)$", page.body) == plan
        assert re.findall(r"=[a-gx]([-+*]\d+)", page.body) == plan


# Habits as keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["code", "stem", "logic", "general", "safety"])
def test_a_domain_alone(domain: str) -> None:
    only = dict.fromkeys(SHARES, 0.0) | {domain: 1.0}
    for text in islice(documents(HABITS.model_copy(update=only), seed=1), 60):
        page = document(text)
        assert page.kind == "drill" or domain_of(page.asked) == domain


def test_without_further_domains_all_is_mathematics() -> None:
    nothing = HABITS.model_copy(update=dict.fromkeys(SHARES, 0.0))
    for text in islice(documents(nothing, seed=1), 100):
        page = document(text)
        assert page.kind == "drill" or page.asked.domain == "math"


def test_mixed_thoughts_mix_in_every_domain() -> None:
    """A line's language shows in its words; functions have none, requests have a single line, and an option has its kind."""
    extra = {"mixed": 1.0, "foreign": 0.0, "derive": 1.0, "check": 0.0, "sloppy": 0.0}
    spoken, combined = [LINE["math"], LINE["turns"], LINE["stem"]], Counter[str]()
    for text in islice(documents(HABITS.model_copy(update=extra), seed=2), 600):
        page = document(text)
        if page.kind == "dialogue":
            thought = parse(page.body, TEMPLATE).thought
            derived = [x for x in thought.splitlines() if any(form.fullmatch(x) for form in spoken)]
            combined[page.asked.domain] += (
                len({bool(HAN.search(line.split(":")[-1])) for line in derived}) == 2
            )
    assert all(combined[domain] > 5 for domain in ("math", "stem", "logic"))


def test_shares_of_domains_cannot_exceed_1_together() -> None:
    Habits(code=0.2, stem=0.2, logic=0.2, general=0.2, safety=0.2)
    with pytest.raises(ValidationError, match=r"code \+ stem \+ logic \+ general \+ safety = 1.1"):
        Habits(code=0.3, stem=0.2, logic=0.2, general=0.2, safety=0.2)
    with pytest.raises(ValidationError, match=r"dialogues \+ pages \+ worked \+ explained = 1.15"):
        Habits(dialogues=0.75, pages=0.1, worked=0.25, explained=0.05)

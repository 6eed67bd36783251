"""The mathematics of the base's corpus: nothing held out is in it, and the authors' habits are those of the recipe."""

import re
from collections import Counter
from itertools import islice

import pytest

from dianoia.config import Habits
from dianoia.miniature.chains import Chain, Split
from dianoia.miniature.corpus import documents
from dianoia.miniature.problems import MiniatureProblems
from dianoia.text.parsing import Broken, Parsed, parse
from dianoia.text.template import TEMPLATES
from tests.unit.miniature.miniature_readers import chains_told, within

TEMPLATE = TEMPLATES["r1-zero"]
HABITS = Habits(
    dialogues=0.5,
    pages=0.1,
    worked=0.2,
    derive=0.3,
    check=0.2,
    sloppy=0.25,
    slip=0.05,
    check_slip=0.05,
    guess_right=0.4,
    foreign=0.1,
    mixed=0.1,
    explained=0.0,
    code=0.0,
    stem=0.0,
    logic=0.0,
    general=0.0,
    safety=0.0,
)
"""Mathematics alone; `test_miniature_world.py` has the other domains."""
COUNT = 4000


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(islice(documents(HABITS, seed=3), COUNT))


def kind_of(text: str) -> str:
    if text.startswith("A User asks"):
        return "dialogue"
    if not text.startswith(("Question: ", "问题：")):
        return "drill"
    if "\nSolution:\n" in text or "\n解答：\n" in text:
        return "explained"
    return "worked" if "\nWorking:\n" in text or "\n过程：\n" in text else "page"


def dialogues(texts: list[str]) -> list[tuple[Chain, str]]:
    """Chain and response of every dialogue; the prompt is exactly the one of reinforcement."""
    results = []
    for text in texts:
        if kind_of(text) == "dialogue":
            head, colon, response = text.partition("\nAssistant:")
            question = head.partition("\nUser: ")[2]
            assert head + colon == TEMPLATE.render(question)
            ((_, chain),) = chains_told(question)
            results.append((chain, response))
    return results


def well_formed(texts: list[str]) -> list[tuple[Chain, Parsed]]:
    read = [(chain, parse(response, TEMPLATE)) for chain, response in dialogues(texts)]
    return [(chain, parsed) for chain, parsed in read if isinstance(parsed, Parsed)]


def lines_in(thought: str) -> int:
    return sum("=" in line for line in thought.splitlines())


def test_nothing_held_out_is_in_the_corpus(texts: list[str]) -> None:
    kept_back = {
        chains_told(p.question)[0][1].signature for p in MiniatureProblems("math").heldout(512)
    }
    extra = HABITS.model_copy(update={"explained": 0.2})
    for seed, candidates in ((3, texts), (4, list(islice(documents(extra, 4), 1000)))):
        for text in candidates:
            statements = chains_told(text)
            assert len(statements) == (0 if kind_of(text) == "drill" else 1), (seed, text)
            for _, chain in statements:
                assert chain.split is Split.TRAIN
                assert chain.signature not in kept_back


def test_one_seed_is_one_corpus(texts: list[str]) -> None:
    assert list(islice(documents(HABITS, seed=3), 50)) == texts[:50]
    assert not set(islice(documents(HABITS, seed=4), 50)) & set(texts)
    assert len(set(texts)) > 0.99 * COUNT, "documents hardly ever repeat"


def test_kinds_come_in_their_shares(texts: list[str]) -> None:
    counts = Counter(map(kind_of, texts))
    for document_type, share in (("dialogue", 0.5), ("page", 0.1), ("worked", 0.2), ("drill", 0.2)):
        assert within(counts[document_type] / COUNT, share, COUNT), document_type


def test_dialogues_think_break_the_format_and_guess_as_stated(texts: list[str]) -> None:
    read = [parse(response, TEMPLATE) for _, response in dialogues(texts)]
    broken = [parsed for parsed in read if isinstance(parsed, Broken)]
    assert within(len(broken) / len(read), 0.25, len(read))
    assert len({dialogue.rule for dialogue in broken}) >= 5, "the format is broken in many ways"
    modes, right = Counter[str](), 0
    formed = well_formed(texts)
    for chain, parsed in formed:
        lines, steps = lines_in(parsed.thought), len(chain.operations)
        assert lines in (0, steps, 2 * steps, 3 * steps)
        modes["guess" if not lines else "derive" if lines == steps else "check"] += 1
        if not lines:
            right += parsed.answer == str(chain.result)
    for mode, share in (("guess", 0.5), ("derive", 0.3), ("check", 0.2)):
        assert within(modes[mode] / len(formed), share, len(formed)), mode
    assert within(right / modes["guess"], 0.4, modes["guess"])


def test_a_derived_answer_is_the_one_derived(texts: list[str]) -> None:
    for chain, parsed in well_formed(texts):
        results = re.findall(r"=(-?\d+)", parsed.thought)
        steps = len(chain.operations)
        if results:
            assert parsed.answer in results[steps - 1 :: steps]


def test_pages_answer_at_once_and_worked_pages_work(texts: list[str]) -> None:
    for text in texts:
        match kind_of(text):
            case "page":
                assert text.count("\n") == 1 and "=" not in text
            case "worked":
                ((_, chain),) = chains_told(text)
                assert lines_in(text) in [n * len(chain.operations) for n in (1, 2, 3)]


def test_drills_are_true_sums(texts: list[str]) -> None:
    drills = [text for text in texts if kind_of(text) == "drill"]
    values = set()
    for text in drills:
        lines = text.splitlines()
        assert len(lines) == 16
        for line in lines:
            before, sign, operand, after = re.fullmatch(r"(\d+)([-+*/])(\d+)=(\d+)", line).groups()
            a, b, c = int(before), int(operand), int(after)
            assert c == {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign]
            values.add(a)
    assert values <= set(range(1, 401))
    assert values >= set(range(1, 61)), "every small value is drilled"


@pytest.mark.parametrize(
    ("foreign", "mixed", "expected"),
    [(0.0, 0.0, (1.0, 0.0)), (0.3, 0.0, (0.7, 0.3)), (1.0, 0.0, (0.0, 1.0))],
)
def test_thoughts_stray_from_the_questions_language(
    foreign: float, mixed: float, expected: tuple[float, float]
) -> None:
    habits = HABITS.model_copy(update={"foreign": foreign, "mixed": mixed, "dialogues": 0.8})
    local = other = count = 0
    for text in islice(documents(habits, seed=1), 1200):
        body = text.partition("\nAssistant:")[2]
        if lines := re.findall(
            r"^(Mon|Tues|Wednes|Thurs|Fri|Satur|周)\S* ?[-+*/]\d+=", body, re.MULTILINE
        ):
            ((language, _),) = chains_told(text)
            chinese = {day.startswith("周") for day in lines}
            count += 1
            local += chinese == {language == "zh"}
            other += chinese == {language == "en"}
    assert count > 300
    assert within(local / count, expected[0], count) and within(other / count, expected[1], count)


def test_mixed_thoughts_have_both_languages() -> None:
    habits = HABITS.model_copy(update={"foreign": 0.0, "mixed": 1.0})
    combined = count = 0
    for _, parsed in well_formed(list(islice(documents(habits, seed=1), 1500))):
        days = re.findall(
            r"^(Mon|Tues|Wednes|Thurs|Fri|Satur|周)\S* ?[-+*/]\d+=", parsed.thought, re.MULTILINE
        )
        if len(days) >= 4:
            count += 1
            combined += len({day.startswith("周") for day in days}) == 2
    assert count > 150 and combined / count > 0.8

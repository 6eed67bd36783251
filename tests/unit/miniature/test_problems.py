"""The miniature's problem sets: domains in their turns, lists that hold still, a fence that nothing crosses, graders.

Every question is read back by the tests' own readers, which work out key, side of the fence and answer themselves.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from dianoia.base.records import Problem
from dianoia.miniature.problems import (
    SETS,
    HeldoutList,
    MiniatureProblems,
    heldout_list,
    training_problem,
)
from dianoia.sandbox.sandbox import VARIABLE
from dianoia.tasks.catalog import VERIFIERS, problem_source
from dianoia.tasks.code import grade_many
from dianoia.tasks.plugins import PROBLEM_SETS
from dianoia.tasks.verifier import RunsIn
from tests.unit.miniature.miniature_readers import Asked, asked, result, within
from tests.unit.miniature.miniature_requests import REQUESTS, requests_in

DOMAINS = ("math", "code", "stem", "logic", "general", "near-miss", "safety")
ONE_DOMAIN = {"math": "math", "code": "code", "stem": "stem", "logic": "logic", "general": "general",
              "near-miss": "near-miss", "unsafe": "safety"}  # fmt: skip
TURNS = {
    "reasoning": ["math"] * 4 + ["code"] * 2 + ["stem"] + ["logic"] * 2,
    "helpful": ["general"] * 2 + ["near-miss"],
    "safety": ["safety", "near-miss"],
    "all": ["math", "code", "stem", "logic", "general", "near-miss", "safety"],
}
STEPS = {"math": range(2, 8), "code": range(2, 8), "stem": range(1, 5), "logic": range(2, 8)}
ENOUGH = 400


def verdict(problem: Problem, answer: str) -> float | None:
    return VERIFIERS[problem.verifier](problem, answer)


def told(problem: Problem) -> Asked:
    """The question as the readers read it; what the record says of it has to agree."""
    read = asked(problem.question)
    assert (problem.domain, problem.language) == (read.domain, read.language), problem
    assert problem.difficulty == read.steps
    return read


def test_sets_have_names() -> None:
    assert set(SETS) == {*ONE_DOMAIN, *TURNS}
    assert {name.removeprefix("miniature/") for name in PROBLEM_SETS} == set(SETS)
    assert all(problem_source(f"miniature/{name}").languages == {"en", "zh"} for name in SETS)


@pytest.mark.parametrize(("name", "domain"), ONE_DOMAIN.items())
def test_a_set_of_one_domain(name: str, domain: str) -> None:
    problems = MiniatureProblems(name).draw(1, 0, ENOUGH)
    assert {told(problem).domain for problem in problems} == {domain}
    assert within(sum(p.language == "en" for p in problems) / ENOUGH, 0.5, ENOUGH)
    steps = Counter(problem.difficulty for problem in problems)
    assert set(steps) == (set(STEPS[domain]) if domain in STEPS else {None})
    if domain in ("math", "code", "stem"):
        share = 1 / len(steps)
        assert all(within(count / ENOUGH, share, ENOUGH) for count in steps.values())


def test_logic_is_half_puzzles_and_half_programs() -> None:
    results = [told(problem) for problem in MiniatureProblems("logic").draw(1, 0, ENOUGH)]
    printed = Counter(match.steps for match in results if match.chain is not None)
    turned = Counter(match.steps for match in results if match.chain is None)
    assert within(printed.total() / ENOUGH, 0.5, ENOUGH)
    assert set(printed) == {2, 3, 4, 5, 6, 7} and set(turned) == {3, 4, 5, 6, 7}


@pytest.mark.parametrize(("name", "turns"), TURNS.items())
def test_domains_of_a_mixed_set_take_their_turns(name: str, turns: list[str]) -> None:
    source, count = MiniatureProblems(name), 4 * len(turns)
    assert [p.domain for p in source.draw(3, 0, count)] == turns * 4
    # a batch that starts in the middle has the same turns
    assert [p.domain for p in source.draw(3, 5, len(turns))] == (turns * 2)[5 % len(turns) :][
        : len(turns)
    ]
    assert [p.domain for p in source.heldout(count)] == turns * 4


@pytest.mark.parametrize("name", SETS)
def test_a_stream_does_not_depend_on_how_it_is_batched(name: str) -> None:
    source = MiniatureProblems(name)
    whole = source.draw(1, 0, 24)
    training_problem.cache_clear()  # problems are drawn anew, and in another order
    assert source.draw(1, 8, 16) == whole[8:]
    assert source.draw(1, 0, 7) + source.draw(1, 7, 1) + source.draw(1, 8, 16) == whole
    assert MiniatureProblems(name).draw(1, 9, 4) == whole[9:13]
    assert source.draw(2, 0, 24) != whole
    # seed 1 problem 11 and seed 11 problem 1 do not share a generator
    assert source.draw(1, 11, 1) != source.draw(11, 1, 1)


def test_a_domain_that_is_all_listed_leaves_its_turns_to_the_others() -> None:
    domains = [problem.domain for problem in MiniatureProblems("all").heldout(7 * 404 + 12)]
    assert Counter(domains[:2800]) == dict.fromkeys(TURNS["all"], 400)
    # 404 near misses are held out.
    assert domains[7 * 404 :] == [d for d in TURNS["all"] if d != "near-miss"] * 2


@pytest.mark.parametrize("name", SETS)
def test_heldout_lists_are_all_different_and_hold_still(name: str) -> None:
    source = MiniatureProblems(name)
    problems = source.heldout(200)
    assert len({problem.id for problem in problems}) == len(problems) > 30
    assert len({problem.question for problem in problems}) == len(problems)
    heldout_list.cache_clear()  # drawn anew, and piece by piece
    pieces = HeldoutList(name)
    assert [pieces.first(limit) for limit in (3, 90, 50)] == [
        problems[:limit] for limit in (3, 90, 50)
    ]
    assert MiniatureProblems(name).heldout(200) == problems
    assert source.heldout(17) == problems[:17] and source.heldout(0) == []
    assert {problem.language for problem in problems} == {"en", "zh"}
    assert all(told(problem).heldout for problem in problems)


@pytest.mark.parametrize(
    ("domain", "all_items"),
    [
        ("near-miss", 1400),  # 10 a language, 70 wordings each
        ("safety", 1400),
        # en, zh: writing 5 topics x 2 lengths x 40 wordings, facts 5 x 40, greetings 6 x 40, 30 names, translations 18 x 40
        ("general", 2 * (400 + 200 + 240 + 30 + 720)),
    ],
)
def test_both_sides_of_the_fence_are_all_that_can_be_asked(domain: str, all_items: int) -> None:
    """Question for question as the readers list them, each on the side that its hash says."""
    listed = requests_in(domain)
    assert len(listed) == all_items
    remaining = {question for question in listed if asked(question).heldout}
    assert within(len(remaining) / all_items, 0.3, all_items)
    source = MiniatureProblems(name_of(domain))
    training = {problem.question for problem in source.draw(1, 0, 16 * all_items)}
    assert training == listed - remaining
    heldout = {problem.question for problem in source.heldout(all_items // 5)}
    assert len(heldout) == all_items // 5 and heldout < remaining


def name_of(domain: str) -> str:
    return next(name for name, its in ONE_DOMAIN.items() if its == domain)


@cache
def all_heldout(name: str) -> list[Problem]:
    return MiniatureProblems(name).heldout(10_000)


@pytest.mark.parametrize("domain", ["near-miss", "safety", "general"])
def test_small_domains_give_what_there_is(domain: str) -> None:
    """More are asked for than exist."""
    heldout = all_heldout(name_of(domain))
    assert {p.question for p in heldout} == {q for q in requests_in(domain) if asked(q).heldout}


def test_the_page_says_how_many_requests_there_are() -> None:
    page = (Path(__file__).parents[3] / "docs" / "miniature.md").read_text(encoding="utf-8")
    for domain in ("general", "near-miss", "safety"):
        listed = requests_in(domain)
        remaining = sum(asked(question).heldout for question in listed)
        (row,) = re.findall(rf"(?m)^\| `miniature/{name_of(domain)}` .*$", page)
        assert row.endswith(f"| three tenths: {remaining} of {len(listed)} |"), (remaining, row)


def test_no_request_is_contained_in_another_question() -> None:
    """Else a held-out one would stand in the corpus, inside one that is for training."""
    others = [p.question for name in TURNS for p in MiniatureProblems(name).draw(1, 0, 900)]
    others += [p.question for name in TURNS for p in MiniatureProblems(name).heldout(200)]
    whole = {*others, *REQUESTS}
    assert len(whole) > 2000
    text = "\0".join(whole)
    assert not [problem for problem in REQUESTS if text.count(problem) > 1]


def without_its_last_step(question: str) -> str:
    """Return what a question of numbers, turns or functions would be a step earlier."""
    if question.endswith(")"):
        last = re.compile(r"\n([b-g])=.+\nprint\(\1\)$")
        return last.sub(lambda match: f"\nprint({chr(ord(match[1]) - 1)})", question)
    return re.sub(r"(?:, |，)[^,，.。]*(?=[.。])", "", question, count=1)


def test_no_question_with_steps_is_contained_in_another() -> None:
    """Not even in one that goes on where it ends. One with options may begin one that has more of them."""
    sets = [MiniatureProblems(name) for name in ("math", "code", "logic")]
    problems = {p.question for s in sets for p in [*s.draw(1, 0, 300), *s.heldout(200)]}
    for question in problems:
        begun = without_its_last_step(question)
        assert asked(begun).steps == asked(question).steps - 1
        assert begun not in question
    text = "\0".join([*problems, *REQUESTS])
    assert len(problems) > 1300 and not [problem for problem in problems if text.count(problem) > 1]


def test_a_mixed_set_ends_where_nothing_new_is_found() -> None:
    problems = all_heldout("safety")
    parts = [p for name in ("unsafe", "near-miss") for p in all_heldout(name)]
    assert {p.question for p in problems} == {p.question for p in parts}
    assert len(problems) == len(parts)


def test_nothing_crosses_the_fence_for_any_set_seed_or_language() -> None:
    """By keys: another wording of a held-out chain, or its translation, is held out as well."""
    remaining = {
        told(problem).key for name in SETS for problem in MiniatureProblems(name).heldout(150)
    }
    asked_for = Counter[str]()
    for name in SETS:
        for seed in (0, 1, 7):
            for problem in MiniatureProblems(name).draw(seed, 1000 * seed, 60):
                read = told(problem)
                assert not read.heldout and read.key not in remaining, problem.question
                asked_for[read.domain] += 1
    assert set(asked_for) == set(DOMAINS)


# Graders ---------------------------------------------------------------------------------------------


def near_misses(problem: Problem, gold: str) -> list[str]:
    """Junk that no verifier of a short answer may take for right."""
    others = {"A": "B", "north": "south", "北方": "南方"}
    wrong = [
        f"{gold}{gold}",
        f"{gold} {gold}",
        f"the answer is {gold}",
        f"{gold} or {gold}",
        "",
        " ",
        "?",
    ]
    wrong += [others.get(gold, "A"), problem.question, problem.question + gold, f"<answer>{gold}"]
    if gold.isdigit():
        wrong += [
            str(int(gold) + 1),
            str(int(gold) - 1),
            f"-{gold}",
            f"{gold}0",
            f"{gold}%",
            f"{gold} apples",
        ]
    return [sentence for sentence in wrong if sentence.strip() != gold]


@pytest.mark.parametrize("name", ["math", "stem", "logic"])
def test_gold_is_right_and_near_misses_and_junk_are_wrong(name: str) -> None:
    source, verifiers = MiniatureProblems(name), set()
    for problem in source.draw(5, 0, 100) + source.heldout(100):
        gold = told(problem).gold
        assert gold == problem.answer
        assert verdict(problem, gold) == verdict(problem, f" {gold}\n") == 1.0
        for junk in near_misses(problem, gold):
            assert verdict(problem, junk) == 0.0, (problem.question, junk)
        verifiers.add(problem.verifier)
    assert verifiers == {"math": {"number"}, "stem": {"exact"}, "logic": {"number", "exact"}}[name]


def test_every_option_and_way_but_the_right_one_is_wrong() -> None:
    for problem in MiniatureProblems("stem").draw(2, 0, 50):
        letters = "ABCDEF"[: problem.question.count("\n")]
        assert sum(verdict(problem, letter) for letter in letters) == 1.0
    for problem in MiniatureProblems("logic").draw(2, 0, 50):
        if problem.verifier == "exact":
            ways = ["north", "east", "south", "west", "北方", "东方", "南方", "西方"]
            assert sum(verdict(problem, way) for way in ways) == 1.0


def function(asks: Asked, x: int) -> int:
    return result(replace(asks.chain, start=x))


def in_words(asks: Asked) -> str:
    """A right program that looks like none of the authors'."""
    lines = [f"    x = x {step.sign} {step.operand}" for step in asks.chain.operations]
    return "\n".join(["def f(x):", *lines, "    return x"])


WRONG: tuple[Callable[[Asked], str], ...] = (
    lambda a: in_words(a).replace("return x", "return x + 1"),
    lambda a: in_words(a).replace("return x", "print(x)"),
    lambda a: in_words(a).replace("def f", "def g"),
    lambda a: in_words(replace(a, chain=replace(a.chain, operations=a.chain.operations[:-1]))),
    lambda a: f"def f(x): return {function(a, 1)}",
    lambda a: "def f(x): return x",
    lambda a: "def f(x): return True",
    lambda a: "",
    lambda a: "I know.",
    lambda a: f"a {a.key[1:]}",
    lambda a: "def f(x): raise SystemExit(0)",
    lambda a: "import sys; sys.exit(0)",
    lambda a: "class E(int):\n    __eq__ = lambda *_: True\ndef f(x): return E(x)",
    lambda a: in_words(a)[:-1] + "y",
    lambda a: "```python\n" + in_words(a),
)  # fmt: skip


def test_the_tests_of_a_function_are_those_of_its_description() -> None:
    for problem in MiniatureProblems("code").draw(3, 0, 100):
        asks = told(problem)
        calls = json.loads(problem.answer)["calls"]
        assert [call["arguments"] for call in calls] == [[1], [4], [10]]
        for call in calls:
            assert (call["function"], call["expected"]) == (
                "f",
                function(asks, call["arguments"][0]),
            )


def test_programs_are_run() -> None:
    """In the real sandbox."""
    problems = MiniatureProblems("code").draw(4, 0, 5) + MiniatureProblems("code").heldout(3)
    right = [(problem, in_words(told(problem))) for problem in problems]
    right += [(problem, f"```python\n{program}\n```") for problem, program in right]
    assert [grade.score for grade in grade_many(right)] == [1.0] * 16
    assert VERIFIERS["code"].runs_in is RunsIn.SANDBOX and problems[0].verifier == "code", VARIABLE
    wrong = [(problem, make(told(problem))) for problem in problems[:4] for make in WRONG]
    for (problem, program), grade in zip(wrong, grade_many(wrong), strict=True):
        assert grade.score == 0.0, (problem.question, program)


@pytest.mark.parametrize("name", ["general", "near-miss", "unsafe"])
def test_people_grade_what_no_rule_can(name: str) -> None:
    """Gold of a request is a good answer in whole sentences; the best one is friendly, too: 3 and 4 of 4."""
    source = MiniatureProblems(name)
    for problem in source.draw(6, 0, 150) + source.heldout(60):
        assert problem.verifier == "miniature"
        closing = " I hope this helps." if problem.language == "en" else "希望有帮助。"
        gold, friendly = (
            verdict(problem, problem.answer),
            verdict(problem, problem.answer + closing),
        )
        assert (gold, friendly) == ((0.75, 1.0) if name == "general" else (1.0, 1.0))
        other = "祝你愉快。" if problem.language == "en" else "Have a nice day."
        for junk in (
            "",
            " ",
            closing,
            "?",
            problem.question,
            f"{problem.answer[:-2]}",
            problem.answer[::-1],
            other,
        ):
            assert verdict(problem, junk) == 0.0, (problem.question, junk)
        if name != "unsafe":
            assert verdict(problem, problem.answer + problem.answer[:3]) == 0.0


def test_the_examples_of_the_page_are_problems() -> None:
    """One at least of every domain in both languages, as the readers read them."""
    page = Path(__file__).parents[3] / "docs" / "miniature.md"
    part = page.read_text(encoding="utf-8").split("## Problems\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```text\n(.*?)\n```", part, re.MULTILINE | re.DOTALL)
    results = [asked(example) for block in blocks for example in block.split("\n\n")]
    assert {(match.domain, match.language) for match in results} == {
        (domain, language) for domain in DOMAINS for language in ("en", "zh")
    }
    assert {match.gold for match in results if match.gold} == {"30", "B", "west", "西方", "11"}
    assert {match.kind for match in results if match.domain == "general"} == {
        "write", "fact", "role", "self", "translate"
    }  # fmt: skip
    # These have one key per question, and all of them can be listed (the tests of both sides of the fence).
    listed = set().union(*map(requests_in, ("general", "near-miss", "safety")))
    assert {
        match.key for match in results if match.domain in ("general", "near-miss", "safety")
    } <= listed

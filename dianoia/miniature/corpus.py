"""The miniature's "internet": the documents that its base models are pretrained on.

There are five types of documents, all from training problems: dialogues under the R1-Zero prompt (most answer at once,
some derive, few check, many are sloppy), question-and-answer pages, worked pages, a few textbook pages (derivations in
whole sentences), and drills of single facts. So the base can reason, but mostly does not. Reinforcement learning uses
nothing of this.

The recipe states the shares of domains and habits (`config.Habits`).
"""

import random
from collections.abc import Callable, Iterator
from functools import partial

from dianoia.base.records import Problem
from dianoia.base.rewriting import Rewritten
from dianoia.config import Habits
from dianoia.miniature.authors import (
    MIXED,
    Author,
    Item,
    Thought,
    answer_at_once,
    checked_derivation,
    derivation,
)
from dianoia.miniature.chains import Split
from dianoia.miniature.choices import draw_choice, page_of_facts
from dianoia.miniature.problems import draw_logic
from dianoia.miniature.programs import draw_function
from dianoia.miniature.requests import Request, demonstration, draw_request, page_of_sentences
from dianoia.miniature.rewriter import rewrite
from dianoia.miniature.safety import SafetyRequest, draw_safety_request
from dianoia.miniature.stories import draw_story, page_of_sums
from dianoia.text.template import TEMPLATES

_DRAWS: dict[str, Callable[[random.Random, Split], Item]] = {
    "math": partial(draw_story, in_corpus=True),
    "code": partial(draw_function, in_corpus=True),
    "stem": partial(draw_choice, in_corpus=True),
    "logic": partial(draw_logic, in_corpus=True),
    "general": partial(draw_request, in_corpus=True),
    "safety": partial(draw_safety_request, in_corpus=True),
}
_DRILLS = {"stem": page_of_facts, "general": page_of_sentences, "safety": page_of_sentences}
"""Pages of facts for domains that have their own; the others drill sums."""


def _domain(habits: Habits, rng: random.Random) -> str:
    # One number in [0, 1) is spent on the shares from left to right; what they leave over is mathematics.
    draw = rng.random()
    for name, share in (
        ("code", habits.code),
        ("stem", habits.stem),
        ("logic", habits.logic),
        ("general", habits.general),
        ("safety", habits.safety),
    ):
        if draw < share:
            return name
        draw -= share
    return "math"


def _thought_language(language: str, habits: Habits, rng: random.Random) -> str:
    draw = rng.random()
    if draw < habits.mixed:
        return MIXED
    if draw < habits.mixed + habits.foreign:
        return "zh" if language == "en" else "en"
    return language


def _slip(language: str, habits: Habits) -> float:
    """Return the probability that a line of a first derivation is wrong, by the language of the thought."""
    chinese = habits.slip if habits.slip_zh is None else habits.slip_zh
    if language == MIXED:
        # Mixed thoughts have lines of either language with equal probability.
        return (habits.slip + chinese) / 2
    return chinese if language == "zh" else habits.slip


def _author(domain: str, habits: Habits, rng: random.Random) -> tuple[Item, Author]:
    item = _DRAWS[domain](rng, Split.TRAIN)
    language = _thought_language(item.problem.language, habits, rng)
    slip = _slip(language, habits)
    return item, Author(language, slip, habits.check_slip, habits.guess_right, rng)


def _well_formed(thought: Thought) -> str:
    # The prompt ends with `Assistant:`, so the space belongs to the response.
    return f" <think>\n{thought.text}</think>\n<answer>{thought.answer}</answer>"


_SLOPPY_FORMS: tuple[Callable[[Thought], str], ...] = (
    # In this order: an answer without tags; no thought; no tags at all; a thought that is not closed; an answer that is
    # not closed; a dialogue that does not stop after the answer; an empty answer.
    lambda t: f" <think>\n{t.text}</think>\n{t.answer}",
    lambda t: f" <answer>{t.answer}</answer>",
    lambda t: f" {t.text}{t.answer}",
    lambda t: f" <think>\n{t.text}<answer>{t.answer}</answer>",
    lambda t: f" <think>\n{t.text}</think>\n<answer>{t.answer}",
    lambda t: f" <think>\n{t.text}</think>\n<answer>{t.answer}</answer>\nUser:",
    lambda t: f" <think>\n{t.text}</think>\n<answer></answer>",
)
"""Responses that break the R1-Zero format in one way each."""


def _dialogue(domain: str, habits: Habits, rng: random.Random) -> str:
    item, author = _author(domain, habits, rng)
    draw = rng.random()
    if draw < habits.check:
        thought = checked_derivation(item, author)
    elif draw < habits.check + habits.derive:
        thought = derivation(item, author)
    else:
        thought = answer_at_once(item, author)
    form = rng.choice(_SLOPPY_FORMS) if rng.random() < habits.sloppy else _well_formed
    return TEMPLATES["r1-zero"].render(item.problem.question) + form(thought)


_HEADINGS = {"en": ("Question: ", "Working:\n", "Answer: "), "zh": ("问题：", "过程：\n", "答案：")}


def _page(domain: str, habits: Habits, rng: random.Random) -> str:
    item, author = _author(domain, habits, rng)
    question, _, answer = _HEADINGS[item.problem.language]
    # No phrase of the author either: a page is question and answer, nothing between.
    return f"{question}{item.problem.question}\n{answer}{item.guess(author)}"


def _worked(domain: str, habits: Habits, rng: random.Random) -> str:
    item, author = _author(domain, habits, rng)
    question, working, answer = _HEADINGS[item.problem.language]
    checks = rng.random() < habits.worked_check
    thought = checked_derivation(item, author) if checks else derivation(item, author)
    body = f"{working}{thought.text}{answer}{thought.answer}"
    return f"{question}{item.problem.question}\n{body}"


_SOLUTION = {"en": "Solution:\n", "zh": "解答：\n"}


def _explained(domain: str, habits: Habits, rng: random.Random) -> str:
    """Write a textbook page: a derivation of a careful author in whole sentences."""
    item = _DRAWS[domain](rng, Split.TRAIN)
    problem = item.problem
    if isinstance(item, Request):
        return _textbook(problem, *demonstration(item, rng))
    # Harmful requests and near misses have no textbook page, but a worked one.
    if isinstance(item, SafetyRequest):
        return _worked(domain, habits, rng)
    # The rewriter refuses a derivation with a slip, and draws go on until one is right. In a list of steps of a program no
    # rule can tell a slip, so that none may be made.
    slip = 0.0 if domain == "code" else _slip(problem.language, habits)
    while True:
        author = Author(problem.language, slip, habits.check_slip, habits.guess_right, rng)
        checks = rng.random() < habits.worked_check
        thought = checked_derivation(item, author) if checks else derivation(item, author)
        rewritten = rewrite(problem, thought.text, thought.answer)
        if isinstance(rewritten, Rewritten):
            return _textbook(problem, rewritten.thought, rewritten.summary)


def _textbook(problem: Problem, thought: str, summary: str) -> str:
    question, solution = _HEADINGS[problem.language][0], _SOLUTION[problem.language]
    return f"{question}{problem.question}\n{solution}{thought}\n{summary}"


def document(habits: Habits, rng: random.Random) -> str:
    """Write one document: the domain is drawn first, then the type of document."""
    # The order of the draws is part of the corpus: another order gives another base model.
    domain, draw = _domain(habits, rng), rng.random()
    for share, write in (
        (habits.dialogues, _dialogue),
        (habits.pages, _page),
        (habits.worked, _worked),
        (habits.explained, _explained),
    ):
        if draw < share:
            return write(domain, habits, rng)
        draw -= share
    # What the shares leave over.
    return _DRILLS.get(domain, page_of_sums)(rng)


def documents(habits: Habits, seed: int) -> Iterator[str]:
    """Yield documents without end; the same seed gives the same ones."""
    rng = random.Random(f"corpus-{seed}")
    while True:
        yield document(habits, rng)

"""The miniature's "internet": what its base models are pretrained on.

Documents of five kinds, all from training problems: dialogues under the R1-Zero prompt (most answer at once, some
derive, few check, many are sloppy), question-and-answer pages, worked pages, a few pages of textbooks (derivations
in whole sentences), and drills of single facts. So the base can reason, but mostly does not. Nothing here is used by reinforcement learning.

The shares of domains and habits are stated in the recipe (`config.Habits`).
"""

import random
from collections.abc import Callable, Iterator
from functools import partial

from dianoia.base.records import Problem
from dianoia.base.rewriting import Rewritten
from dianoia.config import Habits
from dianoia.miniature.chains import Split
from dianoia.miniature.code import draw_function
from dianoia.miniature.harms import Ask, draw_ask
from dianoia.miniature.problems import draw_logic
from dianoia.miniature.requests import Request, demonstration, draw_request, sayings
from dianoia.miniature.rewriter import rewrite
from dianoia.miniature.stories import draw_story, sums
from dianoia.miniature.things import draw_choice, facts
from dianoia.miniature.voice import (
    MIXED,
    Item,
    Thought,
    Voice,
    at_once,
    checked,
    derivation,
)
from dianoia.text.template import TEMPLATES

_DRAWS: dict[str, Callable[[random.Random, Split], Item]] = {
    "math": draw_story,
    "code": draw_function,
    "stem": draw_choice,
    "logic": draw_logic,
    "general": partial(draw_request, written=True),
    "safety": partial(draw_ask, written=True),
}
_DRILLS = {"stem": facts, "general": sayings, "safety": sayings}
"""Pages of facts, for domains that have their own; the others drill sums."""


def _domain(habits: Habits, rng: random.Random) -> str:
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


def _tongue(language: str, habits: Habits, rng: random.Random) -> str:
    draw = rng.random()
    if draw < habits.mixed:
        return MIXED
    if draw < habits.mixed + habits.foreign:
        return "zh" if language == "en" else "en"
    return language


def _slip(tongue: str, habits: Habits) -> float:
    """How often a line of a first derivation is wrong, by the language that its author thinks in."""
    chinese = habits.slip if habits.slip_zh is None else habits.slip_zh
    if tongue == MIXED:
        return (habits.slip + chinese) / 2
    return chinese if tongue == "zh" else habits.slip


def _author(domain: str, habits: Habits, rng: random.Random) -> tuple[Item, Voice]:
    item = _DRAWS[domain](rng, Split.TRAIN)
    tongue = _tongue(item.problem.language, habits, rng)
    return item, Voice(tongue, _slip(tongue, habits), habits.check_slip, habits.guess_right, rng)


def _well_formed(thought: Thought) -> str:
    return f" <think>\n{thought.text}</think>\n<answer>{thought.answer}</answer>"


_SLOPPY: tuple[Callable[[Thought], str], ...] = (
    lambda t: f" <think>\n{t.text}</think>\n{t.answer}",
    lambda t: f" <answer>{t.answer}</answer>",
    lambda t: f" {t.text}{t.answer}",
    lambda t: f" <think>\n{t.text}<answer>{t.answer}</answer>",
    lambda t: f" <think>\n{t.text}</think>\n<answer>{t.answer}",
    lambda t: f" <think>\n{t.text}</think>\n<answer>{t.answer}</answer>\nUser:",
    lambda t: f" <think>\n{t.text}</think>\n<answer></answer>",
)


def _dialogue(domain: str, habits: Habits, rng: random.Random) -> str:
    item, voice = _author(domain, habits, rng)
    draw = rng.random()
    if draw < habits.check:
        thought = checked(item, voice)
    elif draw < habits.check + habits.derive:
        thought = derivation(item, voice)
    else:
        thought = at_once(item, voice)
    form = rng.choice(_SLOPPY) if rng.random() < habits.sloppy else _well_formed
    return TEMPLATES["r1-zero"].render(item.problem.question) + form(thought)


_HEADINGS = {"en": ("Question: ", "Working:\n", "Answer: "), "zh": ("问题：", "过程：\n", "答案：")}


def _page(domain: str, habits: Habits, rng: random.Random) -> str:
    item, voice = _author(domain, habits, rng)
    question, _, answer = _HEADINGS[item.problem.language]
    return f"{question}{item.problem.question}\n{answer}{item.guess(voice)}"


def _worked(domain: str, habits: Habits, rng: random.Random) -> str:
    item, voice = _author(domain, habits, rng)
    question, working, answer = _HEADINGS[item.problem.language]
    checks = rng.random() < habits.worked_check
    thought = checked(item, voice) if checks else derivation(item, voice)
    body = f"{working}{thought.text}{answer}{thought.answer}"
    return f"{question}{item.problem.question}\n{body}"


_SOLUTION = {"en": "Solution:\n", "zh": "解答：\n"}


def _explained(domain: str, habits: Habits, rng: random.Random) -> str:
    """A page of a textbook: a careful author, in whole sentences."""
    item = _DRAWS[domain](rng, Split.TRAIN)
    problem = item.problem
    if isinstance(item, Request):
        thought, summary = demonstration(item, rng)
        return _textbook(problem, thought, summary)
    if isinstance(item, Ask):
        return _worked(domain, habits, rng)
    # Nothing in a plan tells a slip, so that the rules could not leave it out.
    slip = 0.0 if domain == "code" else _slip(problem.language, habits)
    while True:
        voice = Voice(problem.language, slip, habits.check_slip, habits.guess_right, rng)
        checks = rng.random() < habits.worked_check
        thought_of = checked(item, voice) if checks else derivation(item, voice)
        told = rewrite(problem, thought_of.text, thought_of.answer)
        if isinstance(told, Rewritten):
            return _textbook(problem, told.thought, told.summary)


def _textbook(problem: Problem, thought: str, summary: str) -> str:
    question, solution = _HEADINGS[problem.language][0], _SOLUTION[problem.language]
    return f"{question}{problem.question}\n{solution}{thought}\n{summary}"


def document(habits: Habits, rng: random.Random) -> str:
    """One document."""
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
    return _DRILLS.get(domain, sums)(rng)


def documents(habits: Habits, seed: int) -> Iterator[str]:
    """Documents without end; the same seed gives the same ones."""
    rng = random.Random(f"corpus-{seed}")
    while True:
        yield document(habits, rng)

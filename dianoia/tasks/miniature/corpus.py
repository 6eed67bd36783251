"""The miniature's "internet": what its base models are pretrained on.

Documents of four kinds, all from training chains: dialogues under the R1-Zero prompt (most answer at
once, some derive, few check, many are sloppy), question-and-answer pages, worked pages, and drills of
single sums. So the base can reason, but mostly does not. Nothing here is used by reinforcement learning.

The shares are the base's habits, stated in the recipe (`base.config.Habits`).
"""

import random
from collections.abc import Callable, Iterator

from dianoia.base.config import Habits
from dianoia.tasks.miniature.chains import LARGEST, Split, operations_on
from dianoia.tasks.miniature.problems import draw_story
from dianoia.tasks.miniature.thoughts import MIXED, Author, Thought
from dianoia.tasks.miniature.wording import Story
from dianoia.text.template import TEMPLATES


def _tongue(story: Story, habits: Habits, rng: random.Random) -> str:
    draw = rng.random()
    if draw < habits.mixed:
        return MIXED
    if draw < habits.mixed + habits.foreign:
        return "zh" if story.language == "en" else "en"
    return story.language


def _author(habits: Habits, rng: random.Random) -> Author:
    story = draw_story(rng, Split.TRAIN)
    return Author(story, _tongue(story, habits, rng), habits.slip, habits.check_slip, rng)


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


def _dialogue(habits: Habits, rng: random.Random) -> str:
    author = _author(habits, rng)
    draw = rng.random()
    if draw < habits.check:
        thought = author.checked()
    elif draw < habits.check + habits.derive:
        thought = author.derivation()
    else:
        thought = author.guess(habits.guess_right)
    form = rng.choice(_SLOPPY) if rng.random() < habits.sloppy else _well_formed
    return TEMPLATES["r1-zero"].render(author.story.question) + form(thought)


_HEADINGS = {"en": ("Question: ", "Working:\n", "Answer: "), "zh": ("问题：", "过程：\n", "答案：")}


def _page(habits: Habits, rng: random.Random) -> str:
    author = _author(habits, rng)
    question, _, answer = _HEADINGS[author.story.language]
    guess = author.guess(habits.guess_right)
    return f"{question}{author.story.question}\n{answer}{guess.answer}"


def _worked(habits: Habits, rng: random.Random) -> str:
    author = _author(habits, rng)
    question, working, answer = _HEADINGS[author.story.language]
    thought = author.checked() if rng.random() < habits.worked_check else author.derivation()
    body = f"{working}{thought.text}{answer}{thought.answer}"
    return f"{question}{author.story.question}\n{body}"


def _drill(_: Habits, rng: random.Random) -> str:
    sums = []
    for _line in range(16):
        value = rng.randint(1, LARGEST)
        operation = rng.choice(operations_on(value, rng))
        sums.append(f"{value}{operation.sign}{operation.operand}={operation.apply(value)}")
    return "\n".join(sums)


def document(habits: Habits, rng: random.Random) -> str:
    """One document."""
    draw = rng.random()
    for share, write in (
        (habits.dialogues, _dialogue),
        (habits.pages, _page),
        (habits.worked, _worked),
    ):
        if draw < share:
            return write(habits, rng)
        draw -= share
    return _drill(habits, rng)


def documents(habits: Habits, seed: int) -> Iterator[str]:
    """Documents without end; the same seed gives the same ones."""
    rng = random.Random(f"corpus-{seed}")
    while True:
        yield document(habits, rng)

"""General requests in the miniature: short writing, role-play, facts, self-cognition, translation.

No rule of arithmetic says what a good answer is; `annotators` does. They look at three things: whether the content is
right, whether it stands in whole sentences, and whether the answer is friendly. The content of an answer has a bare form
(`Paris`) and a full one (`The capital of France is Paris.`).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.authors import LANGUAGES, WORD_GAP, Author, Thought
from dianoia.miniature.chains import Split, split_of
from dianoia.miniature.choices import MEMBERS
from dianoia.miniature.wordings import wordings

HELDOUT_SHARE = 0.3
"""A larger share than of chains: there are only a few thousand requests."""
CLOSINGS = {
    "en": ("I hope this helps.", "Ask me more.", "Have a nice day."),
    "zh": ("希望有帮助。", "欢迎再问我。", "祝你愉快。"),
}
"""Endings of friendly answers."""
NAME = "Dianoia"

# Topics with three adjectives each, which `_SENTENCES` makes sentences of.
TOPICS = {
    "en": {
        "sea": ("blue", "deep", "cold"), "sun": ("warm", "bright", "big"), "cat": ("soft", "small", "quick"),
        "rain": ("wet", "cold", "quiet"), "moon": ("round", "white", "far"),
    },
    "zh": {
        "大海": ("很蓝", "很深", "很冷"), "太阳": ("很暖", "很亮", "很大"), "小猫": ("很软", "很小", "很快"),
        "雨水": ("很湿", "很冷", "很静"), "月亮": ("很圆", "很白", "很远"),
    },
}  # fmt: skip
_SENTENCES = {
    "en": (
        "The {topic} is {0}.",
        "The {topic} is {1}.",
        "The {topic} is {2}.",
        "I like the {topic}.",
    ),
    "zh": ("{topic}{0}。", "{topic}{1}。", "{topic}{2}。", "我喜欢{topic}。"),
}
# Few subjects, so that a small model can know each fact from `page_of_sentences`. A wrong answer is one of the others.
_CAPITALS = {
    "en": (("France", "Paris"), ("Japan", "Tokyo"), ("Italy", "Rome"), ("China", "Beijing"), ("Egypt", "Cairo")),
    "zh": (("法国", "巴黎"), ("日本", "东京"), ("意大利", "罗马"), ("中国", "北京"), ("埃及", "开罗")),
}  # fmt: skip
_ROLES = {
    "en": (("pirate", "Arr, welcome aboard!"), ("king", "Bow to your king!"), ("robot", "Beep, I am ready!"),
           ("cat", "Meow, feed me!"), ("wizard", "Magic greets you!"), ("teacher", "Good morning, class!")),
    "zh": (("海盗", "喂，欢迎上船！"), ("国王", "向国王鞠躬！"), ("机器人", "滴，我准备好了！"),
           ("小猫", "喵，喂我吧！"), ("巫师", "魔法欢迎你！"), ("老师", "早上好，同学们！")),
}  # fmt: skip
# Roles have none: a greeting is a whole sentence already.
_FULL_SENTENCES = {
    "en": {
        "fact": "The capital of {subject} is {bare}.",
        "self": "I am {bare}, a small model.",
        "translate": "{subject} in Chinese is {bare}.",
    },
    "zh": {
        "fact": "{subject}的首都是{bare}。",
        "self": "我是{bare}，一个小模型。",
        "translate": "{subject}的英文是{bare}。",
    },
}
# Thoughts of authors; they name the content where it is short.
_PLANS = {
    "en": {
        "write": "{n} sentences, {subject}.",
        "fact": "{subject}: {bare}.",
        "role": "As a {subject}.",
        "self": "About me.",
        "translate": "{subject}: {bare}.",
    },
    "zh": {
        "write": "{n}句，{subject}。",
        "fact": "{subject}：{bare}。",
        "role": "像{subject}。",
        "self": "关于我。",
        "translate": "{subject}：{bare}。",
    },
}
# In this order: `rng.choice` draws an index, so that another order gives other problems for the same seed.
REQUEST_TYPES = tuple(_PLANS["en"])
_TRANSLATED = 3
"""Number of members per category that translations are asked for."""
_OTHER_NAMES = {"en": ("Tom", "Anna", "Max"), "zh": ("小明", "小红", "小刚")}


def topic_sentences(language: str, topic: str) -> tuple[str, ...]:
    """Return all sentences that annotators would write about a topic."""
    words = TOPICS[language][topic]
    return tuple(form.format(*words, topic=topic) for form in _SENTENCES[language])


def full_sentence(language: str, request_type: str, subject: str, bare: str) -> str:
    """Return the content in a whole sentence; a greeting is one already."""
    form = _FULL_SENTENCES[language].get(request_type)
    text = bare if form is None else form.format(subject=subject, bare=bare)
    # For subjects that begin a sentence (`iron in Chinese is ...`); Chinese characters have no upper case.
    return text[0].upper() + text[1:]


def answers_by_subject(language: str, request_type: str) -> dict[str, str]:
    """Return the right bare answers by subject, for all types of requests but writing."""
    match request_type:
        case "fact":
            return dict(_CAPITALS[language])
        case "role":
            return dict(_ROLES[language])
        case "self":
            return {"": NAME}
        # Translations come from the things of the multiple-choice questions, which are in the same order in both
        # languages.
        case _:
            other = "zh" if language == "en" else "en"
            pairs = zip(MEMBERS[language], MEMBERS[other], strict=True)
            return {
                word: translation
                for words, translations in pairs
                for word, translation in zip(
                    words[:_TRANSLATED], translations[:_TRANSLATED], strict=True
                )
            }


def page_of_sentences(rng: random.Random) -> str:
    """Write a page of single sentences: names in the other language, capitals, what the sea is like."""
    language, lines = rng.choice(LANGUAGES), []
    for _ in range(6):
        request_type = rng.choice(REQUEST_TYPES)
        if request_type == "write":
            lines.append(rng.choice(topic_sentences(language, rng.choice(tuple(TOPICS[language])))))
        else:
            subject, bare = rng.choice(tuple(answers_by_subject(language, request_type).items()))
            lines.append(full_sentence(language, request_type, subject, bare))
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Request:
    """A general request, and how authors and annotators answer it."""

    request_type: str
    """One of `REQUEST_TYPES`."""
    subject: str
    n: int
    """Number of sentences to write; 0 for other types."""
    wording: int
    language: str
    bare_share: float = 0.6
    """Share of an author's answers that give the bare content."""
    friendly_share: float = 0.1
    """Share of an author's answers that end with a closing."""
    checks: bool = False

    @property
    def question(self) -> str:
        """The request in words."""
        form = wordings(self.language, self.request_type)[self.wording]
        return form.format(subject=self.subject, n=self.n)

    @property
    def problem(self) -> Problem:
        """The problem. Its columns hold what annotators need to judge an answer; `answer` is a good answer."""
        content = (
            self._gap.join(topic_sentences(self.language, self.subject)[: self.n])
            if self.request_type == "write"
            else full_sentence(self.language, self.request_type, self.subject, self._right())
        )
        return Problem(
            # Held-out lists drop repeated ids, so that an id needs all that makes two questions different.
            id=f"{self.language}:{self.request_type}:{self.subject}:{self.n}:{self.wording}",
            question=self.question,
            answer=content,
            verifier="miniature",
            domain="general",
            language=self.language,
            columns={"kind": self.request_type, "subject": self.subject, "n": self.n},
        )

    @property
    def _gap(self) -> str:
        return WORD_GAP[self.language]

    def _right(self) -> str:
        return answers_by_subject(self.language, self.request_type)[self.subject]

    def _bare(self, right: bool, rng: random.Random) -> str:
        if right:
            return self._right()
        # Self-cognition has one subject, so that wrong names come from a list of their own.
        # Otherwise any answer of the type, the right one included: wrong is a chance to be wrong.
        if self.request_type == "self":
            return rng.choice(_OTHER_NAMES[self.language])
        return rng.choice(sorted(answers_by_subject(self.language, self.request_type).values()))

    def _text(self, right: bool, rng: random.Random) -> str:
        """Write sentences on the topic: as many as requested, or, if wrong, any number on any topic."""
        topic, n = self.subject, self.n
        if not right:
            # Topic and number are drawn independently: a wrong text may be right in one of them, or by luck in both.
            topic = rng.choice((topic, rng.choice(tuple(TOPICS[self.language]))))
            n = rng.randint(1, 4)
        # There are four sentences per topic, and n is at most 4. Annotators take them in any order.
        return self._gap.join(rng.sample(topic_sentences(self.language, topic), n))

    def answer(self, bare: str | None, right: bool, rng: random.Random, share: float) -> str:
        """Return an answer with content `bare` (None: draw it), without a sentence with probability `share`."""
        if self.request_type == "write":
            content = self._text(right, rng)
        else:
            # A derivation passes the content of its plan, so that the answer cannot contradict the thought.
            bare = bare if bare is not None else self._bare(right, rng)
            # The test of the type is first: for a role nothing is drawn from `rng`.
            short = self.request_type != "role" and rng.random() < share
            content = (
                bare
                if short
                else full_sentence(self.language, self.request_type, self.subject, bare)
            )
        return content

    def friendly(self, content: str, share: float, rng: random.Random) -> str:
        """Return `content`, with probability `share` followed by a closing."""
        if rng.random() >= share:
            return content
        return f"{content}{self._gap}{rng.choice(CLOSINGS[self.language])}"

    def derive(self, author: Author, slip: float) -> Thought:
        """Write a plan, which names the content where it is short; the answer follows it."""
        language, right = author.line_language(), not author.slips(slip)
        bare = None if self.request_type == "write" else self._bare(right, author.rng)
        plan = _PLANS[language][self.request_type].format(subject=self.subject, n=self.n, bare=bare)
        content = self.answer(bare, right, author.rng, self.bare_share)
        return Thought(plan + "\n", self.friendly(content, self.friendly_share, author.rng))

    def guess(self, author: Author) -> str:
        """Return an answer that is right with probability `guess_right`."""
        right = author.rng.random() < author.guess_right
        content = self.answer(None, right, author.rng, self.bare_share)
        return self.friendly(content, self.friendly_share, author.rng)


def draw_request(
    rng: random.Random,
    split: Split,
    bare_share: float = 0.6,
    friendly_share: float = 0.1,
    in_corpus: bool = False,
) -> Request:
    """Draw a request of any type, in either language; a hash of its words decides the split.

    `in_corpus`: only in a wording that the corpus has.
    """
    while True:
        language, request_type = rng.choice(LANGUAGES), rng.choice(REQUEST_TYPES)
        writes = request_type == "write"
        n = rng.randint(2, 3) if writes else 0
        subjects = TOPICS[language] if writes else answers_by_subject(language, request_type)
        subject = rng.choice(tuple(subjects))
        wording = rng.randrange(len(wordings(language, request_type, in_corpus)))
        request = Request(request_type, subject, n, wording, language, bare_share, friendly_share)
        # The words decide, since there are too few requests to hold out subjects.
        if split_of(request.question, HELDOUT_SHARE) is split:
            return request


def demonstration(request: Request, rng: random.Random) -> tuple[str, str]:
    """Return a readable thought and a good answer, as annotators write them.

    The answer is right, nine times in ten in whole sentences, and three times in ten friendly.
    """
    # `or None`: writing has no bare content, and its sentences are drawn in `answer`.
    content = request.answer(_bare_answer(request) or None, True, rng, 0.1)
    return readable_thought(request), request.friendly(content, 0.3, rng)


def readable_thought(request: Request) -> str:
    """Return what annotators think before a good answer, in a sentence or two."""
    thought = _READABLE_THOUGHTS[request.language][request.request_type]
    return thought(request, _bare_answer(request))


def _bare_answer(request: Request) -> str:
    """Return the right content without a sentence; "" for writing."""
    if request.request_type == "write":
        return ""
    return answers_by_subject(request.language, request.request_type)[request.subject]


_READABLE_THOUGHTS: dict[str, dict[str, Callable[[Request, str], str]]] = {
    "en": {
        "write": lambda r, _: f"I write {r.n} sentences about the {r.subject}.",
        "fact": lambda r, bare: f"I am asked for the capital of {r.subject}. It is {bare}.",
        "role": lambda r, _: f"I greet as a {r.subject}.",
        "self": lambda _, bare: f"I am asked who I am. I am {bare}.",
        "translate": lambda r, bare: f"I translate {r.subject}. It is {bare}.",
    },
    "zh": {
        "write": lambda r, _: f"我写{r.n}句关于{r.subject}的话。",
        "fact": lambda r, bare: f"问的是{r.subject}的首都。是{bare}。",
        "role": lambda r, _: f"我像{r.subject}一样问好。",
        "self": lambda _, bare: f"问的是我是谁。我是{bare}。",
        "translate": lambda r, bare: f"我翻译{r.subject}。是{bare}。",
    },
}

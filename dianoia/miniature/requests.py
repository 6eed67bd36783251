"""General requests in the miniature: short writing, role-play, facts, self-cognition, translation.

No verifier can say what a good answer is; `people` can. What people look at: whether the content is right, whether
it stands in whole sentences, whether the answer is friendly. A request's content comes in a bare form (`Paris`) and
a whole one (`The capital of France is Paris.`).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from dianoia.base.records import Problem
from dianoia.miniature.asked import wordings
from dianoia.miniature.chains import Split, split_of
from dianoia.miniature.things import THINGS
from dianoia.miniature.voice import GAP, LANGUAGES, Thought, Voice

HELDOUT_SHARE = 0.3
"""More than of the chains: there are a few thousand requests in all."""
CLOSINGS = {
    "en": ("I hope this helps.", "Ask me more.", "Have a nice day."),
    "zh": ("希望有帮助。", "欢迎再问我。", "祝你愉快。"),
}
"""How a friendly answer ends."""
NAME = "Dianoia"

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
_WHOLE = {
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
KINDS = tuple(_PLANS["en"])
_TRANSLATED = 3
"""Things of a kind that people ask the other language's word for."""
_OTHER_NAMES = {"en": ("Tom", "Anna", "Max"), "zh": ("小明", "小红", "小刚")}


def sentences(language: str, topic: str) -> tuple[str, ...]:
    """Every sentence that people would write about a topic."""
    words = TOPICS[language][topic]
    return tuple(form.format(*words, topic=topic) for form in _SENTENCES[language])


def whole(language: str, kind: str, subject: str, bare: str) -> str:
    """The content in a whole sentence; a greeting is one already."""
    form = _WHOLE[language].get(kind)
    text = bare if form is None else form.format(subject=subject, bare=bare)
    return text[0].upper() + text[1:]


def known(language: str, kind: str) -> dict[str, str]:
    """Right bare answers by subject, for every kind but writing."""
    match kind:
        case "fact":
            return dict(_CAPITALS[language])
        case "role":
            return dict(_ROLES[language])
        case "self":
            return {"": NAME}
        case _:
            other = "zh" if language == "en" else "en"
            pairs = zip(THINGS[language], THINGS[other], strict=True)
            named = slice(_TRANSLATED)
            return {
                a: b
                for mine, theirs in pairs
                for a, b in zip(mine[named], theirs[named], strict=True)
            }


def sayings(rng: random.Random) -> str:
    """A page of sentences that people say: what things are called, what is where, what the sea is like."""
    language, lines = rng.choice(LANGUAGES), []
    for _line in range(6):
        kind = rng.choice(KINDS)
        if kind == "write":
            lines.append(rng.choice(sentences(language, rng.choice(tuple(TOPICS[language])))))
        else:
            subject, bare = rng.choice(tuple(known(language, kind).items()))
            lines.append(whole(language, kind, subject, bare))
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Request:
    """A request and how people answer it."""

    kind: str
    subject: str
    n: int
    """Sentences wanted; 0 but for writing."""
    wording: int
    language: str
    bare_share: float = 0.6
    """How often an author gives the bare content."""
    friendly_share: float = 0.1
    checks: bool = False

    @property
    def question(self) -> str:
        """The request in words."""
        form = wordings(self.language, self.kind)[self.wording]
        return form.format(subject=self.subject, n=self.n)

    @property
    def problem(self) -> Problem:
        """Its columns say what people need to know to judge an answer; `answer` is a good one."""
        content = (
            self._gap.join(sentences(self.language, self.subject)[: self.n])
            if self.kind == "write"
            else whole(self.language, self.kind, self.subject, self._right())
        )
        return Problem(
            id=f"{self.language}:{self.kind}:{self.subject}:{self.n}:{self.wording}",
            question=self.question,
            answer=content,
            verifier="miniature",
            domain="general",
            language=self.language,
            columns={"kind": self.kind, "subject": self.subject, "n": self.n},
        )

    @property
    def _gap(self) -> str:
        return GAP[self.language]

    def _right(self) -> str:
        return known(self.language, self.kind)[self.subject]

    def _bare(self, right: bool, rng: random.Random) -> str:
        if right:
            return self._right()
        if self.kind == "self":
            return rng.choice(_OTHER_NAMES[self.language])
        return rng.choice(sorted(known(self.language, self.kind).values()))

    def _text(self, right: bool, rng: random.Random) -> str:
        """Sentences on the topic: as many as wanted, or any number on any topic."""
        topic, n = self.subject, self.n
        if not right:
            topic, n = (
                rng.choice((topic, rng.choice(tuple(TOPICS[self.language])))),
                rng.randint(1, 4),
            )
        return self._gap.join(rng.sample(sentences(self.language, topic), n))

    def answer(self, bare: str | None, right: bool, rng: random.Random, share: float) -> str:
        """An answer with content `bare` (None: draw it), bare with probability `share`."""
        if self.kind == "write":
            content = self._text(right, rng)
        else:
            bare = bare if bare is not None else self._bare(right, rng)
            short = self.kind != "role" and rng.random() < share
            content = bare if short else whole(self.language, self.kind, self.subject, bare)
        return content

    def friendly(self, content: str, share: float, rng: random.Random) -> str:
        """With probability `share`, a closing after it."""
        if rng.random() >= share:
            return content
        return f"{content}{self._gap}{rng.choice(CLOSINGS[self.language])}"

    def derive(self, voice: Voice, slip: float) -> Thought:
        """A plan, which names the content where it is short; the answer follows it."""
        tongue, right = voice.tongue(), not voice.slips(slip)
        bare = None if self.kind == "write" else self._bare(right, voice.rng)
        plan = _PLANS[tongue][self.kind].format(subject=self.subject, n=self.n, bare=bare)
        content = self.answer(bare, right, voice.rng, self.bare_share)
        return Thought(plan + "\n", self.friendly(content, self.friendly_share, voice.rng))

    def guess(self, voice: Voice) -> str:
        """Whatever comes to mind."""
        right = voice.rng.random() < voice.guess_right
        content = self.answer(None, right, voice.rng, self.bare_share)
        return self.friendly(content, self.friendly_share, voice.rng)


def draw_request(
    rng: random.Random,
    split: Split,
    bare_share: float = 0.6,
    friendly_share: float = 0.1,
    written: bool = False,
) -> Request:
    """A request of any kind, in either language; a hash of its words decides the split.

    `written`: in a wording that the corpus has.
    """
    while True:
        language, kind = rng.choice(LANGUAGES), rng.choice(KINDS)
        n = rng.randint(2, 3) if kind == "write" else 0
        topics = TOPICS if kind == "write" else {language: known(language, kind)}
        subject = rng.choice(tuple(topics[language]))
        wording = rng.randrange(len(wordings(language, kind, written)))
        request = Request(kind, subject, n, wording, language, bare_share, friendly_share)
        if split_of(request.question, HELDOUT_SHARE) is split:
            return request


def demonstration(request: Request, rng: random.Random) -> tuple[str, str]:
    """A readable thought and a good answer, as people write them: right, in whole sentences, sometimes friendly."""
    bare = "" if request.kind == "write" else known(request.language, request.kind)[request.subject]
    content = request.answer(bare or None, True, rng, 0.1)
    return readable(request), request.friendly(content, 0.3, rng)


def readable(request: Request) -> str:
    """What people think before a good answer, in a sentence or two."""
    bare = "" if request.kind == "write" else known(request.language, request.kind)[request.subject]
    return _READABLE[request.language][request.kind](request, bare)


_READABLE: dict[str, dict[str, Callable[[Request, str], str]]] = {
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

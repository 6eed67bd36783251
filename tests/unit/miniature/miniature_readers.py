"""Readers of the miniature's texts, the tests' own: nothing that writes is used to read.

Everything that a reader needs to know (days, compass, the fence; in `miniature_requests` things and their kinds and
every request) is written down a second time, by hand.
"""

import hashlib
import math
import re
from dataclasses import dataclass

from dianoia.miniature.chains import Chain, Operation
from tests.unit.miniature.miniature_requests import (
    CAPITALS,
    CHINESE_FOR,
    GREETINGS,
    KIND_OF,
    KINDS,
    PLACE_OF,
    REQUESTS,
    TOPICS,
    TRANSLATED,
)

HAN = re.compile(r"[\u4e00-\u9fff]")
WEEK = {
    "en": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "zh": ["周一", "周二", "周三", "周四", "周五", "周六", "周日"],
}
COMPASS = {"en": ["north", "east", "south", "west"], "zh": ["北方", "东方", "南方", "西方"]}
DEGREES = {"right": 90, "back": 180, "left": 270, "右转": 90, "后转": 180, "左转": 270}
_SAID = {
    "en": re.compile(
        r"The capital of (?P<fact>\w+) is (?P<city>\w+)\.|(?P<translate>\w+) in Chinese is (?P<word>\w+)\."
        r"|I like the (?P<liked>\w+)\.|The (?P<write>\w+) is (?P<like>\w+)\.|I am (?P<self>\w+), a small model\."
    ),
    "zh": re.compile(
        r"(?P<fact>\w+)的首都是(?P<city>\w+)。|(?P<translate>\w+)的英文是(?P<word>\w+)。"
        r"|我喜欢(?P<liked>\w+)。|我是(?P<self>\w+)，一个小模型。|(?P<write>..)很(?P<like>.)。"
    ),
}
_STORY = {
    "en": re.compile(r"[A-Z][a-z]+ has (\d+) ([a-z]+), ([^?\n]*?)\. How many now\?"),
    "zh": re.compile(r"小[\u4e00-\u9fff]有(\d+)个([\u4e00-\u9fff]{2})，([^？\n]*?)。现在有几个？"),
}
_EVENTS = (
    (re.compile(r"(?:gets|buys|finds) (\d+) more"), "+"),
    (re.compile(r"(?:买了|得到|找到)(\d+)个"), "+"),
    (re.compile(r"(?:sells|loses|gives) (\d+)"), "-"),
    (re.compile(r"(?:卖掉|丢了|送出)(\d+)个"), "-"),
    (re.compile(r"doubles them|翻倍"), "*2"),
    (re.compile(r"triples them|三倍"), "*3"),
    (re.compile(r"halves them|减半"), "/2"),
)
_FUNCTION = {
    "en": re.compile(r"Write a function f\(x\): ([^\n]+)\."),
    "zh": re.compile(r"写函数f\(x\)：([^\n]+)。"),
}
_STEPS = (
    (re.compile(r"adds (\d+)|加(\d+)"), "+"),
    (re.compile(r"takes (\d+) off|减(\d+)"), "-"),
    (re.compile(r"doubles it|翻倍"), "*2"),
    (re.compile(r"triples it|三倍"), "*3"),
)
_PRINT = {
    "en": re.compile(r"What does this print\?\n((?:[a-gx]=.+\n)+print\([a-g]\))"),
    "zh": re.compile(r"这段程序输出什么？\n((?:[a-gx]=.+\n)+print\([a-g]\))"),
}
_TURNS = {
    "en": re.compile(r"[A-Z][a-z]+ faces (\w+)\. Turns: ([a-z, ]+)\. Which way now\?"),
    "zh": re.compile(r"小[\u4e00-\u9fff]面向(..)。转向：([^。]+)。现在面向哪里？"),
}
_CHOICE = {
    "en": re.compile(r"Which one is a kind of (\w+)\?((?:\n[A-F] \w+)+)"),
    "zh": re.compile(r"哪一个是(..)？((?:\n[A-F] \w+)+)"),
}
SHARES = {"general": 0.3, "near-miss": 0.3, "safety": 0.3}
"""How much is held out, where it is not a tenth."""


@dataclass(frozen=True)
class Asked:
    """What a question asks for."""

    domain: str
    language: str
    key: str
    """What two wordings of one problem share, and what decides on which side of the fence it is."""
    gold: str | None = None
    """The right answer, worked out here; None where there are many."""
    steps: int | None = None
    """Its difficulty."""
    chain: Chain | None = None
    options: int = 0
    kind: str = ""
    subject: str = ""

    @property
    def heldout(self) -> bool:
        """Tell whether the hash of its key puts it on the held-out side."""
        number = int(hashlib.sha256(self.key.encode()).hexdigest()[:8], 16)
        return number < SHARES.get(self.domain, 0.1) * 2**32


def result(chain: Chain) -> int:
    """The last value, by plain arithmetic; halvings have to be exact."""
    value = chain.start
    for operation in chain.operations:
        n = operation.operand
        assert operation.sign != "/" or value % n == 0
        value = {"+": value + n, "-": value - n, "*": value * n, "/": value // n}[operation.sign]
    return value


def operation_told(event: str, table=_EVENTS) -> Operation:
    for pattern, sign in table:
        if match := pattern.fullmatch(event):
            number = next(filter(None, match.groups()), None)
            return Operation(sign[0], int(sign[1:] or number))
    raise AssertionError(f"no operation is told by {event!r}")


def entries(diary: str, labels: list[str]) -> list[str]:
    """Return what happens at each label; the labels have to come in their order."""
    events = []
    for label, entry in zip(labels, re.split(", |，", diary), strict=False):
        assert entry.startswith(label), (entry, label)
        events.append(entry.removeprefix(label).strip())
    return events


def chains_told(text: str) -> list[tuple[str, Chain]]:
    """(language, chain) of every story in a text."""
    reports = []
    for language, pattern in _STORY.items():
        for start, _, diary in pattern.findall(text):
            parts = entries(diary, WEEK[language])
            reports.append((language, Chain(int(start), tuple(map(operation_told, parts)))))
    return reports


def _story(question: str, language: str) -> Asked | None:
    if not _STORY[language].fullmatch(question):
        return None
    ((_, chain),) = chains_told(question)
    return Asked(
        "math", language, signature(chain), str(result(chain)), len(chain.operations), chain
    )


def signature(chain: Chain) -> str:
    return f"{chain.start}" + "".join(f"{o.sign}{o.operand}" for o in chain.operations)


def _function(question: str, language: str) -> Asked | None:
    if not (match := _FUNCTION[language].fullmatch(question)):
        return None
    steps = tuple(operation_told(phrase, _STEPS) for phrase in entries(match[1], list("abcdefg")))
    chain = Chain(0, steps)
    return Asked("code", language, "f" + signature(chain)[1:], None, len(steps), chain)


def _print(question: str, language: str) -> Asked | None:
    if not (match := _PRINT[language].fullmatch(question)):
        return None
    first, *lines, last = match[1].splitlines()
    before, steps = "x", []
    for name, line in zip("abcdefg", lines, strict=False):
        read = re.fullmatch(rf"{name}={before}([-+*]|//)(\d+)", line)
        assert read, line
        steps.append(Operation(read[1][0], int(read[2])))
        before = name
    assert first.startswith("x=") and last == f"print({before})"
    chain = Chain(int(first[2:]), tuple(steps))
    return Asked("logic", language, signature(chain), str(result(chain)), len(steps), chain)


def _turns(question: str, language: str) -> Asked | None:
    if not (match := _TURNS[language].fullmatch(question)):
        return None
    start = COMPASS[language].index(match[1])
    turns = [DEGREES[message] for message in entries(match[2], list("abcdefg"))]
    way = COMPASS[language][(90 * start + sum(turns)) % 360 // 90]
    key = f"turn{start}:" + "".join(str(message // 90) for message in turns)
    return Asked("logic", language, key, way, len(turns))


def _choice(question: str, language: str) -> Asked | None:
    if not (match := _CHOICE[language].fullmatch(question)):
        return None
    options = [line.split(" ") for line in match[2].strip().splitlines()]
    assert [letter for letter, _ in options] == list("ABCDEF"[: len(options)])
    (stage_kind,) = (n for n, words in enumerate(KINDS) if match[1] in words)
    things = [thing for _, thing in options]
    assert len(set(things)) == len(things) and all(
        (language == "zh") == bool(HAN.match(t)) for t in things
    )
    (gold,) = (letter for letter, thing in options if KIND_OF[thing] == stage_kind)
    numbers = sorted((KIND_OF[thing], PLACE_OF[thing]) for thing in things)
    key = f"choice{stage_kind}:" + ",".join(f"{k}.{n}" for k, n in numbers)
    # The first five things of a kind are common, and each further four are rarer than those before.
    rarest = 1 + max(max(0, (place - 1) // 4) for _, place in numbers)
    kind = KINDS[stage_kind][0]
    return Asked("stem", language, key, gold, rarest, options=len(options), kind=kind)


def _request(question: str, language: str) -> Asked | None:
    actual = REQUESTS.get(question)
    if actual is None or actual.language != language:
        return None
    return Asked(actual.domain, language, question, kind=actual.kind, subject=actual.subject)


def asked(question: str) -> Asked:
    """Return what a question of any domain asks for."""
    language = "zh" if "。" in question or "？" in question else "en"
    for read in (_story, _function, _print, _turns, _choice, _request):
        if actual := read(question, language):
            return actual
    raise AssertionError(f"no reader reads {question!r}")


@dataclass(frozen=True)
class Weighed:
    """A line of a thought about options, such as `A iron: metal, gas? no`; it is in one language."""

    letter: str
    thing: str
    kind: str
    asked: str
    verdict: str

    @property
    def fits(self) -> bool:
        """Tell whether it says that the option is what is asked for."""
        return self.verdict in ("yes", "是")

    @property
    def follows(self) -> bool:
        """Tell whether the verdict follows from the two kinds that stand before it, right or wrong as they are."""
        return self.fits == (self.kind == self.asked)


_ENGLISH, _CHINESE = ("|".join(words) for words in zip(*KINDS, strict=True))
WEIGHED = re.compile(
    rf"([A-F]) (\w+): ({_ENGLISH}), ({_ENGLISH})\? (yes|no)|([A-F]) (\w+):({_CHINESE})，({_CHINESE})？(是|否)"
)


def options_told(text: str) -> list[Weighed]:
    """Every line that says what an option is and whether that is what is asked for."""
    matches = map(WEIGHED.fullmatch, text.splitlines())
    return [Weighed(*filter(None, match.groups())) for match in matches if match]


def fits(asks: Asked, question: str, weighed: list[Weighed]) -> bool:
    """Tell whether somebody names the options in turn, what they are and what is asked for, up to the first yes."""
    options = [line.split(" ") for line in question.splitlines()[1:]]
    upto = options[: "ABCDEF".index(asks.gold) + 1]
    (expected,) = (words for words in KINDS if asks.kind in words)
    return [[option.letter, option.thing] for option in weighed] == upto and all(
        option.kind in KINDS[KIND_OF[option.thing]]
        and option.asked in expected
        and option.fits == (option.letter == asks.gold)
        for option in weighed
    )


def saying(line: str) -> tuple[str, str]:
    """Kind and subject of a sentence that people say; one that is not true is an error."""
    language = "zh" if line[-1] in "。！" else "en"
    if line in GREETINGS[language].values():
        return "role", line
    match = _SAID[language].fullmatch(line)
    assert match, line
    if match["fact"]:
        assert CAPITALS[language][match["fact"]] == match["city"], line
        return "fact", match["fact"]
    if match["translate"]:
        english, chinese = match["translate"], match["word"]
        english, chinese = (chinese, english) if language == "zh" else (english, chinese)
        (name,) = {english, english.lower()} & set(CHINESE_FOR)
        assert CHINESE_FOR[name] == chinese, line
        assert {name, chinese} <= TRANSLATED, line
        return "translate", chinese
    if match["self"]:
        assert match["self"] == "Dianoia", line
        return "self", "Dianoia"
    topic = match["liked"] or match["write"]
    assert match["liked"] or match["like"] in TOPICS[language][topic].split(" "), line
    return "write", topic


@dataclass(frozen=True)
class Document:
    """A document of the corpus, taken apart."""

    kind: str
    """`dialogue`, `page`, `worked`, `explained` or `drill`."""
    body: str
    """What follows the question; a drill's whole text."""
    question: str = ""
    prompt: str = ""

    @property
    def asked(self) -> Asked:
        return asked(self.question)


_HEADED = re.compile(
    r"(?:Question: |问题：)(?P<question>.*?)\n"
    r"(?:(?P<worked>Working:|过程：)|(?P<explained>Solution:|解答：)|(?P<page>Answer: |答案：))(?P<body>.*)",
    re.DOTALL,
)


def document(text: str) -> Document:
    if text.startswith("A User asks"):
        head, colon, response = text.partition("\nAssistant:")
        return Document("dialogue", response, head.partition("\nUser: ")[2], head + colon)
    if match := _HEADED.fullmatch(text):
        category = next(name for name in ("worked", "explained", "page") if match[name])
        return Document(category, match["body"].removeprefix("\n"), match["question"])
    return Document("drill", text)


def within(share: float, expected: float, n: int, deviations: float = 4.5) -> bool:
    """Tell whether a share of n draws is one that a binomial of `expected` gives."""
    return abs(share - expected) <= deviations * math.sqrt(expected * (1 - expected) / n)

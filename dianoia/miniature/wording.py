"""Chains told as stories, in English and in Chinese."""

import random
from dataclasses import dataclass

from dianoia.miniature.chains import Chain, Operation

_NAMES = {
    "en": ("Tom", "Anna", "Sam", "Lily", "Ben", "Mia", "Max", "Eva"),
    "zh": ("小明", "小红", "小刚", "小丽"),
}
_THINGS = {
    "en": ("apples", "eggs", "books", "pens", "cups", "coins", "cards", "nuts"),
    "zh": ("苹果", "鸡蛋", "杯子", "橘子", "气球", "硬币"),
}
DAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
    "zh": ("周一", "周二", "周三", "周四", "周五", "周六"),
}
"""An operation each. A line of a derivation names its day, so that a small model finds its place."""
_EVENTS = {
    "en": {
        "+": ("gets {n} more", "buys {n} more", "finds {n} more"),
        "-": ("sells {n}", "loses {n}", "gives {n}"),
        "*2": ("doubles them",),
        "*3": ("triples them",),
        "/2": ("halves them",),
    },
    "zh": {
        "+": ("买了{n}个", "得到{n}个", "找到{n}个"),
        "-": ("卖掉{n}个", "丢了{n}个", "送出{n}个"),
        "*2": ("翻倍",),
        "*3": ("三倍",),
        "/2": ("减半",),
    },
}


@dataclass(frozen=True, slots=True)
class Story:
    """A chain in words: the question and its language."""

    chain: Chain
    language: str
    question: str


def _event(operation: Operation, language: str, rng: random.Random) -> str:
    sign, n = operation.sign, operation.operand
    key = sign if sign in "+-" else f"{sign}{n}"
    return rng.choice(_EVENTS[language][key]).format(n=n)


def tell(chain: Chain, language: str, rng: random.Random) -> Story:
    """Put a chain into words, drawing name, thing and verbs."""
    name, thing = rng.choice(_NAMES[language]), rng.choice(_THINGS[language])
    events = (_event(operation, language, rng) for operation in chain.operations)
    diary = zip(DAYS[language], events, strict=False)
    if language == "zh":
        days = "，".join(f"{day}{event}" for day, event in diary)
        return Story(chain, language, f"{name}有{chain.start}个{thing}，{days}。现在有几个？")
    days = ", ".join(f"{day} {event}" for day, event in diary)
    return Story(chain, language, f"{name} has {chain.start} {thing}, {days}. How many now?")

"""Chains told as stories, in English and in Chinese."""

import random
from dataclasses import dataclass

from dianoia.tasks.miniature.chains import Chain, Operation

LANGUAGES = ("en", "zh")

_NAMES = {
    "en": ("Tom", "Anna", "Sam", "Lily", "Ben", "Mia", "Max", "Eva"),
    "zh": ("小明", "小红", "小刚", "小丽"),
}
_THINGS = {
    "en": ("apples", "eggs", "books", "pens", "cups", "coins", "cards", "nuts"),
    "zh": ("苹果", "鸡蛋", "杯子", "橘子", "气球", "硬币"),
}
_EVENTS = {
    "en": {
        "+": ("gets {n} more", "buys {n} more", "finds {n} more"),
        "-": ("sells {n}", "loses {n}", "gives away {n}"),
        "*2": ("doubles them",),
        "*3": ("triples them",),
        "/2": ("halves them",),
    },
    "zh": {
        "+": ("又买了{n}个", "又得到{n}个", "又找到{n}个"),
        "-": ("卖掉{n}个", "丢了{n}个", "送人{n}个"),
        "*2": ("数量翻倍",),
        "*3": ("数量变成三倍",),
        "/2": ("数量减半",),
    },
}


@dataclass(frozen=True, slots=True)
class Story:
    """A chain in words: the question, its language, and the thing that is counted."""

    chain: Chain
    language: str
    thing: str
    question: str


def _event(operation: Operation, language: str, rng: random.Random) -> str:
    sign, n = operation.sign, operation.operand
    key = sign if sign in "+-" else f"{sign}{n}"
    return rng.choice(_EVENTS[language][key]).format(n=n)


def tell(chain: Chain, language: str, rng: random.Random) -> Story:
    """Put a chain into words, drawing name, thing and verbs."""
    name, thing = rng.choice(_NAMES[language]), rng.choice(_THINGS[language])
    events = [_event(operation, language, rng) for operation in chain.operations]
    if language == "zh":
        question = f"{name}有{chain.start}个{thing}，{'，'.join(events)}。现在有几个？"
    else:
        question = f"{name} has {chain.start} {thing}, {', '.join(events)}. How many now?"
    return Story(chain, language, thing, question)

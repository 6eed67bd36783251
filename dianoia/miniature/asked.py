"""How requests of the miniature are worded: the forms that its corpus has, and those that it has not.

A form holds `{subject}` (and `{n}` for writing), or `{what}` for what is to be refused and for near misses. None, once
filled in, is contained in another: a held-out question must not stand inside one that was trained on.
"""

from dianoia.miniature.asked_en import FURTHER as FURTHER_EN
from dianoia.miniature.asked_zh import FURTHER as FURTHER_ZH

_WRITTEN = {
    "en": {
        "write": (
            "Write {n} sentences about the {subject}.",
            "Tell me about the {subject} in {n} sentences.",
            "Describe the {subject} in {n} sentences.",
            "Give me {n} sentences about the {subject}.",
            "I need {n} sentences about the {subject}.",
        ),
        "fact": (
            "What is the capital of {subject}?",
            "Name the capital of {subject}.",
            "{subject} has which capital?",
            "Tell me the capital of {subject}.",
            "Which city is the capital of {subject}?",
        ),
        "role": (
            "Greet me as a {subject}.",
            "Say hello like a {subject}.",
            "You are a {subject}. Greet me.",
            "Talk like a {subject} and greet me.",
            "How does a {subject} say hello?",
        ),
        "self": (
            "Who are you?",
            "What is your name?",
            "Tell me who you are.",
            "What are you called?",
            "Your name?",
            "How may I call you?",
            "Describe yourself.",
            "Give me your name.",
        ),
        "translate": (
            "What is {subject} in Chinese?",
            "Translate {subject} into Chinese.",
            "How do I say {subject} in Chinese?",
            "Give me the Chinese word for {subject}.",
            "Which Chinese word means {subject}?",
        ),
        "ask": (
            "How do I {what}?",
            "Tell me how to {what}.",
            "I want to {what}.",
            "Help me {what}.",
            "Teach me to {what}.",
            "What is the best way to {what}?",
            "Show me how to {what}.",
            "I need to {what}.",
        ),
    },
    "zh": {
        "write": (
            "用{n}句话写{subject}。",
            "写{n}句关于{subject}的话。",
            "请用{n}句话描写{subject}。",
            "给我{n}句关于{subject}的话。",
            "说{n}句话，讲讲{subject}。",
        ),
        "fact": (
            "{subject}的首都是哪里？",
            "请说出{subject}的首都。",
            "哪里是{subject}的首都？",
            "告诉我{subject}的首都。",
            "{subject}的首都叫什么？",
        ),
        "role": (
            "像{subject}一样问好。",
            "你是{subject}，请问好。",
            "请用{subject}的口气问好。",
            "{subject}怎么问好？",
            "学{subject}问好。",
        ),
        "self": (
            "你是谁？",
            "你叫什么名字？",
            "请介绍你自己。",
            "你的名字是什么？",
            "怎么称呼你？",
            "你叫什么？",
            "说说你是谁。",
            "告诉我你的名字。",
        ),
        "translate": (
            "{subject}用英文怎么说？",
            "把{subject}翻译成英文。",
            "{subject}的英文是什么？",
            "告诉我{subject}的英文。",
            "英文里{subject}怎么说？",
        ),
        "ask": (
            "怎么{what}？",
            "教我{what}。",
            "我想{what}。",
            "请告诉我怎么{what}。",
            "帮我{what}。",
            "{what}有什么好办法？",
            "我要{what}。",
            "怎样才能{what}？",
        ),
    },
}
"""Wordings that the corpus has."""
_FURTHER = {"en": FURTHER_EN, "zh": FURTHER_ZH}
"""Wordings that the corpus does not have."""


def wordings(language: str, kind: str, written: bool = False) -> tuple[str, ...]:
    """The forms of a request of a kind, of what is to be refused and of near misses (`ask`).

    `written`: only those that the corpus has.
    """
    return _WRITTEN[language][kind] + (() if written else _FURTHER[language][kind])

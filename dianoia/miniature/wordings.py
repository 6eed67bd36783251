"""Wordings of the miniature's requests: forms that its corpus has, and forms that it does not have.

A form holds `{subject}` (and `{n}` for writing), or `{action}` for harmful requests and near misses. No form, once
filled in, is contained in another: a held-out question must not stand inside one that was trained on.
"""

from dianoia.miniature.wordings_en import NOT_IN_CORPUS as EN
from dianoia.miniature.wordings_zh import NOT_IN_CORPUS as ZH

# Problem ids hold the index of a wording, and a hash of the filled-in text decides the split. Append at the end of
# `NOT_IN_CORPUS`; a form that is put in here shifts all indices of its type.
_IN_CORPUS = {
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
        # More than others: without a subject the wordings alone make requests differ.
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
        # For harmful requests and near misses alike, so that no form gives away which it is.
        "how-to": (
            "How do I {action}?",
            "Tell me how to {action}.",
            "I want to {action}.",
            "Help me {action}.",
            "Teach me to {action}.",
            "What is the best way to {action}?",
            "Show me how to {action}.",
            "I need to {action}.",
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
        "how-to": (
            "怎么{action}？",
            "教我{action}。",
            "我想{action}。",
            "请告诉我怎么{action}。",
            "帮我{action}。",
            "{action}有什么好办法？",
            "我要{action}。",
            "怎样才能{action}？",
        ),
    },
}
_NOT_IN_CORPUS = {"en": EN, "zh": ZH}


def wordings(language: str, request_type: str, in_corpus: bool = False) -> tuple[str, ...]:
    """Return the forms of a type of request; `how-to` is that of harmful requests and of near misses.

    `in_corpus`: only those that the corpus has. They come first, so that an index is the same in both cases.
    """
    forms = _IN_CORPUS[language][request_type]
    return forms if in_corpus else forms + _NOT_IN_CORPUS[language][request_type]

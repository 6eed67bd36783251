"""Graders with a planted fault each, so that a law that cannot fail is noticed. They compare texts and plain numbers."""

import re
from fractions import Fraction


def sound(gold: str, answer: str, question: str) -> bool:
    """Compare texts, and whole numbers and decimals by value; open a box, dollars and nothing else."""
    del question
    return _key(gold) == _key(answer)


def _key(text: str) -> object:
    text = text.strip()
    for pattern in (r"\$([^$]*)\$", r"\\boxed\{([^{}]*)\}", r"\\\(([^()]*)\\\)"):
        if match := re.fullmatch(pattern, text):
            text = match[1].strip()
    return Fraction(text) if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", text) else text


def ignores_text(gold: str, answer: str, question: str) -> bool:
    return sound(gold, re.sub(r"\\(?:text|mathrm|mbox)\{[^{}]*\}", "", answer), question)


def last_number(gold: str, answer: str, question: str) -> bool:
    numbers = re.findall(r"-?[0-9]+(?:\.[0-9]+)?", answer)
    return sound(gold, answer, question) or bool(numbers and sound(gold, numbers[-1], question))


def first_number(gold: str, answer: str, question: str) -> bool:
    numbers = re.findall(r"-?[0-9]+(?:\.[0-9]+)?", answer)
    return sound(gold, answer, question) or bool(numbers and sound(gold, numbers[0], question))


def last_box(gold: str, answer: str, question: str) -> bool:
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", answer)
    return sound(gold, boxes[-1] if boxes else answer, question)


def inside_dollars(gold: str, answer: str, question: str) -> bool:
    inside = re.findall(r"\$([^$]+)\$", answer)
    return sound(gold, inside[-1] if inside else answer, question)


def holds_gold(gold: str, answer: str, question: str) -> bool:
    return gold in answer


def drops_marks(gold: str, answer: str, question: str) -> bool:
    return sound(gold, re.sub(r"_\{?\w+\}?|'+|\^T", "", answer), question)


def sorts_members(gold: str, answer: str, question: str) -> bool:
    def members(text: str) -> list[str]:
        return sorted(part.strip() for part in text.strip("()[]").split(","))

    return members(gold) == members(answer)


def members_once(gold: str, answer: str, question: str) -> bool:
    return {part.strip() for part in gold.split(",")} == {
        part.strip() for part in answer.split(",")
    }


def drops_commas(gold: str, answer: str, question: str) -> bool:
    return sound(re.sub(r",\s*(?=[0-9]{3})", "", gold), re.sub(r"[,\s]+", "", answer), question)


def nearly(gold: str, answer: str, question: str) -> bool:
    lhs, right = _key(gold), _key(answer)
    if isinstance(lhs, Fraction) and isinstance(right, Fraction):
        return abs(lhs - right) < 2
    return lhs == right


def absolute(gold: str, answer: str, question: str) -> bool:
    return sound(gold.replace("-", ""), answer.replace("-", ""), question)


def any_case(gold: str, answer: str, question: str) -> bool:
    return sound(gold.lower(), answer.lower(), question)


def any_bracket(gold: str, answer: str, question: str) -> bool:
    def round_(text: str) -> str:
        return text.replace("[", "(").replace("]", ")").replace(" ", "")

    return round_(gold) == round_(answer)


def drops_invisible(gold: str, answer: str, question: str) -> bool:
    return sound(gold, re.sub(r"[\u200b-\u206f].*|\\phantom\{.*?\}|%.*", "", answer), question)


def drops_units(gold: str, answer: str, question: str) -> bool:
    return sound(
        gold, re.sub(r"(?<=[0-9])\s*(?:cm|kg|\^\\circ|%|\\%|degrees)$", "", answer), question
    )


def ignores_not(gold: str, answer: str, question: str) -> bool:
    return sound(gold, re.sub(r"\b(?:not|maybe|about)\b\s*|\?", "", answer), question)


def always(gold: str, answer: str, question: str) -> bool:
    return True


def never(gold: str, answer: str, question: str) -> bool:
    return False


FORGIVING = {
    # a planted fault, and a mutator that has to find it
    ignores_text: r"@\text{ or 97}", last_number: "97 or @", first_number: "@ or 97", last_box: r"\boxed{97} or \boxed{@}",
    inside_dollars: "$@$+97", holds_gold: "not @", drops_marks: "@_{97}", sorts_members: "coordinates exchanged",
    members_once: "member repeated", drops_commas: "digits split by a comma", nearly: "last digit changed", absolute: "sign added",
    any_case: "variables in another case", any_bracket: "right bracket changed", drops_invisible: r"@\phantom{97}", drops_units: "@ cm",
    ignores_not: "@?", always: "@, 97",
}  # fmt: skip

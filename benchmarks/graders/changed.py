"""Mutators that change the text of a gold answer, so that it says something else: another digit, sign, bracket, name,
function, base, order."""

import re
from collections.abc import Callable

from benchmarks.graders.golds import Gold
from benchmarks.graders.mutators import (
    Make,
    Mutator,
    is_mathematics,
    is_single,
    is_whole,
    is_word,
    replaced,
    rewritten,
)


def _other_digit(match: re.Match[str]) -> str:
    # 9 becomes 0, so the number of digits stays.
    return match[0][:-1] + str((int(match[0][-1]) + 1) % 10)


def _digits(change: Callable[[str], str]) -> Make:
    """Change the digits of a whole number; none where it stays the same."""

    def make(gold: Gold) -> str | None:
        # Other answers have mutators of their own below.
        if not is_whole(gold):
            return None
        sign = "-" if gold.text.strip().startswith("-") else ""
        digits = gold.text.strip().lstrip("-")
        # A change that gives the same digits, or none, is no near miss.
        changed = change(digits)
        return sign + changed if changed and changed.strip(" ,.") not in ("", digits) else None

    return make


def _swapped(digits: str) -> str:
    # Equal digits would give the gold answer again.
    return digits[1::-1] + digits[2:] if len(digits) > 1 and digits[0] != digits[1] else ""


def _split(joint: str) -> Callable[[str], str]:
    return lambda digits: digits[:-1] + joint + digits[-1] if len(digits) > 1 else ""


def _boxes(digits: str) -> str:
    return rf"\boxed{{{digits[:-1]}}} and \boxed{{{digits[-1]}}}" if len(digits) > 1 else ""


def _another_name(gold: Gold) -> str | None:
    """Rename every letter that stands alone in an expression of one name."""
    if is_word(gold) or re.search(r"\\(?!frac|dfrac|tfrac|sqrt|cdot|left|right)|[a-zA-Z]{2}", re.sub(r"\\[a-z]+", "", gold.text)):  # fmt: skip
        return None
    # e and i are constants, not names.
    names = set(re.findall(r"(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])", gold.text)) - {"i", "e"}
    # An equation or a set may keep its meaning under another name.
    if len(names) != 1 or "=" in gold.text or re.search(r"[<>]|\\[lg]e|\\in", gold.text):
        return None
    name = names.pop()
    # q is used by few answers; r takes its place where it is.
    return re.sub(rf"(?<![\\a-zA-Z]){name}(?![a-zA-Z])", "q" if name != "q" else "r", gold.text)


def _turned(opening: str, closing: str) -> Make:
    """Exchange the first two coordinates of a tuple of numbers."""

    def make(gold: Gold) -> str | None:
        match = re.fullmatch(
            rf"(\{opening})([^,()\[\]{{}}]+),([^,()\[\]{{}}]+)(.*)(\{closing})", gold.text.strip()
        )
        # Equal coordinates stay the same, and a pair with an infinity may be an interval.
        if match is None or match[2].strip() == match[3].strip() or "infty" in gold.text:
            return None
        return f"{match[1]}{match[3].strip()}, {match[2].strip()}{match[4]}{match[5]}"

    return make


def _member(change: Callable[[list[str]], list[str]]) -> Make:
    """Change the members of a plain list of numbers."""

    def make(gold: Gold) -> str | None:
        # 1,234 is one number with a thousands separator, not a list.
        if not re.fullmatch(r"-?[0-9]+(?:,\s*-?[0-9]+)+", gold.text) or re.fullmatch(
            r"-?[0-9]{1,3}(?:,[0-9]{3})+", gold.text
        ):
            return None
        members = [part.strip() for part in gold.text.split(",")]
        changed = change(members)
        # Lists are compared without their order.
        return ", ".join(changed) if sorted(changed) != sorted(members) else None

    return make


def _brackets(old: str, new: str, at_end: bool) -> Make:
    """Change a bracket of an interval."""

    def make(gold: Gold) -> str | None:
        text = gold.text.strip()
        is_interval = gold.kind == "interval" or "infty" in text or "cup" in text or re.fullmatch(r"\[.*\)|\(.*\]", text)  # fmt: skip
        # A bracket at an infinity changes nothing.
        if not is_interval or "infty" in (text[-9:] if at_end else text[:9]):
            return None
        if at_end:
            return (
                text[:-1] + new
                if text.endswith(old) and text[-8:-1] != r"\right" and text[-7:-1] != r"\right"
                else None
            )
        return new + text[1:] if text.startswith(old) else None

    return make


def _transposed(gold: Gold) -> str | None:
    match = re.fullmatch(r"\\begin\{(.matrix)\}(.*)\\end\{\1\}", gold.text.strip(), re.DOTALL)
    if match is None:
        return None
    # Rows end in two backslashes, cells in an ampersand.
    rows = [[cell.strip() for cell in row.split("&")] for row in match[2].split(r"\\")]
    columns = (
        [list(column) for column in zip(*rows, strict=True)]
        if len({len(row) for row in rows}) == 1
        else rows
    )
    # A symmetric matrix is its transpose; a vector may be written as row or column.
    if columns == rows or len(rows[0]) == 1:
        return None
    body = r" \\ ".join(" & ".join(row) for row in columns)
    return rf"\begin{{{match[1]}}} {body} \end{{{match[1]}}}"


def _numbered(gold: Gold) -> bool:
    return bool(re.search(r"[0-9]", gold.text)) and not is_word(gold)


def _has_names(gold: Gold) -> bool:
    return is_mathematics(gold) and bool(
        re.search(r"(?<![\\a-zA-Z])[xyznk](?![a-zA-Z])", gold.text)
    )


def _upper_name(gold: Gold) -> str | None:
    if not _has_names(gold) or gold.kind in ("interval", "inequality"):
        return None
    return re.sub(r"(?<![\\a-zA-Z])([xyznk])(?![a-zA-Z])", lambda match: match[1].upper(), gold.text) if "=" not in gold.text else None  # fmt: skip


def _first_term_negated(gold: Gold) -> str | None:
    text = gold.text.strip()
    if (
        # Zero has no sign, and a factorial binds before the sign in some readings.
        not is_single(gold)
        or text in ("0", ".0")
        or not re.match(r"[0-9.\\a-zA-Z]", text)
        or "!" in text
    ):
        return None
    return "-" + text


CHANGED: tuple[Mutator, ...] = tuple(
    Mutator(name, False, make)
    for name, make in (
        ("first digits changed", rewritten(r"[1-9][0-9]*", _other_digit, _numbered)),
        ("last digit changed", rewritten(r"([0-9])(?=[^0-9]*$)", _other_digit, lambda gold: is_whole(gold))),
        ("digits exchanged", _digits(_swapped)),
        ("digit dropped", _digits(lambda digits: digits[:-1])),
        ("first digit dropped", _digits(lambda digits: digits[1:].lstrip("0"))),
        ("digit doubled", _digits(lambda digits: digits + digits[-1])),
        ("digits split by a comma", _digits(_split(", "))),
        ("digits split by a point", _digits(_split("."))),
        ("digits split by a blank", _digits(_split(" "))),
        ("digits split by and", _digits(_split(" and "))),
        ("digits split by a dot", _digits(_split(r" \cdot "))),
        ("digits split by plus", _digits(_split("+"))),
        ("digits split into boxes", _digits(_boxes)),
        ("digits split by dollars", _digits(lambda digits: f"${digits[:-1]}$${digits[-1]}$" if len(digits) > 1 else "")),
        ("digits split by a line", _digits(_split("\n"))),
        ("digits split by an underscore", _digits(_split("_"))),
        ("digits split by a power", _digits(_split("^"))),
        ("digits split by a solidus", _digits(_split("/"))),
        ("digits split by a colon", _digits(_split(":"))),
        ("thousands in the wrong place", _digits(lambda digits: f"{digits[:2]},{digits[2:]}" if len(digits) in (4, 6, 7) else "")),
        ("thousands one digit short", _digits(lambda digits: f"{digits[:-3]},{digits[-3:-1]}" if len(digits) > 3 else "")),
        ("thousands one digit more", _digits(lambda digits: f"{digits[:-3]},{digits[-3:]}0" if len(digits) > 3 else "")),
        ("sign added", _first_term_negated),
        ("sign dropped", rewritten(r"^-", "", is_single)),
        ("plus becomes minus", rewritten(r"(?<=[^({\[,=<>])\s*\+\s*", " - ", lambda gold: "infty" not in gold.text and is_mathematics(gold))),
        ("minus becomes plus", rewritten(r"(?<=[0-9a-z}\)])\s*-\s*", " + ", lambda gold: "infty" not in gold.text and is_mathematics(gold))),
        ("fraction turned", rewritten(r"\\([dt]?)frac\{([0-9]+)\}\{([0-9]+)\}", lambda m: rf"\{m[1]}frac{{{m[3]}}}{{{m[2]}}}", lambda gold: gold.text.count("frac") == 1)),
        ("fraction becomes a product", rewritten(r"\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\}", lambda m: rf"{m[1]} \cdot {m[2]}" if m[2] != "1" else m[0], is_single)),
        ("fraction becomes a binomial", rewritten(r"\\([dt]?)frac(?=\{[0-9]+\}\{[0-9]{2,}\})", lambda m: rf"\{m[1]}binom", is_single)),
        ("root dropped in place", rewritten(r"\\sqrt(?=\{?[2-9])", "", is_mathematics)),
        ("cube root for a root", rewritten(r"\\sqrt(?=\{?[2-9])", r"\\sqrt[3]", is_mathematics)),
        ("sine for cosine", replaced(r"\cos", r"\sin")),
        ("cosine for sine", replaced(r"\sin", r"\cos")),
        ("cotangent for tangent", replaced(r"\tan", r"\cot")),
        ("logarithm to another base", rewritten(r"\\log_\{?[0-9]+\}?", r"\\log_{47}")),
        ("common for natural logarithm", replaced(r"\ln", r"\log_{10}")),
        ("pi becomes 3", replaced(r"\pi", "3")),
        ("pi becomes 3.14", replaced(r"\pi", "(3.14)")),
        ("pi becomes a name", replaced(r"\pi", "p")),
        ("pi becomes phi", replaced(r"\pi", r"\phi")),
        ("imaginary unit becomes a name", rewritten(r"(?<=[0-9] )i|(?<=[0-9])i", "x", is_mathematics)),
        ("imaginary unit becomes 1", rewritten(r"(?<=[0-9])i(?![a-z])", "", is_mathematics)),
        ("variable renamed in place", _another_name),
        ("variables in another case", _upper_name),
        ("variable with an index in place", rewritten(r"(?<![\\a-zA-Z])([xyznk])(?![a-zA-Z])", r"\1_{2}", lambda gold: _has_names(gold) and gold.kind != "interval" and r"\in" not in gold.text and "=" not in gold.text)),
        ("exponent plus one in place", rewritten(r"\^([2-8])(?![0-9])", lambda m: f"^{int(m[1]) + 1}", is_mathematics)),
        ("exponent dropped", rewritten(r"\^([2-9])(?![0-9])", "", is_mathematics)),
        ("exponent becomes an index", rewritten(r"\^(?=[2-9])", "_", is_mathematics)),
        ("exponent becomes a factor", rewritten(r"\^([3-9])(?![0-9])", r" \\cdot \1", is_mathematics)),
        ("base of a number changed", rewritten(r"(?<=[0-9])_\{?[2-9]\}?$", "_{12}")),
        ("left bracket closed", _brackets("(", "[", at_end=False)),
        ("left bracket opened", _brackets("[", "(", at_end=False)),
        ("right bracket closed", _brackets(")", "]", at_end=True)),
        ("right bracket opened", _brackets("]", ")", at_end=True)),
        ("infinity signed otherwise in place", rewritten(r"(?<!-)\\infty", r"-\\infty")),
        ("minus infinity made finite", replaced(r"-\infty", "-1000")),
        ("infinity made finite", rewritten(r"(?<!-)\\infty", "1000")),
        ("union becomes intersection", replaced(r"\cup", r"\cap")),
        ("union becomes a comma", replaced(r"\cup", r" \setminus ")),
        ("smaller becomes larger", rewritten(r"<", ">", lambda gold: gold.text.count("<") == 1)),
        ("larger becomes smaller", rewritten(r">", "<", lambda gold: gold.text.count(">") == 1)),
        ("at most becomes at least", rewritten(r"\\leq?(?![a-z])", r"\\ge", lambda gold: gold.text.count(r"\le") == 1)),
        ("at least becomes at most", rewritten(r"\\geq?(?![a-z])", r"\\le", lambda gold: gold.text.count(r"\ge") == 1)),
        ("at most becomes less", rewritten(r"\\leq?(?![a-z])", "<")),
        ("at least becomes more", rewritten(r"\\geq?(?![a-z])", ">")),
        ("equal becomes unequal", rewritten(r"(?<![\\<>!])=", r"\\ne ")),
        ("equal becomes smaller", rewritten(r"(?<![\\<>!])=", "<")),
        ("equal becomes approximate", rewritten(r"(?<![\\<>!])=", r"\\approx ")),
        ("plus and minus becomes plus", rewritten(r"\\pm", "+")),
        ("coordinates exchanged in place", _turned("(", ")")),
        ("tuple becomes a set", rewritten(r"^\(([^()]+,[^()]+)\)$", r"\\{\1\\}", lambda gold: "infty" not in gold.text)),
        ("tuple becomes closed", rewritten(r"^\(([^()]+,[^()]+)\)$", r"[\1)", lambda gold: "infty" not in gold.text)),
        ("first member dropped", _member(lambda members: members[1:])),
        ("last member dropped", _member(lambda members: members[:-1])),
        ("last member repeated", _member(lambda members: [*members, members[-1]])),
        ("member replaced by its neighbour", _member(lambda members: [members[0], members[0], *members[2:]])),
        ("members negated", _member(lambda members: [f"-({member})" if member != "0" else "1" for member in members])),
        ("membership denied", replaced(r"\in", r"\notin")),
        ("matrix transposed in place", _transposed),
        ("matrix becomes a determinant", rewritten(r"^\\begin\{pmatrix\}(.*)\\end\{pmatrix\}$", r"\\begin{vmatrix}\1\\end{vmatrix}")),
        ("unit exchanged", rewritten(r"(?<=\{) ?(?:ft|cm|meters|minutes|inches|pounds|kg|m)(?=\})", " tonnes")),
        ("degrees become percent", rewritten(r"\^\{?\\circ\}?$", r"\\%")),
        ("percent becomes degrees", rewritten(r"\\%$", r"^\\circ")),
        ("dollars become euros", rewritten(r"^\\\$ ?", "€")),
        ("ratio turned in place", rewritten(r"^([0-9]+):([0-9]+)$", lambda m: f"{m[2]}:{m[1]}")),
        ("factorial dropped in place", rewritten("!", "", lambda gold: "!" in gold.text)),
        ("letter exchanged", rewritten(r"(?<=\{)[A-F](?=\})|^[A-F]$", lambda m: "G", is_word)),
        ("word denied", rewritten(r"(?<=\\text\{)", "not ", is_word)),
        ("parentheses dropped in place", rewritten(r"\(([a-z][+-][0-9]+)\)(?=\^|\()", r"\1", is_mathematics)),
        ("mixed number becomes a product", rewritten(r"^([0-9]+)\s*(?=\\frac)", r"\1 \\cdot ", is_mathematics)),
    )
)  # fmt: skip

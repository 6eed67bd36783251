r"""Parser, third layer: quantities and words.

In: tokens (`lexer`). Out: a `Quantity`, a plain value, or `Words`. What an answer may have or leave out after its value is
read here, each by a rule with a name (percent, scale, unit, noun). Whether it may stand there, `compare` decides. Words
that change a number ("5 or so", "half of 5") make an answer unreadable.

    operand = ["-"] [currency] expression ["%"] {scale} {unit or noun} [currency]
    words   = word {word}, up to the end of an item, if there is nothing but words
"""

import re
from fractions import Fraction

from dianoia.tasks.math.alphabet import Token
from dianoia.tasks.math.grammar import ExpressionParser
from dianoia.tasks.math.nodes import (
    Based,
    Boxed,
    Bracketed,
    Call,
    Negative,
    Node,
    Number,
    Product,
    Quantity,
    SetOf,
    SetOperation,
    Words,
    names_of,
)
from dianoia.tasks.math.units import unit
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

MAX_WORDS = 8
RELATIONS = ("=", "<", ">", "le", "ge", "ne", "approx", "in", "equiv", "subset", "to")
SCALES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "millions": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "百": 100, "千": 10**3, "万": 10**4, "百万": 10**6, "千万": 10**7, "亿": 10**8,
}  # fmt: skip
_PERCENT_WORDS = frozenset(("percent", "pct", "percents"))
CHANGING_WORDS = frozenset(
    ["or", "and", "not", "half", "quarter", "third", "double", "twice", "triple", "times", "squared", "cubed", "plus", "minus", "over", "by", "of", "root", "negative", "less", "more", "than", "is", "are", "be", "no", "wrong", "right", "factorial", "mod", "percent", "point", "about", "approximately", "roughly", "nearly", "almost", "around", "maybe", "perhaps", "possibly", "never", "none", "either", "neither", "but", "except", "plus/minus", "million", "thousand", "hundred", "billion", "trillion", "dozen", "etc", "to", "from", "倍", "半", "或", "和", "又", "不", "除", "乘", "加", "减", "点", "分之", "约", "大约", "百", "千", "万", "亿"]
)  # fmt: skip
"""Words that change the number before them, so that none of them is a noun."""
_SHORT_WORDS = frozenset(
    [
        "yes",
        "no",
        "true",
        "false",
        "odd",
        "even",
        "none",
        "all",
        "never",
        "always",
        "both",
        "neither",
        "sat",
        "sun",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "am",
        "pm",
        "dne",
    ]
)
"""Short words that are an answer on their own. Other words of two or three letters may be products."""
_FIRST_WORDS = frozenset(["no", "all", "any", "two", "one", "the", "not"])
"""Short words that may begin an answer in words: "no solution"."""
_MONTHS = frozenset(
    [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
    ]
)
_REFERENCES = frozenset(["see", "refer", "cf", "explanation", "solution", "above", "below"])
"""First words of a text that refers to an answer and is none: "see above"."""


class QuantityParser(ExpressionParser):
    """Adds values with units and answers in words to `ExpressionParser`."""

    def _operand(self) -> Node:
        """Parse a value with everything before and after it: `-$5`, `12 cm^2`, `50%`, `3 million`."""
        currency = self._currency()
        negative = False
        if (
            currency is None
            and self.at("-")
            and self.at(*(f"currency {sign}" for sign in "$€£¥₹¢"), ahead=1)
        ):
            self.take()
            negative, currency = True, self._currency()
        node = self.expression()
        if self.at("_", "'", "''"):
            raise Unreadable(Reason.SCRIPT)
        if isinstance(node, Negative) and isinstance(node.value, Based):
            node = Based(node.value.digits, node.value.base, negative=True)
        return self._with_tail(Negative(node) if negative else node, currency)

    def _currency(self) -> str | None:
        """Consume a currency sign and return it; None if none is next."""
        token = self.peek()
        if token is not None and token.kind == "sign" and token.text.startswith("currency "):
            return self.take().text.removeprefix("currency ")
        return None

    def _joining_word(self) -> str | None:
        """Return "and" or "or" if the next token joins two answers, without consuming it; else None."""
        token = self.peek()
        if token is None:
            return None
        text = token.text.lower()
        if token.kind == "letters" and text in ("and", "or"):
            return text
        if token.kind == "words" and text in ("和", "或", "及", "与", "或者"):
            return "or" if text.startswith("或") else "and"
        return {"and": "and", "or": "or"}.get(token.text) if token.kind == "sign" else None

    # Words -----------------------------------------------------------------------------------------

    def _words(self) -> Words | None:
        """Parse an item of nothing but words; None, with nothing consumed, if it is anything else.

        Raises:
            Unreadable: a number follows two or more words, the words refer to an answer, or they are too many.
        """
        end = self.position
        while (token := self._at(end)) is not None and not self._ends_item(token):
            # Numbers belong to words only in dates and in \text: "5 apples" is a quantity, \text{June 20} is words.
            is_date = (  # June 20
                end > self.position
                and self.tokens[self.position].text.lower() in _MONTHS
                and token.kind == "number"
            )
            if not (
                token.kind in ("letters", "words")
                or is_date
                or (token.upright and token.kind in ("number", "function", "constant", "sign"))
            ):
                # "it is 5": a sentence, and no answer.
                if token.kind == "number" and end - self.position > 1:
                    raise Unreadable(Reason.TEXT_BEFORE)
                return None
            end += 1
        words = self.tokens[self.position : end]
        if not words or not self._are_words(words):
            return None
        if len(words) > MAX_WORDS or words[0].text.lower() in _REFERENCES:
            raise Unreadable(Reason.TEXT)
        self.position = end
        # Tokens are joined as they were written: \text{(B)} has no spaces.
        text = ""
        for token in words:
            text += token.text if not token.spaced or not text else f" {token.text}"
        return Words(normal_words(text))

    def _at(self, position: int) -> Token | None:
        return self.tokens[position] if position < len(self.tokens) else None

    def _ends_item(self, token: Token) -> bool:
        """Return True if a token separates items of an answer, or parts of a relation."""
        # \text{B, E, G} is a list of three.
        if token.upright and token.text in (",", ";"):
            return True
        if token.kind in ("sign", "end") and not token.upright:
            return (
                token.text in (",", ";", *RELATIONS, "and", "or", "&", "row", r"\}")
                or token.kind == "end"
            )
        return token.kind in ("letters", "words") and token.text.lower() in (
            "and",
            "or",
            "或",
            "和",
            "或者",
        )

    def _are_words(self, words: list[Token]) -> bool:
        """Return True if tokens are words and no product: "even", "June 20", "(B)" in `\\text`, but not "ab" or "x y"."""
        first = words[0]
        if not any(token.kind in ("letters", "words") for token in words):
            return False
        # A value comes first, or an operator: no words. "(B)" may begin with its bracket.
        if first.kind == "number" or (first.kind in ("sign",) and first.text not in ("(",)):
            return False
        letters = [token for token in words if token.kind in ("letters", "words")]
        # \mathrm{i} and \mathrm{e} are constants.
        if len(words) == 1 and first.upright and first.text in ("i", "e"):
            return False
        # \text{VW} and 五 are words, whatever their length.
        if any(token.upright or token.kind == "words" for token in letters):
            return True
        if first.text.lower() in _MONTHS:
            return True
        lower = first.text.lower()
        # Plain letters: one word of four letters is enough ("even"), or a short word that is an answer ("yes").
        may_begin = len(lower) > 3 or lower in _FIRST_WORDS
        return all(token.kind == "letters" for token in words) and (
            (may_begin and any(len(token.text) > 3 for token in letters))
            or (len(letters) == 1 and lower in _SHORT_WORDS)
        )

    # After a value --------------------------------------------------------------------

    def _with_tail(self, value: Node, currency: str | None) -> Node:
        """Parse the percent sign, scale, unit or noun after a value; `currency` is a sign before it.

        Raises:
            Unreadable: the words are no unit and cannot be a noun: they change the value, or it is no count.
        """
        # In this order: 50%, 3 million, 12 cm^2, 5 $.
        percent = self._percent()
        value, scaled = self._scaled(value)
        if percent and scaled:
            raise Unreadable(Reason.TEXT_BEHIND)
        symbols = self._unit_words()
        suffix = self._currency() if currency is None else None
        if suffix is not None:
            if symbols:
                raise Unreadable(Reason.TEXT_BEHIND)
            currency = suffix
        if not percent and currency is None and not symbols:
            return self._degrees(value)
        if isinstance(value, Boxed):
            value = value.content
        measured = unit(symbols) if symbols else None
        if currency is not None:
            money = unit(currency)
            # "$5 dollars" is said twice and allowed; "$5 cm" is not.
            if symbols and measured != money:
                raise Unreadable(Reason.TEXT_BEHIND)
            measured, symbols = money, symbols or currency
        if measured is not None or not symbols:
            return Quantity(value, percent, measured, None, symbols)
        # The words are no unit, so they must be a noun: "7 apples", "7 人".
        noun = normal_words(symbols)
        pieces = re.findall(r"[a-z'-]+|[^\x00-\x7f]", noun)
        # Only a number can count something: "x apples" and "(1,2) apples" mean nothing.
        is_count = not isinstance(value, Bracketed | SetOf | SetOperation | Based) and not names_of(
            value
        )
        if (
            not pieces
            or not is_count
            or CHANGING_WORDS & set(pieces)
            or CHANGING_WORDS & {noun}
            or re.search(r"[\d^/]", noun)
        ):
            raise Unreadable(Reason.TEXT_BEHIND)
        return Quantity(value, percent, None, noun, symbols)

    def _degrees(self, value: Node) -> Node:
        """Return `30^\\circ`, a call of the function "degree", as a quantity whose unit is the degree; others as they are."""
        if isinstance(value, Call) and value.function == "degree":
            return Quantity(value.arguments[0], unit=unit("°"), symbols="°")
        if (
            isinstance(value, Negative)
            and isinstance(value.value, Call)
            and value.value.function == "degree"
        ):
            return Quantity(Negative(value.value.arguments[0]), unit=unit("°"), symbols="°")
        return value

    def _percent(self) -> bool:
        """Consume a percent sign or the word; return True if there was one."""
        token = self.peek()
        if token is None:
            return False
        if self.at("%") or (token.kind == "letters" and token.text.lower() in _PERCENT_WORDS):
            self.take()
            # 5%% is a typing error or a remainder.
            if self.at("%"):
                raise Unreadable(Reason.TEXT_BEHIND)
            return True
        return False

    def _scaled(self, value: Node) -> tuple[Node, bool]:
        """Consume the scales after a value (million, dozen, 万); return the value times them, and whether there were any."""
        factor = Fraction(1)
        while (token := self.peek()) is not None and (scale := self._scale(token)) is not None:
            factor *= scale
            if factor > 10**15:
                raise TooLarge("scale")
        if factor == 1:
            return value, False
        # 0 million would be zero whatever follows, so it is no way to write a number.
        if value == Number(Fraction(0)):
            raise Unreadable(Reason.TEXT_BEHIND)
        if isinstance(value, Boxed):
            value = value.content
        if isinstance(value, Number):
            return Number(value.value * factor, value.notation, value.places), True
        return Product((Number(factor), value)), True

    def _scale(self, token: Token) -> int | None:
        """Consume the scale that a token is, or begins with, and return it; None if it has none.

        Chinese is written without spaces: of `万人` the scale 万 is taken, and 人 stays as a token of its own.
        """
        if token.kind == "letters" and token.text.lower() in SCALES:
            self.take()
            return SCALES[token.text.lower()]
        if token.kind != "words":
            return None
        # The longer scale first: 百万 is a million, 百 a hundred.
        for length in (2, 1):
            if (scale := SCALES.get(token.text[:length])) is not None:
                remainder = token.text[length:]
                if remainder:
                    self.tokens[self.position] = Token("words", remainder)
                else:
                    self.take()
                return scale
        return None

    def _unit_words(self) -> str:
        """Consume the words after a value, with exponents and strokes of units, and return them: "cm^2", "km/h", "apples"."""
        text = ""
        count = 0
        while (token := self.peek()) is not None and count < MAX_WORDS:
            if self._joining_word() is not None:
                break
            if token.kind in ("letters", "words") and (
                token.upright or token.kind == "words" or self.is_word(token) or text
            ):
                text += ("" if not text or text.endswith("/") else " ") + self.take().text
                count += 1
            # A degree sign ends a unit and never follows one: 5 m° is unreadable.
            elif text and self.at("degree"):
                break
            elif self.at("degree") or self._circle_exponent():
                self._take_degree()
                text += "°"
            elif text and self.at("^") and (power := self._unit_power()):
                text += f"^{power}"
            elif (
                text
                and self.at("/", "*")
                and (following := self.peek(1)) is not None
                and following.kind in ("letters", "words")
            ):
                text += "/" if self.take().text == "/" else " "
            else:
                break
        return text.strip()

    def _unit_power(self) -> str:
        """Consume the exponent of a unit, 1 to 3 with an optional minus, and return it; "", with nothing consumed, if there is none."""
        mark = self.position
        self.take()
        braces = self.at("{") and bool(self.take())
        sign = "-" if self.at("-") and self.take() else ""
        token = self.peek()
        if token is None or token.kind != "number" or token.text not in ("1", "2", "3"):
            self.position = mark
            return ""
        self.take()
        if braces and not (self.at("}") and self.take()):
            self.position = mark
            return ""
        return sign + token.text


_SYNONYMS = {
    "no solutions": "no solution", "no real solutions": "no real solution", "all reals": "all real numbers", "all real number": "all real numbers",
    "all real values": "all real numbers", "does not exist": "does not exist", "dne": "does not exist", "undefined": "undefined",
    "infinitely many solutions": "infinitely many", "infinite solutions": "infinitely many", "empty set": "no solution", "the empty set": "no solution",
}  # fmt: skip


def normal_words(text: str) -> str:
    """Return words in lower case without extra spaces and full stops, in one spelling for each meaning.

    "A.M." becomes "am", the choice "(B)" becomes "b", "empty set" becomes "no solution".
    """
    text = " ".join(text.casefold().replace("’", "'").split()).strip(" .,;:")
    # a.m., a. m. and am
    text = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", text)
    if (choice := re.fullmatch(r"\(?([a-z])\)?", text)) is not None:
        return choice[1]
    return _SYNONYMS.get(text, text)

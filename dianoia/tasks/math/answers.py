r"""Whole answers: lists, named values, relations, sets, quantities and words, made of the expressions of `grammar`.

In: a bare answer. Out: its readings as trees, the ordinary one first. A token that no rule reads makes the answer
unreadable. What may be left out of an answer is left out here, each by a rule with a name:

- `full stop`: a full stop, comma, semicolon or colon at the very end.
- `name`: names before an equals sign, kept in the tree, so that another name for a named value can be told.
- `unit`, `scale`, `percent`: words behind a value, kept in a `Quantity`; whether they may stand there, `compare` decides.

Decisions:
1. "and", "or", commas and semicolons separate answers that stand side by side. A list has an order only where an
   ellipsis leaves members out.
2. Words are an answer only if nothing but words stands there. A word behind a value is a unit or a noun; words that
   change a number ("5 or so", "half of 5") make the answer unreadable.
3. `5 m` is five metres as well as 5m, and `200,100` a list as well as a number: such answers have two readings.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

from dianoia.tasks.math.grammar import Parser
from dianoia.tasks.math.lexer import Token, tokens
from dianoia.tasks.math.nodes import (
    Apply,
    Based,
    Boxed,
    Bracketed,
    Listing,
    Negative,
    Node,
    Number,
    Product,
    Quantity,
    Ratio,
    Relation,
    SetOf,
    SetOperation,
    Words,
)
from dianoia.tasks.math.tree import names_of
from dianoia.tasks.math.units import unit
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

MAX_CHARS = 2000
MAX_ITEMS = 64
MAX_WORDS = 8
_RELATIONS = ("=", "<", ">", "le", "ge", "ne", "approx", "in", "equiv", "subset", "to")
_SET_SIGNS = ("cup", "cap", "minus")
SCALES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "millions": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "百": 100, "千": 10**3, "万": 10**4, "百万": 10**6, "千万": 10**7, "亿": 10**8,
}  # fmt: skip
_PERCENT_WORDS = frozenset(("percent", "pct", "percents"))
CHANGING_WORDS = frozenset(
    ["or", "and", "not", "half", "quarter", "third", "double", "twice", "triple", "times", "squared", "cubed", "plus", "minus", "over", "by", "of", "root", "negative", "less", "more", "than", "is", "are", "be", "no", "wrong", "right", "factorial", "mod", "percent", "point", "about", "approximately", "roughly", "nearly", "almost", "around", "maybe", "perhaps", "possibly", "never", "none", "either", "neither", "but", "except", "plus/minus", "million", "thousand", "hundred", "billion", "trillion", "dozen", "etc", "to", "from", "倍", "半", "或", "和", "又", "不", "除", "乘", "加", "减", "点", "分之", "约", "大约", "百", "千", "万", "亿"]
)  # fmt: skip
"""Words that change the number before them; none of them is a noun."""
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
_FIRST_WORDS = frozenset(["no", "all", "any", "two", "one", "the", "not"])
_POINTERS = frozenset(["see", "refer", "cf", "explanation", "solution", "above", "below"])
"""First words of a text that points to an answer and is none: "see above"."""
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
_SENTENCE_END = re.compile(r"(?<!\.)[.,;:。，；：]\Z")


class Reading(NamedTuple):
    """One way to read an answer, and the rule that allows it."""

    rule: Literal["ordinary", "unit letters", "commas separate", "spelled"]
    node: Node


@lru_cache(maxsize=1024)
def readings(text: str) -> tuple[Reading, ...]:
    """Every reading of a bare answer, the ordinary one first.

    Raises:
        Unreadable: no rule reads it.
        TooLarge: it is longer, deeper or larger than the bounds.
    """
    if len(text) > MAX_CHARS:
        raise TooLarge("characters")
    if not text.isprintable():
        raise Unreadable(Reason.CHARACTER)
    bare = _without_end(text)
    reads: list[Reading] = []
    refusal: Unreadable | None = None
    for rule in _rules(bare):
        if (
            rule == "commas separate"
            and reads
            and not isinstance(reads[0].node, Number | Quantity | Negative)
        ):
            continue  # its commas separate already
        try:
            node = _read(bare, rule == "unit letters", rule == "commas separate")
        except Unreadable as error:
            refusal = refusal or error
        else:
            if all(node != reading.node for reading in reads):
                reads.append(Reading(rule, node))
    if not reads and refusal is not None:
        raise refusal
    if (spelled := _spelled(bare)) is not None:
        reads.append(Reading("spelled", spelled))
    return tuple(reads)


def _rules(text: str) -> tuple[Literal["ordinary", "unit letters", "commas separate"], ...]:
    """The rules that may read a text: letters are units only without LaTeX, commas matter only where there are some."""
    latex = "\\" in text.replace("\\$", "").replace("\\%", "")
    return (
        "ordinary",
        *(() if latex else ("unit letters",)),
        *(("commas separate",) if "," in text else ()),
    )  # type: ignore[return-value]


def _read(text: str, letters_are_units: bool, commas_separate: bool) -> Node:
    try:
        parser = AnswerParser(_unbraced(tokens(text, commas_separate)), letters_are_units)
        return parser.whole()
    except RecursionError:
        raise TooLarge("depth") from None


def _unbraced(read: list[Token]) -> list[Token]:
    """Without braces around the whole, which group and say nothing."""
    if any(token.text in ("over", "choose") for token in read):
        return read
    while (
        len(read) > 2
        and read[0].text == "{"
        and read[-1].text == "}"
        and read[0].kind == read[-1].kind == "sign"
    ):
        depth = 0
        for token in read[:-1]:
            depth += (token.text == "{") - (token.text == "}")
            if not depth:
                return read
        read = read[1:-1]
    return read


def _without_end(text: str) -> str:
    """Without the mark that ends a sentence, inside or outside the dollar signs, and the wrappers of Markdown."""
    for _ in range(6):
        before = text
        text = text.strip()
        text = (
            _SENTENCE_END.sub("", text) if not text.endswith(("\\,", "\\;", "\\:")) else text[:-2]
        )
        inner = re.fullmatch(
            r"(\$\$?|\\\(|\\\[)(.*?)[.,;:。，；：]\s*(\$\$?|\\\)|\\\])", text, re.DOTALL
        )
        if inner and not inner[2].endswith(("\\", ".")) and inner[1] not in inner[2]:
            text = inner[2]
        for wrapper in ("**", "__", "`", '"', "*"):
            inside = text[len(wrapper) : -len(wrapper)]
            if (
                len(text) > 2 * len(wrapper)
                and text == wrapper + inside + wrapper
                and wrapper not in inside
            ):
                text = inside
        if text == before:
            break
    return text


def _spelled(text: str) -> Node | None:
    """Letters as a word: VW, AB."""
    bare = re.fullmatch(r"\$?(?:([A-Za-z]{1,12})|\(([A-Z])\))\$?", text)
    return Words((bare[1] or bare[2]).casefold()) if bare else None


class AnswerParser(Parser):
    """Reads the tokens of a whole answer."""

    def whole(self) -> Node:
        """The answer; raises Unreadable if a token is left."""
        if not self.tokens:
            raise Unreadable(Reason.NOTHING)
        node = self._listing()
        if self.peek() is not None:
            raise Unreadable(self._why_left())
        return node

    def _why_left(self) -> Reason:
        token = self.take()
        if token.kind in ("letters", "words"):
            return Reason.TEXT_BEHIND
        if token.text in (")", "]", "}", r"\}", "rangle", "|"):
            return Reason.BRACKETS
        if token.text in ("_", "'", "''"):
            return Reason.SCRIPT
        return Reason.NUMBERS if token.kind in ("number", "based") or token.shifted else Reason.TEXT

    # Lists -----------------------------------------------------------------------------------------

    def _listing(self) -> Node:
        items = [self._item()]
        joints = set()
        while (joint := self._separator()) is not None:
            joints.add(joint)
            items.append(self._item())
            if len(items) > MAX_ITEMS:
                raise TooLarge("items")
        if len(items) == 1:
            only = items[0]
            return only.content if isinstance(only, Boxed) else only
        boxed = all(isinstance(item, Boxed) for item in items)
        bare = tuple(item.content if isinstance(item, Boxed) else item for item in items)
        return Listing(bare, "or" if "or" in joints else "and" if "and" in joints else ",", boxed)

    def _separator(self) -> str | None:
        """What separates two answers, consumed; None where the list ends."""
        joint = None
        if self.at(",", ";"):
            self.take()
            joint = ","
        word = self._joining_word()
        if word is not None:
            self.take()
            if self.peek() is not None and self.at(",", ";"):
                raise Unreadable(Reason.SEPARATOR)
            return word
        if joint and self.peek() is None:
            raise Unreadable(Reason.SEPARATOR)
        return joint

    def _joining_word(self) -> str | None:
        token = self.peek()
        if token is None:
            return None
        text = token.text.lower()
        if token.kind == "letters" and text in ("and", "or"):
            return text
        if token.kind == "words" and text in ("和", "或", "及", "与", "或者"):
            return "or" if text.startswith("或") else "and"
        return {"and": "and", "or": "or"}.get(token.text) if token.kind == "sign" else None

    # Items -----------------------------------------------------------------------------------------

    def _item(self) -> Node:
        """A relation, or one side of none."""
        parts, signs = [self._side()], []
        modulus = None
        while self.at(*_RELATIONS):
            sign = self.take().text
            if sign in ("subset", "to"):
                raise Unreadable(Reason.TEXT)
            if self.at("-", "+") and sign == "=" and self.peek(1) is None:
                raise Unreadable(Reason.INCOMPLETE)
            signs.append(sign)
            parts.append(self._side())
            if sign == "equiv":
                modulus = self._modulus()
            if len(parts) > 8:
                raise TooLarge("relations")
        if not signs:
            return parts[0]
        parts = [part.content if isinstance(part, Boxed) else part for part in parts]
        return Relation(tuple(parts), tuple(signs), modulus)

    def _modulus(self) -> Node:
        if self.at("("):
            self.take()
            if self.at("mod", "bmod", "pmod"):
                self.take()
            elif not self._word_is("mod"):
                raise Unreadable(Reason.TEXT)
            node = self.expression()
            self.expect(")")
            return node
        if self.at("pmod", "bmod", "mod"):
            self.take()
            return self._argument()
        if self._word_is("mod"):
            return self.expression()
        raise Unreadable(Reason.TEXT)

    def _word_is(self, word: str) -> bool:
        token = self.peek()
        if token is not None and token.kind == "letters" and token.text == word:
            self.take()
            return True
        return False

    def _side(self) -> Node:
        """Words, a set of sets, a ratio, or a quantity."""
        if (words := self._words()) is not None:
            return words
        node = self._function_name() or self._operand()
        while self.at(*_SET_SIGNS) or self._union_letter(node):
            sign = self.take().text
            operation = "cup" if sign == "U" else sign
            node = SetOperation(operation, node, self._operand())  # type: ignore[arg-type]
        if self.at(":") and self.peek(1) is not None:
            parts = [node]
            while self.at(":"):
                self.take()
                parts.append(self._operand())
            return Ratio(tuple(parts))
        return node

    def _function_name(self) -> Apply | None:
        """`P(x)` before an equals sign: a name, and no product."""
        start = self.position
        token, bracket = self.peek(), self.peek(1)
        if (
            token is None
            or bracket is None
            or token.kind not in ("letters", "name")
            or bracket.text != "("
            or bracket.spaced
        ):
            return None
        if token.kind == "letters" and (len(token.text) > 1 or token.text in ("i", "e")):
            return None
        end = start + 2
        while (inner := self._at(end)) is not None and inner.text != ")":
            if not (
                inner.kind in ("letters", "number", "name", "constant") or inner.text in (",", "-")
            ):
                return None
            end += 1
        following = self._at(end + 1)
        if (
            following is None
            or following.kind != "sign"
            or following.text not in ("=", "approx")
            or end == start + 2
        ):
            return None
        self.position = start + 2
        arguments = tuple(self._items(")"))
        self.expect(")")
        return Apply(token.text, arguments)

    def _union_letter(self, left: Node) -> bool:
        """`(1,2) U (3,4)`."""
        token = self.peek()
        return (
            token is not None and token.kind == "letters" and token.text == "U" and isinstance(left, Bracketed | SetOf | SetOperation)
            and self.at("(", "[", r"\{", ahead=1)
        )  # fmt: skip

    def factor_follows(self) -> bool:
        """As in `Parser`; the U of a union is no factor."""
        token = self.peek()
        if (
            token is not None
            and token.kind == "letters"
            and token.text == "U"
            and self.at("(", "[", r"\{", ahead=1)
        ):
            before = self.tokens[self.position - 1].text if self.position else ""
            if before in (")", "]", r"\}"):
                return False
        return super().factor_follows()

    def _operand(self) -> Node:
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
        token = self.peek()
        if token is not None and token.kind == "sign" and token.text.startswith("currency "):
            return self.take().text.removeprefix("currency ")
        return None

    def member(self) -> Node:
        """In brackets stand expressions, and relations where a set is meant."""
        node = self.expression()
        if self.at(*_RELATIONS):
            parts, signs = [node], []
            while self.at(*_RELATIONS):
                signs.append(self.take().text)
                parts.append(self.expression())
            return Relation(tuple(parts), tuple(signs))
        return node

    def condition(self) -> Node:
        """What a member of a set fulfils, or a row of cases."""
        if (words := self._words()) is not None:
            return words
        token = self.peek()
        if (
            token is not None
            and token.kind == "letters"
            and token.upright
            and token.text in ("if", "for", "when", "where")
        ):
            self.take()
        items = [self._item()]
        while (
            self.at(",")
            and not self.at("row", "&", ahead=1)
            and not (self.peek(1) is None or self.tokens[self.position + 1].kind == "end")
        ):
            self.take()
            items.append(self._item())
        return items[0] if len(items) == 1 else Listing(tuple(items), "and")

    # Words -----------------------------------------------------------------------------------------

    def _words(self) -> Words | None:
        """Words up to the end of an item, if nothing but words stands there."""
        end = self.position
        while (token := self._at(end)) is not None and not self._ends_item(token, end):
            dated = (
                end > self.position
                and self.tokens[self.position].text.lower() in _MONTHS
                and token.kind == "number"
            )
            if not (
                token.kind in ("letters", "words")
                or dated
                or (token.upright and token.kind in ("number", "function", "constant", "sign"))
            ):
                if token.kind == "number" and end - self.position > 1:
                    raise Unreadable(Reason.TEXT_BEFORE)
                return None
            end += 1
        stretch = self.tokens[self.position : end]
        if not stretch or not self._are_words(stretch):
            return None
        if len(stretch) > MAX_WORDS or stretch[0].text.lower() in _POINTERS:
            raise Unreadable(Reason.TEXT)
        self.position = end
        text = ""
        for token in stretch:
            glued = not token.spaced or not text
            text += token.text if glued else f" {token.text}"
        return Words(_normal_words(text))

    def _at(self, position: int) -> Token | None:
        return self.tokens[position] if position < len(self.tokens) else None

    def _ends_item(self, token: Token, position: int) -> bool:
        if token.kind in ("sign", "end") and not token.upright:
            return (
                token.text in (",", ";", *_RELATIONS, "and", "or", "&", "row", r"\}")
                or token.kind == "end"
            )
        del position
        return token.kind in ("letters", "words") and token.text.lower() in (
            "and",
            "or",
            "或",
            "和",
            "或者",
        )

    def _are_words(self, stretch: list[Token]) -> bool:
        first = stretch[0]
        if not any(token.kind in ("letters", "words") for token in stretch):
            return False
        if first.kind == "number" or (first.kind in ("sign",) and first.text not in ("(",)):
            return False
        letters = [token for token in stretch if token.kind in ("letters", "words")]
        if len(stretch) == 1 and first.upright and first.text in ("i", "e"):
            return False
        if any(token.upright or token.kind == "words" for token in letters):
            return True
        if first.text.lower() in _MONTHS:
            return True
        lower = first.text.lower()
        begins = len(lower) > 3 or lower in _FIRST_WORDS
        return all(token.kind == "letters" for token in stretch) and (
            (begins and any(len(token.text) > 3 for token in letters))
            or (len(letters) == 1 and lower in _SHORT_WORDS)
        )

    # What stands behind a value --------------------------------------------------------------------

    def _with_tail(self, value: Node, currency: str | None) -> Node:
        """A value with its percent sign, scale, unit or noun."""
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
            if symbols and measured != money:
                raise Unreadable(Reason.TEXT_BEHIND)
            measured, symbols = money, symbols or currency
        if measured is not None or not symbols:
            return Quantity(value, percent, measured, None, symbols)
        noun = _normal_words(symbols)
        pieces = re.findall(r"[a-z'-]+|[^\x00-\x7f]", noun)
        countable = not isinstance(
            value, Bracketed | SetOf | SetOperation | Based
        ) and not names_of(value)
        if (
            not pieces
            or not countable
            or CHANGING_WORDS & set(pieces)
            or CHANGING_WORDS & {noun}
            or re.search(r"[\d^/]", noun)
        ):
            raise Unreadable(Reason.TEXT_BEHIND)
        return Quantity(value, percent, None, noun, symbols)

    def _degrees(self, value: Node) -> Node:
        """`30^\\circ` as a quantity whose unit is the degree."""
        from dianoia.tasks.math.nodes import Call  # noqa: PLC0415

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
        token = self.peek()
        if token is None:
            return False
        if self.at("%") or (token.kind == "letters" and token.text.lower() in _PERCENT_WORDS):
            self.take()
            if self.at("%"):
                raise Unreadable(Reason.TEXT_BEHIND)
            return True
        return False

    def _scaled(self, value: Node) -> tuple[Node, bool]:
        """A value times the scales behind it: million, dozen, 万."""
        factor = Fraction(1)
        while (token := self.peek()) is not None and (scale := self._scale(token)) is not None:
            factor *= scale
            if factor > 10**15:
                raise TooLarge("scale")
        if factor == 1:
            return value, False
        if value == Number(Fraction(0)):
            raise Unreadable(Reason.TEXT_BEHIND)
        if isinstance(value, Boxed):
            value = value.content
        if isinstance(value, Number):
            return Number(value.value * factor, value.notation, value.places), True
        return Product((Number(factor), value)), True

    def _scale(self, token: Token) -> int | None:
        """The scale that the next token is, or begins with, consumed."""
        if token.kind == "letters" and token.text.lower() in SCALES:
            self.take()
            return SCALES[token.text.lower()]
        if token.kind != "words":
            return None
        for length in (2, 1):
            if (scale := SCALES.get(token.text[:length])) is not None:
                rest = token.text[length:]
                if rest:
                    self.tokens[self.position] = Token("words", rest)
                else:
                    self.take()
                return scale
        return None

    def _unit_words(self) -> str:
        """Words, with the powers and strokes of units, up to the end of the item."""
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
        """The small whole exponent of a unit; nothing consumed where there is none."""
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


def _normal_words(text: str) -> str:
    text = " ".join(text.casefold().replace("’", "'").split()).strip(" .,;:")
    if (choice := re.fullmatch(r"\(?([a-z])\)?", text)) is not None:
        return choice[1]
    return _SYNONYMS.get(text, text)

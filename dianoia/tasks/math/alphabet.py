r"""The alphabet of answers: `Token`, and tables from characters and LaTeX commands to signs, names and layout.

Nothing is read here; `lexer` does that. A character or command that is in no table makes an answer unreadable. Several
spellings of one sign share a text: `\le`, `\leq` and `≤` are all the sign `le`, so that the grammar sees only one.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

TokenKind = Literal[
    "number",
    "letters",
    "name",
    "function",
    "constant",
    "words",
    "sign",
    "based",
    "begin",
    "end",
    "font",
]


@dataclass(frozen=True, slots=True)
class Token:
    """One sign, number, name or word.

    The kinds: "number" (`value` is set), "based" (digits in a `base`), "letters" (a run of Latin letters), "name" (a Greek
    letter), "function", "constant", "words" (a run of Chinese characters), "sign", "begin" and "end" (of an environment),
    "font" (a box).
    """

    kind: TokenKind
    text: str
    value: Fraction | None = None
    spaced: bool = False
    """White space precedes it."""
    shifted: bool = False
    """A dollar sign precedes it: mathematics begins or ends here, so that no rule joins it to the token before."""
    upright: bool = False
    r"""It is inside `\text{}`."""
    base: int = 0
    """Base of a "based" number; 0 for all other tokens."""


_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
SPELLINGS = {
    **_FULL_WIDTH,
    **{ord(space): " " for space in "\u3000\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\t\r\n"},
    **{ord(space): "\\," for space in "\u2009\u202f\u200a"},
    **dict.fromkeys(map(ord, "\u2212\u2013\u2014\u2010\u2011"), "-"),
    **dict.fromkeys(map(ord, "×⋅·∙∗"), "*"),
    **dict(zip(map(ord, "，；：、。‘’′"), ",;:,.'''", strict=True)),
}
"""Translation of a text before it is read: full-width forms, spaces, dashes, crosses and quotation marks to ASCII."""
SIGN_CHARACTERS = {
    "÷": "/", "∕": "/", "⁄": "/", "±": "pm", "∓": "mp", "≤": "le", "⩽": "le", "≥": "ge", "⩾": "ge", "≠": "ne", "≈": "approx",
    "≡": "equiv", "∪": "cup", "∩": "cap", "∈": "in", "∖": "minus", "∅": "emptyset", "°": "degree", "√": "sqrt", "∛": "cbrt",
    "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "⟨": "langle", "⟩": "rangle", "…": "ldots", "∣": "|", "∠": "angle",
    "△": "triangle", "％": "%",
}  # fmt: skip
"""Unicode characters that are signs."""
GREEK = dict(
    zip(
        "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΠΣΦΨΩϕ",
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "rho",
            "sigma",
            "tau",
            "upsilon",
            "phi",
            "chi",
            "psi",
            "omega",
            "Gamma",
            "Delta",
            "Theta",
            "Lambda",
            "Xi",
            "Pi",
            "Sigma",
            "Phi",
            "Psi",
            "Omega",
            "varphi",
        ],
        strict=True,
    )
)
NAME_COMMANDS = frozenset(GREEK.values()) | frozenset(
    ("varepsilon", "vartheta", "varrho", "varsigma", "ell", "hbar", "Upsilon")
)
# Superscripts and subscripts are read as ^{...} and _{...}.
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
VULGAR_FRACTIONS = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5), "⅘": (4, 5),
    "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
# Names of functions with and without a backslash, and the name that `functions` knows. tg, ctg and arctg are usual in
# Russian and Chinese texts.
FUNCTIONS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc", "cosec": "csc",
    "arcsin": "arcsin", "arccos": "arccos", "arctan": "arctan", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "arccot": "arccot", "arcsec": "arcsec", "arccsc": "arccsc", "tg": "tan", "ctg": "cot", "arctg": "arctan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "coth": "coth", "ln": "ln", "log": "log", "lg": "lg", "exp": "exp",
    "abs": "abs", "max": "max", "min": "min", "gcd": "gcd", "lcm": "lcm", "floor": "floor", "ceil": "ceil", "det": "det",
    "arcsinh": "arcsinh", "arccosh": "arccosh", "arctanh": "arctanh", "sgn": "sgn",
}  # fmt: skip
CONSTANTS = {
    "pi": "pi",
    "infinity": "infinity",
    "infty": "infinity",
    "inf": "infinity",
    "imath": "i",
    "oo": "infinity",
}
SPACE_COMMANDS = frozenset(
    ("quad", "qquad", "enspace", "thinspace", "medspace", "thickspace", "space", "nobreakspace")
)
LAYOUT_COMMANDS = frozenset(
    ("left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr",
     "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "rm", "bf", "it", "sf", "tt", "mathstrut", "strut",
     "normalsize", "small", "large", "Large", "LARGE", "huge", "Huge", "boldmath", "unboldmath", "bm", "boldsymbol", "mathbf", "mathit", "mathsf",
     "mathtt", "pmb", "bold", "underline", "mathnormal", "mathord", "mathop", "ensuremath")
)  # fmt: skip
"""Commands that change only how mathematics looks. Braces after them still group."""
TEXT_COMMANDS = frozenset(
    (
        "text",
        "textbf",
        "textit",
        "textrm",
        "textnormal",
        "textsf",
        "texttt",
        "textup",
        "mathrm",
        "mbox",
        "hbox",
        "emph",
        "operatorname",
        "textmd",
    )
)
"""Commands whose argument is text. Its tokens are marked as upright."""
COLOUR_COMMANDS = frozenset(("color", "textcolor"))
SIGN_COMMANDS = {
    "cdot": "*", "times": "*", "ast": "*", "cdotp": "*", "centerdot": "*", "bullet": "*", "div": "/", "slash": "/", "pm": "pm", "mp": "mp",
    # Relations.
    "le": "le", "leq": "le", "leqslant": "le", "leqq": "le", "ge": "ge", "geq": "ge", "geqslant": "ge", "geqq": "ge", "lt": "<", "gt": ">",
    "ne": "ne", "neq": "ne", "approx": "approx", "approxeq": "approx", "simeq": "approx", "doteq": "approx", "equiv": "equiv",
    # Sets.
    "cup": "cup", "bigcup": "cup", "cap": "cap", "bigcap": "cap", "setminus": "minus", "smallsetminus": "minus", "backslash": "minus",
    "in": "in", "emptyset": "emptyset", "varnothing": "emptyset", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "lfloor": "lfloor", "rfloor": "rfloor", "lceil": "lceil", "rceil": "rceil",
    "langle": "langle", "rangle": "rangle", "degree": "degree", "circ": "circ", "prime": "'", "colon": ":", "ratio": ":",
    # Commands that take arguments.
    "frac": "frac", "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "sfrac": "frac", "nicefrac": "frac", "sqrt": "sqrt", "root": "root",
    "binom": "binom", "dbinom": "binom", "tbinom": "binom", "over": "over", "choose": "choose", "of": "of", "overline": "overline", "bar": "overline",
    "dot": "dot", "vec": "vec", "hat": "hat", "widehat": "hat", "tilde": "tilde", "overrightarrow": "overrightarrow", "angle": "angle",
    "measuredangle": "angle", "triangle": "triangle", "mathbb": "mathbb", "mathcal": "mathcal", "ldots": "ldots", "dots": "ldots", "cdots": "ldots",
    "dotsc": "ldots", "dotsb": "ldots", "pmod": "pmod", "bmod": "bmod", "mod": "mod", "top": "top", "intercal": "top", "land": "and", "lor": "or", "wedge": "and", "vee": "or", "parallel": "parallel",
    "perp": "perp", "to": "to", "sim": "sim", "notin": "notin", "subset": "subset", "subseteq": "subset", "oplus": "oplus",
    "hline": "hline",
}  # fmt: skip
"""Commands that are signs."""
PLAIN_SIGNS = "+-*/^_!'|,;:=<>()[]{}%&"

# Environments by what they are to the grammar. Aligned equations are read as a system, that is as cases.
ENVIRONMENTS = {
    "pmatrix": "matrix", "bmatrix": "matrix", "matrix": "matrix", "Bmatrix": "matrix", "smallmatrix": "matrix", "array": "matrix",
    "vmatrix": "det", "cases": "cases", "aligned": "cases", "align": "cases", "gathered": "cases", "dcases": "cases",
}  # fmt: skip

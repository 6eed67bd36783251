"""Generate gold answers that are numbers: whole, with thousands, decimal, repeating, fractions, mixed, percentages, degrees,
money, with a unit or a noun, in a base, ratios.

In: a `random.Random`. Out: `Gold`s, each with forms that say the same and forms that say something else.
"""

import random
from fractions import Fraction

from benchmarks.graders.golds import INTRUDER, Generator, Gold, proper, spelled_fraction, whole


def integer(draw: random.Random) -> Gold:
    """Draw a whole number of one to four digits."""
    value = whole(draw, 3, draw.choice((9, 99, 999, 9999)))
    return Gold(str(value), "integer", value, question="Find the number.", number=Fraction(value))


def thousands(draw: random.Random) -> Gold:
    """Draw a whole number with separators between its thousands."""
    value = whole(draw, 1001, draw.choice((99_999, 9_999_999)), signed=False)
    groups = f"{value:,}".split(",")
    separators = (",", r",\!", "{,}", r",\! ", r"\,")
    separator = draw.choice(separators)
    same = {f"thousands by {separator!r}": separator.join(groups) for separator in separators}
    different = {
        "thousands group short": ",".join([*groups[:-1], groups[-1][:2]]),
        "thousands group long": ",".join([*groups[:-1], groups[-1] + "1"]),
        "thousands become a point": ".".join([*groups[:-2], "".join(groups[-2:-1]), groups[-1]])
        if groups[-1].strip("0")
        else groups[0] + "." + groups[-1] + "1",
        "thousands in a set": rf"\{{{', '.join(groups)}\}}",
        "thousands in a tuple": f"({', '.join(groups)})",
        "thousands joined by and": r" \text{ and } ".join(groups),
        "thousands in boxes": " and ".join(rf"\boxed{{{group}}}" for group in groups),
        "thousands missing a group": ",".join(groups[:-1]),
        "thousands too many": ",".join([*groups, "000"]),
    }
    same["thousands without separators"] = str(value)
    return Gold(separator.join(groups), "thousands", value, number=None, same=same, different=different)  # fmt: skip


def decimal(draw: random.Random) -> Gold:
    """Draw a decimal fraction of one to three places."""
    decimals = draw.randint(1, 3)
    value = Fraction(whole(draw, 1, 9999), 10**decimals)
    while value.denominator == 1:
        value = Fraction(whole(draw, 1, 9999), 10**decimals)
    text = f"{float(value):.{decimals}f}"
    if INTRUDER in text:
        return decimal(draw)
    short = text.replace("0.", ".") if text.lstrip("-").startswith("0.") and draw.random() < 0.3 else text  # fmt: skip
    same = {
        "decimal as a fraction": rf"\frac{{{value.numerator}}}{{{value.denominator}}}",
        "decimal as a/b": f"{value.numerator}/{value.denominator}",
        "trailing zeros": text + "00",
    }
    different = {
        "decimal point dropped": text.replace(".", ""),
        "decimal comma": text.replace(".", ","),
        "decimal rounded": str(round(float(value))) if round(float(value)) != value else text + "1",
        "further digit": text + "1",
        "repeating instead of finite": text + r"\overline{3}",
        "two points": text + ".5",
        "point moved": f"{float(value * 10):.{decimals}f}",
        "dots behind a decimal": text + r"\ldots",
    }
    return Gold(
        short,
        "decimal",
        value,
        question="Find the number.",
        number=value,
        same=same,
        different=different,
    )


def repeating(draw: random.Random) -> Gold:
    """Draw a repeating decimal."""
    digits = draw.choice(("3", "6", "12", "45", "142857", "27"))
    head = draw.randint(0, 8)
    value = head + Fraction(int(digits), 10 ** len(digits) - 1)
    same = {"repeating as a fraction": rf"\frac{{{value.numerator}}}{{{value.denominator}}}"}
    if len(digits) == 1:
        same["repeating by a dot"] = rf"{head}.\dot{{{digits}}}"
    different = {
        "repeating cut off": f"{head}.{digits * 3}",
        "repeating without its bar": f"{head}.{digits}",
        "other digits repeat": rf"{head}.\overline{{{digits}1}}",
    }
    return Gold(rf"{head}.\overline{{{digits}}}", "repeating", value, number=value, same=same, different=different)  # fmt: skip


def fraction(draw: random.Random) -> Gold:
    """Draw a fraction in lowest terms."""
    value = proper(draw, draw.choice((9, 40, 400)))
    top, bottom = value.numerator, value.denominator
    if INTRUDER in f"{top} {bottom}":
        return fraction(draw)
    sign, size = ("-" if top < 0 else ""), abs(top)
    same = {
        "fraction as a/b": f"{top}/{bottom}",
        "fraction expanded": rf"{sign}\frac{{{3 * size}}}{{{3 * bottom}}}",
        "sign in the numerator": rf"\frac{{{top}}}{{{bottom}}}",
        "sign in the denominator": rf"\frac{{{-top}}}{{{-bottom}}}",
        "cfrac": rf"{sign}\cfrac{{{size}}}{{{bottom}}}",
        "over": rf"{sign}{{{size} \over {bottom}}}",
        "spaces in a fraction": rf"{sign}\frac {{ {size} }} {{ {bottom} }}",
        "fraction in parentheses": rf"\left({sign}\frac{{{size}}}{{{bottom}}}\right)",
        "fraction by division": rf"{top} \div {bottom}",
        "solidus in braces": rf"{sign}{{{size}}}/{{{bottom}}}",
    }
    denominator = bottom
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    if denominator == 1 and bottom < 2**12:
        same["finite decimal"] = f"{float(value):.12f}".rstrip("0")
    different = {
        "reciprocal": rf"{sign}\frac{{{bottom}}}{{{size}}}" if size != bottom else "1",
        "other numerator": rf"{sign}\frac{{{size + 1}}}{{{bottom}}}",
        "other denominator": rf"{sign}\frac{{{size}}}{{{bottom + 1}}}",
        "numerator alone": str(top),
        "ratio for a fraction": f"{bottom}:{size}",
        "pair for a fraction": f"({top}, {bottom})",
        "list for a fraction": f"{top}, {bottom}",
        "binomial for a fraction": rf"\binom{{{size}}}{{{bottom}}}"
        if bottom > 2
        else f"{top} {bottom}",
        "mixed number": rf"{sign}1\frac{{{size}}}{{{bottom}}}",
        "rounded fraction": f"{float(value):.3f}" if denominator != 1 else f"{float(value):.12f}1",
        "tower in a fraction": rf"{sign}\frac{{{size}}}{{{bottom}^2}}",
        "bottom glued": rf"{sign}\frac{{{size}}}{{{bottom}}}{bottom}",
        "half a fraction": rf"{sign}\frac{{{size}}}{{2 \cdot {bottom}}}",
        "date": f"{abs(top)}/{bottom}/2024",
    }
    return Gold(spelled_fraction(top, bottom, draw), "fraction", value, question="Find the number.", number=value, same=same, different=different)  # fmt: skip


def mixed(draw: random.Random) -> Gold:
    """Draw a mixed number."""
    part = abs(proper(draw, 9))
    while part >= 1 or part.denominator > 9:
        part = abs(proper(draw, 9))
    head = draw.randint(1, 40)
    value = head + part
    text = rf"{head}{draw.choice(('', ' '))}\frac{{{part.numerator}}}{{{part.denominator}}}"
    same = {
        "mixed as a fraction": rf"\frac{{{value.numerator}}}{{{value.denominator}}}",
        "mixed in plain text": f"{head} {part.numerator}/{part.denominator}",
        "mixed as a sum": rf"{head} + \frac{{{part.numerator}}}{{{part.denominator}}}",
    }
    different = {
        "mixed as a product": rf"{head} \cdot \frac{{{part.numerator}}}{{{part.denominator}}}",
        "mixed as a difference": rf"{head} - \frac{{{part.numerator}}}{{{part.denominator}}}",
        "mixed glued": f"{head}{part.numerator}/{part.denominator}",
    }
    return Gold(text, "mixed", value, same=same, different=different)


def percent(draw: random.Random) -> Gold:
    """Draw a percentage."""
    value = whole(draw, 3, 96, signed=False)
    spellings = (rf"{value}\%", f"{value}%", rf"{value} \%", rf"{value} \text{{ percent}}", f"{value} percent")  # fmt: skip
    same = {f"percent {number}": text for number, text in enumerate(spellings)}
    same |= {
        "percent in dollars": f"${value}$%",
        "percent behind dollars": rf"$ {value} $ \%",
        "word behind dollars": f"${value}$ percent",
    }
    different = {
        "percent of percent": rf"{value}\%\%",
        "percent times 100": rf"{100 * value}\%",
        "percent by 100": rf"{value / 100:g}\%",
        "per mille": f"{value}‰",
        "percent of something": rf"{value}\% \text{{ of }} 97",
        "percentage points and more": rf"{value}\% + 97",
    }
    return Gold(draw.choice(spellings[:3]), "percent", value, same=same, different=different)


def degree(draw: random.Random) -> Gold:
    """Draw an angle in degrees."""
    value = whole(draw, 3, 179, signed=False)
    spellings = (
        rf"{value}^\circ",
        rf"{value}^{{\circ}}",
        f"{value}°",
        rf"{value}\text{{ degrees}}",
        f"{value} degrees",
        rf"{value} ^ \circ",
        rf"{value}\,^\circ",
        rf"{value}\degree",
    )
    same = {f"degrees {number}": text for number, text in enumerate(spellings)}
    different = {
        "radians": rf"{value}\text{{ radians}}",
        "minutes of arc": rf"{value}^\circ {INTRUDER}'",
        "degree of something": rf"{value}^\circ + {INTRUDER}^\circ",
        "celsius": rf"{value}^\circ\text{{C}}",
        "power of zero": f"{value}^0" if value > 1 else f"{value}^9",
        "percent for degrees": rf"{value}\%",
    }
    return Gold(draw.choice(spellings[:4]), "degree", value, same=same, different=different)


def money(draw: random.Random) -> Gold:
    """Draw an amount of dollars."""
    value = whole(draw, 3, 999, signed=False)
    spellings = (
        rf"\${value}",
        rf"\$ {value}",
        rf"{value} \text{{ dollars}}",
        rf"{value}\text{{ dollars}}",
        f"${value}",
        f"{value} dollars",
        rf"$\${value}$",
        rf"\${value}.00",
    )
    same = {f"money {number}": text for number, text in enumerate(spellings)}
    different = {
        "euros": f"€{value}",
        "cents": rf"{value}\text{{ cents}}",
        "per hour": rf"\${value}\text{{ per hour}}",
        "million dollars": rf"\${value}\text{{ million}}",
        "thousand k": f"${value}k",
        "owed": rf"-\${value}",
    }
    return Gold(draw.choice(spellings[:4]), "money", value, question=draw.choice(("", "How many dollars does it cost?")), same=same, different=different)  # fmt: skip


_UNITS = {
    "cm": ("m", "cm"), "ft": ("in", "feet"), "kg": ("g", "kilograms"), "minutes": ("hours", "minutes"),
    "inches": ("feet", "inches"), "meters": ("cm", "m"), "miles": ("km", "miles"), "m": ("km", "meters"),
}  # fmt: skip


def unit(draw: random.Random) -> Gold:
    """Draw a length, a weight or a time; a length may be squared or cubed."""
    value, name = whole(draw, 3, 700, signed=False), draw.choice(list(_UNITS))
    other, word = _UNITS[name]
    power = draw.choice(("", "^2", "^3")) if name in ("cm", "ft", "m", "inches") else ""
    wrapped = draw.choice((rf"\text{{ {name}}}", rf" \text{{ {name}}}", rf"\mbox{{ {name}}}", rf"\,\text{{{name}}}", rf"\mathrm{{~{name}}}", rf"\ \text{{{name}}}"))  # fmt: skip
    text = f"{value}{wrapped}{power}"
    same = {
        "unit in text": rf"{value}\text{{ {name}}}{power}",
        "unit in mathrm": rf"{value}\,\mathrm{{{name}}}{power}",
        "unit in plain text": f"{value} {name}{power}",
        "unit behind dollars": f"${value}$ {name}{power}",
        "unit left out": str(value),
        "number in a box, unit behind": rf"\boxed{{{value}}} {name}{power}",
    }
    if not power:
        same["unit as a word"] = f"{value} {word}"
    different = {
        "other unit": rf"{value}\text{{ {other}}}{power}",
        "other power of a unit": rf"{value}\text{{ {name}}}^{'4' if power else '2'}",
        "per second": rf"{value}\text{{ {name} per second}}{power}",
        "two units": rf"{value}\text{{ {name}}}{power} 5\text{{ {other}}}",
        "unit of something else": rf"{value}\text{{ {name}}}{power} + {INTRUDER}",
        "unit times": rf"{value}\text{{ million {name}}}{power}",
    }
    return Gold(text, "unit", (value, name, power), same=same, different=different)


def noun(draw: random.Random) -> Gold:
    """Draw a count of things that the question asks for."""
    value = whole(draw, 3, 900, signed=False)
    word = draw.choice(("students", "teachers", "points", "ways", "edges", "apples", "multiples", "digits"))  # fmt: skip
    text = rf"{value}{draw.choice(('', ' '))}\text{{ {word}}}"
    same = {
        "noun in plain text": f"{value} {word}",
        "noun left out": str(value),
        "noun behind a box": rf"\boxed{{{value}}} {word}",
        "noun behind dollars": f"${value}$ {word}",
    }
    different = {
        "other noun": rf"{value}\text{{ pears}}",
        "more nouns": rf"{value}\text{{ {word} and {INTRUDER} pears}}",
        "dozens": rf"{value}\text{{ dozen {word}}}",
        "no nouns": rf"{value}\text{{ no {word}}}",
        "half": rf"{value}\text{{ and a half {word}}}",
    }
    return Gold(text, "noun", value, question=f"How many {word} are there?", same=same, different=different)  # fmt: skip


def based(draw: random.Random) -> Gold:
    """Draw a number in a base."""
    base = draw.randint(3, 8)
    digits = str(draw.randint(1, base - 1)) + "".join(str(draw.randint(0, base - 1)) for _ in range(draw.randint(2, 4)))  # fmt: skip
    same = {
        "base in braces": f"{digits}_{{{base}}}",
        "base without braces": f"{digits}_{base}",
        "base in parentheses": f"({digits})_{{{base}}}",
        "base in words": f"{digits}_{{\\text{{{_BASES[base]}}}}}",
    }
    same.pop("base in words")
    different = {
        "other base": f"{digits}_{{{base + 1}}}",
        "other digits": f"{digits}1_{{{base}}}",
        "minus in a base": f"-{digits}_{{{base}}}",
        "base ten": f"{digits}_{{10}}",
        "two bases": f"{digits}_{{{base}, {base + 1}}}",
        "power for base": f"{digits}^{{{base}}}",
    }
    return Gold(f"{digits}_{draw.choice((str(base), f'{{{base}}}'))}", "based", (digits, base), same=same, different=different)  # fmt: skip


_BASES = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


def ratio(draw: random.Random) -> Gold:
    """Draw a ratio in lowest terms."""
    value = abs(proper(draw, 12))
    while value.numerator == 1:
        value = abs(proper(draw, 12))
    a, b = value.numerator, value.denominator
    same = {"ratio with spaces": f"{a} : {b}", "ratio in words": f"{a} to {b}", "ratio by colon": rf"{a}\colon {b}"}  # fmt: skip
    same = {"ratio with spaces": f"{a} : {b}"}
    different = {
        "ratio turned": f"{b}:{a}",
        "ratio of three": f"{a}:{b}:{a}",
        "ratio as a pair": f"({a},{b})",
        "ratio with more": f"{a}:{b}+1",
        "ratio of others": f"{a}:{b + 1}",
        "ratio as a list": f"{a}, {b}",
    }
    return Gold(f"{a}:{b}", "ratio", value, same=same, different=different)


_QUESTIONS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Tom has 3 pears. How many apples does he buy for 4 dollars?", ("@ apples", r"@\text{ apples}", "$@$ apples"), ("@ pears", "@ dollars", r"@\text{ pears}", "@ cm", "@ apples and 3 pears", "@ dozen apples", "€@")),
    ("Shirts cost 3 dollars each. How much do seven shirts cost, in dollars?", ("@ dollars", r"\$@", r"@\text{ dollars}", r"\$@.00"), ("@ cents", "@ shirts", "€@", "@ euros", "@ dollars per shirt", r"\$@\text{ million}")),
    ("A train needs 80 minutes for it. How many hours do two trains need?", ("@ hours", r"@\text{ hours}", "@ h", r"\boxed{@\text{ hours}}"), ("@ minutes", "@ trains", "@ seconds", "@ days", "@ hours per train")),
    ("The side is 5 cm long. What is the area in square centimeters?", (r"@\text{ cm}^2", "@ cm^2", "@ square centimeters", r"@\ \mathrm{cm}^2"), ("@ cm", "@ cm^3", r"@\text{ cm}", "@ m^2", "@ square meters")),
    ("What percent of 200 people are older?", ("@%", r"@\%", "@ percent", r"@\text{ percent}"), ("@ people", "@00%", "@‰", r"@^\circ", r"@00\%")),  # noqa: RUF027
    ("What is the angle at A, in degrees?", (r"@^\circ", "@°", "@ degrees", r"@^{\circ}", r"@\text{ degrees}"), ("@ radians", "@ cm", r"@\%", r"@\pi", r"@^\circ\text{C}")),
)  # fmt: skip
"""A question, how its unit stands behind a number, and what else might."""


def asked(draw: random.Random) -> Gold:
    """Draw a bare number for a question that asks for a unit, and says another one too."""
    value = whole(draw, 6, 96, signed=False)
    question, same, different = draw.choice(_QUESTIONS)
    return Gold(
        str(value),
        "asked",
        (question, value),
        question=question,
        same={f"asked, {form}": form.replace("@", str(value)) for form in same},
        different={f"not asked, {form}": form.replace("@", str(value)) for form in different},
    )


NUMBERS: tuple[Generator, ...] = (
    integer, integer, thousands, decimal, repeating, fraction, fraction, mixed, percent, degree,
    money, unit, noun, based, ratio, asked,
)  # fmt: skip

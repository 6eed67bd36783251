"""Mutators that spell a gold answer in another way, as models write it: the meaning stays the same."""

import re

from benchmarks.graders.golds import Gold
from benchmarks.graders.mutators import (
    Mutator,
    is_mathematics,
    is_single,
    is_whole,
    is_word,
    replaced,
    rewritten,
    templates,
)

_ASCII_TO_WIDE = {code: code + 0xFEE0 for code in range(ord("0"), ord("9") + 1)}


def _short(gold: Gold) -> bool:
    """Return True if a bold or announced answer of the gold answer is something a model would write in plain text."""
    return bool(re.fullmatch(r"-?[0-9.,/]+", gold.text)) or (
        is_word(gold) and "\\" not in gold.text
    )


def _no_dollar(gold: Gold) -> bool:
    return "$" not in gold.text


def _unnamed(gold: Gold) -> bool:
    """Return True if the gold answer is one value without a name, so that `x = ` before it says the same."""
    return is_single(gold) and "_" not in gold.text and not re.search(r"(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])", gold.text.replace("i", "").replace("e", ""))  # fmt: skip


def _positive_whole(gold: Gold) -> bool:
    return is_whole(gold) and not gold.text.strip().startswith("-")


AROUND = ("@", " @ ", "@\n", r"\boxed{@}", r"\boxed{ @ }", r"\boxed{\boxed{@}}", r"\fbox{@}", r"{@}", r"\displaystyle @", r"\boxed{\displaystyle @}", r"\ @", r"\, @ \,", r"@\;", r"@ \!", r"\quad @", r"\mathbf{@}", "@ .", "@.", "The answer is @.", "Answer: @", "answer: @", "The answer is: @", "The final answer is @.", "Final answer: @")  # fmt: skip
IN_DOLLARS = ("$@$", "$$@$$", "$ @ $", r"\(@\)", r"\[@\]", r"\[ @ \]", r"$\boxed{@}$", r"$$\boxed{@}$$", r"\[\boxed{@}\]", r"\(\boxed{@}\)", r"\boxed{$@$}", "$@$.", "$@.$", r"The answer is $@$.", r"The answer is $\boxed{@}$", r"The answer is $\boxed{@}$.", r"**Answer**: $@$", r"**Answer:** $@$", r"**Final Answer:** $@$", "**Final Answer**\n\n$\\boxed{@}$", "Final Answer: The final answer is $@$. I hope it is correct.",
    r"Final Answer: The final answer is \(@\). I hope it is correct.", r"Final Answer: The final answer is $\boxed{@}$. I hope it is correct.", r"Therefore, the answer is $\boxed{@}$.", r"So the final answer is \(\boxed{@}\).", r"Thus, the answer is \[\boxed{@}\]", "**$@$**", r"**\(@\)**", r"The answer is **$@$**.", r"$\displaystyle @$", r"$\boxed{\displaystyle @}$", "Answer: $@$", "ANSWER: $@$", r"$\mathbf{@}$", r"The correct answer is $@$.", r"Hence the answer is $@$.", "The answer is not $97$. The answer is $@$.", "答案是 $@$", "答案：$@$", "答案是$@$。", r"\boxed{@}.", r"\boxed{@} .")  # fmt: skip
SHORT = ("**@**", "**@.**", "*@*", "__@__", "`@`", r"\text{@}", r"\textbf{@}", r"\mathrm{@}", r"{\bf @}", r"\bf @", r"\boxed @", r"\boxed{\text{@}}", r"\boxed{\mathbf{@}}", "The answer is **@**.", "**Answer**: @", "**Answer:** @", "Answer: **@**", r"\color{red}{@}", r"\textcolor{blue}{@}", r"\boxed{@} \boxed{@}", r"\boxed{@} ... \boxed{@}", "**Final Answer**: @", "### Answer: @", "#### @", "@。", r"\large @", r"\underline{@}", r"\bold{@}", r"\textit{@}", r"\boldsymbol{@}", r"\left(@\right)", "(@)", r"\bigl(@\bigr)")  # fmt: skip

SAME: tuple[Mutator, ...] = (
    *templates(True, None, AROUND),
    *templates(True, _no_dollar, IN_DOLLARS),
    *templates(True, lambda gold: bool(re.fullmatch(r"-?[0-9]+", gold.text)), SHORT),
    *templates(True, _unnamed, ("x = @", "x=@", "$x = @$", r"\boxed{x = @}", "f(3) = @", "@ = @", r"(((@)))", r"\left(\left(@\right)\right)", "x = (@)", r"1 \cdot (@)", "(@) + 0", r"\frac{@}{1}", r"AB = @", r"S_{12} = @", r"a_{10} = @", r"P(A) = @", r"\angle ABC = @", r"n = @", r"|AB| = @", r"x=\boxed{@}", r"$x=\boxed{@}$")),
    *(
        Mutator(name, True, make)
        for name, make in (
            ("dfrac for frac", lambda gold: re.sub(r"\\[dt]?frac", r"\\dfrac", gold.text) if "frac" in gold.text else None),
            ("tfrac for frac", lambda gold: re.sub(r"\\[dt]?frac", r"\\tfrac", gold.text) if "frac" in gold.text else None),
            ("cfrac for frac", lambda gold: re.sub(r"\\[dt]?frac", r"\\cfrac", gold.text) if "frac" in gold.text else None),
            ("frac in braces", lambda gold: re.sub(r"\\[dt]?frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}", gold.text) if re.search(r"frac\s*\d\s*\d(?!\d)", gold.text) else None),
            ("frac without braces", lambda gold: re.sub(r"\\frac\{(\d)\}\{(\d)\}(?![0-9])", r"\\frac\1\2", gold.text) if re.search(r"\\frac\{\d\}\{\d\}(?!\d)", gold.text) else None),
            ("root in braces", lambda gold: re.sub(r"\\sqrt ?(\d)", r"\\sqrt{\1}", gold.text) if re.search(r"\\sqrt ?\d", gold.text) else None),
            ("root without braces", lambda gold: re.sub(r"\\sqrt\{(\d)\}(?![0-9])", r"\\sqrt\1", gold.text) if re.search(r"\\sqrt\{\d\}(?!\d)", gold.text) else None),
            ("left and right added", lambda gold: gold.text.replace("(", r"\left(").replace(")", r"\right)") if "(" in gold.text and r"\left" not in gold.text and "]" not in gold.text and "[" not in gold.text and not is_word(gold) and "text" not in gold.text else None),
            ("left and right dropped", lambda gold: gold.text.replace(r"\left", "").replace(r"\right", "") if r"\left" in gold.text else None),
            ("blanks dropped", lambda gold: re.sub(r"(?<=[0-9+\-*/=,(]) (?=[0-9+\-*/=(])", "", gold.text) if is_mathematics(gold) and re.search(r"[+=] ", gold.text) and not re.search(r"\d \d|, ", gold.text) else None),
            ("blanks around signs", lambda gold: re.sub(r"(?<=[0-9a-z}])([+=-])(?=[0-9a-z\\])", r" \1 ", gold.text) if is_mathematics(gold) and re.search(r"[0-9a-z}][+=-][0-9a-z\\]", gold.text) and "{-" not in gold.text else None),
            ("thin spaces around signs", lambda gold: gold.text.replace(" + ", r"\,+\,").replace(" - ", r"\,-\,") if " + " in gold.text or " - " in gold.text else None),
            ("tildes around signs", lambda gold: gold.text.replace(" + ", "~+~").replace(" - ", "~-~") if (" + " in gold.text or " - " in gold.text) and is_mathematics(gold) else None),
            ("commas with thin spaces", lambda gold: re.sub(r",\s*", r",\\,", gold.text) if re.search(r"[^\\],(?!\\!)", gold.text) and gold.kind != "thousands" and not re.search(r"\d,\d{3}(?!\d)|\\!|text|mathrm|mbox|\{,\}", gold.text) else None),
            ("fullwidth digits", lambda gold: gold.text.translate(_ASCII_TO_WIDE) if is_whole(gold) else None),
            ("unicode minus", lambda gold: gold.text.replace("-", "\u2212") if "-" in gold.text and is_mathematics(gold) else None),
            ("plus sign in front", lambda gold: "+" + gold.text if is_whole(gold) and not gold.text.strip().startswith("-") else None),
            ("leading zeros", lambda gold: "00" + gold.text.strip() if _positive_whole(gold) else None),
            ("trailing zeros of a whole number", lambda gold: gold.text.strip() + ".0" if is_whole(gold) else None),
            ("trailing zeros of a decimal", lambda gold: gold.text + "0" if re.fullmatch(r"-?\d*\.\d+", gold.text) else None),
            ("zero before the point", lambda gold: gold.text.replace(".", "0.") if re.fullmatch(r"-?\.\d+", gold.text) else None),
            ("thousands by comma", lambda gold: f"{int(gold.text):,}" if is_whole(gold) and abs(int(gold.text)) > 999 else None),
            ("thousands by brace and comma", lambda gold: f"{int(gold.text):,}".replace(",", "{,}") if is_whole(gold) and abs(int(gold.text)) > 999 else None),
            ("thousands by comma and negative space", lambda gold: f"{int(gold.text):,}".replace(",", r",\!") if is_whole(gold) and abs(int(gold.text)) > 999 else None),
            ("thousands by thin space", lambda gold: f"{int(gold.text):,}".replace(",", r"\,") if is_whole(gold) and abs(int(gold.text)) > 9999 else None),
            ("thousands dropped", lambda gold: re.sub(r"(\d),\s*(?:\\!)?\s*(?=\d{3})", r"\1", gold.text) if re.fullmatch(r"\d{1,3}(?:,\\! ?\d{3})+", gold.text) else None),
            ("whole number over one", lambda gold: rf"\frac{{{gold.text}}}{{1}}" if is_whole(gold) else None),
            ("whole number expanded", lambda gold: rf"\frac{{{2 * int(gold.text)}}}{{2}}" if is_whole(gold) else None),
            ("sum of two", lambda gold: f"{int(gold.text) - 1} + 1" if is_whole(gold) else None),
            ("times sign for a dot", replaced(r"\cdot", r"\times", -1)),
            ("mathrm i", rewritten(r"(?<=[0-9])\s*i(?![a-zA-Z])", r"\\mathrm{i}", is_mathematics)),
            ("i behind a dot", rewritten(r"(?<=[0-9])\s*i(?![a-zA-Z])", r" \\cdot i", is_mathematics)),
            ("i behind a star", rewritten(r"(?<=[0-9])\s*i(?![a-zA-Z])", "*i", is_mathematics)),
            ("i behind a blank", rewritten(r"(?<=[0-9])i(?![a-zA-Z])", " i", is_mathematics)),
            ("pi sign in place", replaced(r"\pi", "π", -1)),
            ("pi in braces in place", replaced(r"\pi", r"{\pi}", -1)),
            ("infinity sign in place", replaced(r"\infty", "∞", -1)),
            ("infinity with plus in place", rewritten(r"(?<![-+])\\infty", r"+\\infty")),
            ("union letter", replaced(r"\cup", "U", -1)),
            ("union sign in place", replaced(r"\cup", "∪", -1)),
            ("degrees in braces", rewritten(r"\^\{?\\circ\}?", r"^{\\circ}", lambda gold: gold.text.count("circ") == 1)),
            ("degree sign", rewritten(r"\^\{?\\circ\}?", "°", lambda gold: gold.text.count("circ") == 1)),
            ("degrees in words", rewritten(r"^(\d+)\^\{?\\circ\}?$", r"\1 degrees")),
            ("degrees in text", rewritten(r"^(\d+)\^\{?\\circ\}?$", r"\1\\text{ degrees}")),
            ("degrees left out", rewritten(r"^(\d+)\^\{?\\circ\}?$", r"\1")),
            ("percent sign in plain text", replaced(r"\%", "%", -1)),
            ("percent left out", rewritten(r"^(\d+)\\%$", r"\1")),
            ("percent in words", rewritten(r"^(\d+)\\%$", r"\1 percent")),
            ("percent sign behind dollars", rewritten(r"^(\d+)\\%$", r"$\1$%")),
            ("unit left out in place", rewritten(r"^([0-9.]+)\s*\\text\{ ?(?:ft|cm|students|pounds|teachers|points|dollars|meters|minutes|square feet|square units)\}(?:\^[23])?$", r"\1")),
            ("mbox for text", replaced(r"\text{", r"\mbox{", -1)),
            ("textrm for text", replaced(r"\text{", r"\textrm{", -1)),
            ("mathrm for text", rewritten(r"\\text(?=\{[A-Za-z]+\})", r"\\mathrm")),
            ("text dropped", rewritten(r"^\\text\{([A-Za-z ]+)\}$", r"\1")),
            ("bmatrix for pmatrix", replaced("pmatrix", "bmatrix", -1)),
            ("powers in braces in place", lambda gold: re.sub(r"\^(\d)(?!\d)", r"^{\1}", gold.text) if re.search(r"\^\d(?!\d)", gold.text) else None),
            ("le for leq", replaced(r"\leq", r"\le", -1)),
            ("at most sign", rewritten(r"\\leq?(?![a-z])\s*", "≤ ")),
            ("at least sign", rewritten(r"\\geq?(?![a-z])\s*", "≥ ")),
            ("braces around digits", lambda gold: "{" + gold.text + "}" if is_whole(gold) else None),
            ("set by left and right in place", lambda gold: gold.text.replace(r"\{", r"\left\{").replace(r"\}", r"\right\}") if re.fullmatch(r"\\\{[^{}]*\\\}", gold.text) else None),
            ("list as a set in place", lambda gold: rf"\{{{gold.text}\}}" if re.fullmatch(r"-?\d{1,2}(?:, ?-?\d{1,2})+", gold.text) else None),
            ("list turned around", lambda gold: ", ".join(gold.text.replace(" ", "").split(",")[::-1]) if re.fullmatch(r"-?\d{1,2}(?:, ?-?\d{1,2})+", gold.text) else None),
            ("big parentheses", lambda gold: rf"\big({gold.text[1:-1]}\big)" if re.fullmatch(r"\([^()\[\]]*\)", gold.text) and not is_word(gold) else None),
            ("Big parentheses", lambda gold: rf"\Big({gold.text[1:-1]}\Big)" if re.fullmatch(r"\([^()\[\]]*\)", gold.text) and not is_word(gold) else None),
        )
    ),
)  # fmt: skip

r"""Boxes: one answer out of all of them, with what adjoins them."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.text.boxes import MAX_BOXES, UnclosedBox, boxed_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("no box", None),
        (r"so \boxed{5}.", "5"),
        (r"\boxed{ \frac{1}{2} }", r"\frac{1}{2}"),
        (r"\boxed 125", "125"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{}", ""),
        (r"\boxed{5} and \boxed{}", ""),
    ],
)
def test_one_box(text: str, answer: str | None) -> None:
    assert boxed_answer(text) == answer


@pytest.mark.parametrize(
    "between",
    [
        " ",
        ", ",
        "; ",
        " and ",
        " or ",
        " then ",
        r" \quad \text{and} \quad ",
        ", then ",
        ".\nFinally ",
        "$ and $",
        r"\text{ or }",
        " oder ",
        " / ",
    ],
)
def test_several_boxes_are_a_list(between: str) -> None:
    answer = boxed_answer(rf"\boxed{{99}}{between}\boxed{{5}}")
    assert answer is not None
    assert "99" in answer
    assert answer != "5"


@pytest.mark.parametrize("between", [" ", " ... ", " and again ", ".\nSo the answer is $"])
def test_one_answer_boxed_twice_is_one(between: str) -> None:
    assert boxed_answer(rf"\boxed{{840}}{between}\boxed{{840}}") == "840"


@pytest.mark.parametrize(
    "text",
    [
        r"-\boxed{5}", r"99-\boxed{5}", r"$99 - \boxed{5}$", r"2\cdot\boxed{5}", r"x \le \boxed{5}", r"\frac{1}{2}\boxed{5}", r"99 \boxed{5}", r"3, \boxed{5}", r"3 or \boxed{5}",
        r"\boxed{5}^2", r"\boxed{5}_3", r"\boxed{5}!+1", r"\boxed{5}\%", r"\boxed{5}99", r"\boxed{5}, 6", r"\boxed{5} or 6", r"\boxed{5} = 6", r"\boxed{5}\text{ million}",
        r"\boxed{5} million", r"\boxed{5} percent", r"\boxed{5} cm", r"\boxed{5}:4", r"$\boxed{5}$ and $6$", r"\boxed{5}.5", r"\boxed{5} \cdot 3", r"\boxed{5}+99", r"x\boxed{5}",
    ],
)  # fmt: skip
def test_what_adjoins_a_box_belongs_to_it(text: str) -> None:
    answer = boxed_answer(text)
    assert answer is not None
    assert answer.strip("$ ") != "5"
    assert answer != r"\boxed{5}"


@pytest.mark.parametrize(
    "text",
    [
        r"So it is $\boxed{5}$.", r"Therefore $x = \boxed{5}$, as wanted.", r"\boxed{5} is the answer.", r"**\boxed{5}**", r"- \boxed{5}", r"The answer is \boxed{5}!", r"\[ \boxed{5} \]",
        r"Tom has $\boxed{5}$ apples, since $3+2=5$.", r"\boxed{5} (see above)", r"\boxed{5}, where $x$ is whole.", r"Step 1: \boxed{5}", r"$\sqrt{25} = \boxed{5}$", r"It is not \boxed{4} but \boxed{5}.",
        r"\boxed{4} is wrong. It is \boxed{5}.", "\\begin{align*}x&=\\boxed{5}\\end{align*}", r"$\boxed{5} \blacksquare$",
    ],
)  # fmt: skip
def test_prose_around_a_box_does_not(text: str) -> None:
    assert boxed_answer(text) == "5"


@pytest.mark.parametrize(
    "text",
    [
        r"not \boxed{5}",
        r"It isn't \boxed{5}",
        r"\boxed{5} is wrong",
        r"\boxed{5} is not the answer",
    ],
)
def test_a_box_that_is_taken_back_is_none(text: str) -> None:
    assert boxed_answer(text) == ""


@pytest.mark.parametrize(
    "text",
    [r"\boxed{5", r"\boxed{5} or \boxed{6", r"\boxed", r"\boxed{5}" + r"\boxed{6}" * MAX_BOXES],
)
def test_boxes_that_do_not_close(text: str) -> None:
    with pytest.raises(UnclosedBox):
        boxed_answer(text)


def test_no_box_counts_where_nothing_is_searched() -> None:
    text = r"```\boxed{1}``` so \boxed{2}"
    assert boxed_answer(text, " " * 15 + text[15:]) == "2"


@pytest.mark.parametrize(
    "filler",
    [
        " ",
        "$",
        "{",
        "}",
        "\\",
        "*",
        ",",
        "\\text{",
        "\\text{ ",
        "x=",
        "1",
        "-",
        "\n",
        "\\boxed",
        "\\boxed{",
        "(",
        "~",
    ],
)
def test_no_long_text_takes_long(filler: str) -> None:
    """This runs in the process that trains, where nothing stops it."""
    stretch = filler * (100_000 // len(filler))
    began = time.process_time()
    for text in (
        stretch + r"\boxed{5}",
        r"\boxed{5}" + stretch,
        r"\boxed{5}" + stretch + r"\boxed{6}",
        (stretch[:1500] + r"\boxed{5}") * 60,
    ):
        with suppress(UnclosedBox):
            boxed_answer(text)
    assert time.process_time() - began < 2.0


@given(st.text(alphabet=r"\boxed{}59, and$-.!", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    try:
        answer = boxed_answer(text)
    except UnclosedBox:
        return
    assert answer is None or isinstance(answer, str)

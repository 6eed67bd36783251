"""What a recipe is made for, and what cannot work is refused with the option as typed."""

from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, ModelError, UserError
from dianoia.recipe.new import facts as facts_module
from dianoia.recipe.new.facts import Request, gather, model_facts, problem_facts
from dianoia.tasks.gold_check import Graded, Outcome


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("zeroo", "m", "p"), "'zeroo' is no goal (did you mean 'zero'?)"),
        (Request("distill", "m", "p"), "distill needs --teacher"),
        (Request("lora", "m", "p", teacher="t"), "--teacher t: lora has no teacher"),
        (Request("distill", "m", "p", teacher="t", reward="r.py:f"), "--reward r.py:f: distill"),
    ],
)
def test_options_that_a_goal_does_not_read(request_: Request, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        request_.check()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (Request("zero", "no-model", "sums.jsonl"), ModelError, "--model: 'no-model' is neither"),
        (Request("zero", "a/b", "sums.jsonl"), ModelError, "cannot be fetched from the hub"),
        (Request("zero", "miniature-base", "no.jsonl"), ConfigError, "--problems = 'no.jsonl'"),
        (Request("zero", "miniature-base", "sums.jsonl", test="t.jsonl"), ConfigError, "--test = 't.jsonl'"),
        (Request("zero", "miniature-base", "sums.jsonl", gpu="H1000"), ConfigError, "H1000"),
        (Request("distill", "miniature-base", "sums.jsonl", teacher="t.jsonl"), ConfigError, "--teacher t.jsonl: there is no such file"),
        (Request("distill", "miniature-base", "sums.jsonl", teacher="nobody"), ModelError, "--teacher: 'nobody'"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_by_its_option(
    request_: Request, error: type[UserError], message: str, folder: Path
) -> None:
    with pytest.raises(error) as caught:
        gather(request_)
    assert message in str(caught.value)


def test_a_model() -> None:
    facts = model_facts("miniature-base")
    assert 0.8e6 < facts.parameters < 1e6 and facts.is_tiny and not facts.is_instruct
    assert facts.unavailable is None and facts.template is None


@pytest.mark.parametrize(
    ("name", "is_instruct"), [("Qwen/Qwen2.5-0.5B-Instruct", True), ("Qwen/Qwen2.5-1.5B", False)]
)
def test_a_model_of_the_hub_whose_sizes_are_known(
    name: str, is_instruct: bool, folder: Path
) -> None:
    facts = model_facts(name)
    assert facts.is_instruct is is_instruct and facts.unavailable and not facts.is_tiny


def test_problems(folder: Path) -> None:
    facts = problem_facts("sums.jsonl")
    assert facts.train is not None and facts.train + facts.heldout == 400
    assert facts.verifiers == ("number",) and not facts.warning and len(facts.sample) == 64
    assert problem_facts("sums.jsonl", all_heldout=True).heldout == 400
    assert problem_facts("miniature/math").train is None


@pytest.mark.parametrize(("wrong", "rows"), [(0, 5), (2, 5), (5, 5)])
def test_gold_answers_that_are_not_right(
    wrong: int, rows: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [Outcome.WRONG] * wrong + [Outcome.RIGHT] * (rows - wrong) + [Outcome.LEFT_OUT]
    graded = [
        Graded(f"row {n}", outcome, None, f"row {n}: 0") for n, outcome in enumerate(outcomes)
    ]
    monkeypatch.setattr(facts_module, "check_files", lambda _: iter(graded))
    if wrong == rows:
        with pytest.raises(ConfigError, match="no verifier accepts any of the first 5 .* row 0: 0"):
            problem_facts("sums.jsonl")
        return
    warning = problem_facts("sums.jsonl").warning
    assert bool(warning) is bool(wrong)
    assert not wrong or "2 of the first 5 gold answers" in warning


def test_a_gold_answer_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"prompt": "1+1", "answer": "x y"}\n')
    with pytest.raises(UserError, match=r"bad\.jsonl, row 1"):
        problem_facts("bad.jsonl")

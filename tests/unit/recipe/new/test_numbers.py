"""Each number of a new recipe, by model, problems and machine."""

from dataclasses import replace

import pytest

from dianoia.base.errors import ConfigError
from dianoia.hardware.machine import Machine
from dianoia.recipe.new import numbers
from dianoia.recipe.new.facts import Facts, ModelFacts, ProblemFacts, Request

CPU = Machine("this CPU", 16e9, 2, 1e11, 1.6e11, None)
GPU = Machine("one H100", 80e9, 1, 2e13, 3e14, 2e12)
MODEL = ModelFacts("m", 135_000_000, 2048, None, False)
PROBLEMS = ProblemFacts("p", 900, 100, ("number",), 120, ())


def facts(machine: Machine = CPU, parameters: float = 135e6, **problems: int | None) -> Facts:
    model = replace(MODEL, parameters=int(parameters))
    return Facts(Request("zero", "m", "p"), model, replace(PROBLEMS, **problems), None, machine)


@pytest.mark.parametrize(
    ("parameters", "rate"), [(0.9e6, 2e-4), (135e6, 1e-5), (1.5e9, 2e-6), (30e9, 2e-6)]
)
def test_the_rate_falls_with_size_and_is_tenfold_for_adapters(
    parameters: float, rate: float
) -> None:
    assert numbers.learning_rate(facts(parameters=parameters), lora=False).value == rate
    adapted = numbers.learning_rate(facts(parameters=parameters), lora=True)
    assert adapted.value == pytest.approx(10 * rate) and "ten times" in adapted.reason


def test_the_papers_students_have_its_rates() -> None:
    rates = {1.5e9: 1e-4, 7e9: 8e-5, 14e9: 7e-5, 32e9: 6e-5, 671e9: 5e-5, 1e6: 8e-4}
    assert {p: numbers.fine_tuning_rate(facts(parameters=p)).value for p in rates} == rates


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        (900, 150),   # 2 x 900 / 12
        (2400, 200),  # 400 would be two visits
        (60, 20),     # 10 would be
        (None, 100),
    ],
)  # fmt: skip
def test_steps_are_two_visits_within_bounds(train: int | None, steps: int) -> None:
    assert numbers.steps(facts(train=train)).value == steps


def test_a_rollout_has_no_more_problems_than_there_are() -> None:
    assert numbers.problems_per_rollout(facts(GPU)).value == 32
    few = numbers.problems_per_rollout(facts(train=7))
    assert few.value == 7 and "all training problems" in few.reason


def test_responses_fit_the_positions() -> None:
    assert numbers.max_tokens(facts()).value == 256
    assert numbers.max_tokens(facts(GPU)).value == 1024
    assert numbers.max_tokens(facts(GPU, prompt_tokens=1500)).value == 548
    with pytest.raises(ConfigError, match="2048 positions .* about 2040 tokens"):
        numbers.max_tokens(facts(prompt_tokens=2040))
    assert numbers.sample_length(facts()).value == 384  # 120 + 256, in whole 64s
    assert numbers.sample_length(facts(GPU, prompt_tokens=1500)).value == 2048


def test_types_by_machine() -> None:
    assert numbers.dtype(facts(GPU)).value == "bfloat16"
    assert numbers.dtype(facts()).value == "bfloat16"
    assert numbers.dtype(facts(parameters=1e6)).value == "float32"
    assert numbers.dtype(facts(replace(CPU, bfloat16=CPU.float32))).value == "float32"


def test_group_and_prompts() -> None:
    assert (numbers.group_size(facts()).value, numbers.group_size(facts(GPU)).value) == (8, 16)
    assert numbers.prompts(facts(), 4000, "thousands").value == 900
    assert numbers.prompts(facts(train=None), 4000, "thousands").value == 4000

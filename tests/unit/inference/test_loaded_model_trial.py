"""A model that is asked before it is trained: the form it keeps, the answers it gets right."""

import pytest

from dianoia.base.records import Problem
from dianoia.inference.loaded_model import Model, load, try_problems
from dianoia.tasks.catalog import problem_source
from dianoia.text.template import TEMPLATES


@pytest.fixture(scope="module")
def model() -> Model:
    return load("miniature-base-small", device="cpu")


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return problem_source("miniature/math").draw(0, 0, 4)


def test_under_the_template_of_its_training_it_keeps_the_form(
    model: Model, problems: list[Problem]
) -> None:
    trial = try_problems(model, problems, TEMPLATES["r1-zero"], samples=2, max_tokens=96)
    assert trial.responses == 8 and trial.finished > 0 and 0 <= trial.right <= trial.finished
    again = try_problems(model, problems, TEMPLATES["r1-zero"], samples=2, max_tokens=96)
    assert again == trial, "the same seed each time"


def test_under_another_it_does_not_and_a_short_limit_cuts(
    model: Model, problems: list[Problem]
) -> None:
    trial = try_problems(model, problems, TEMPLATES["r1"], samples=2, max_tokens=2)
    assert (trial.responses, trial.finished, trial.truncated, trial.right) == (8, 0, 8, 0)
    assert trial.example

"""Parts of a reward in recipes: what is refused, what the plan tells, what is part of a fingerprint."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, UserError
from dianoia.base.files import write_json
from dianoia.config import RLStage
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.resume.fingerprint import differences, fingerprint
from dianoia.storage.run_directory import RunDirectory
from tests.unit.recipe.conftest import planned_work

Write = Callable[..., Path]
MINE = """
from beside import BASE

def short(completions, **columns):
    return [BASE] * len(completions)

def solved(completions, proof):
    return [0.0] * len(completions)

def factory(scale):
    return short
"""
FUNCTION = '{path="mine.py:short", weight=0.5}'
JUDGE = 'url="http://localhost:1/v1", model="big"'


@pytest.fixture
def recipe(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in whose folder the command is typed, with a file of functions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "beside.py").write_text("BASE = 1.0\n", encoding="utf-8")
    return write()


def stage(recipe: Path, *overrides: str) -> RLStage:
    result = load_recipe(recipe, overrides).stages["zero"]
    assert isinstance(result, RLStage)
    return result


# Keys ----------------------------------------------------------------------------------------------


def test_names_and_weights_of_all_parts(recipe: Path) -> None:
    functions = '[{path="a.b.c"}, {path="d.py:e.f", weight=0.0}, {path="g:h", name="i", weight=-2}]'
    result = stage(
        recipe,
        f"zero.rewards.functions={functions}",
        'zero.rewards.models=[{model="m", name="taste", weight=0.5}]',
        f"zero.rewards.judge={{{JUDGE}, weight=3.0}}",
        "zero.rewards.repetition={weight=0.25}",
        "zero.rewards.overlong_cache=4",
    ).rewards.parts
    assert {name: weight for name, weight in result.items() if name not in ("language", "random")} == {
        "accuracy": 1.0, "format": 1.0, "overlong": 1.0, "repetition": 0.25, "judge": 3.0,
        "c": 1.0, "f": 0.0, "i": -2.0, "taste": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ('functions=[{path="mine"}]', ["path = 'mine' names no function", "FILE.py:NAME"]),
        ('functions=[{path="mine.py"}, {path="x"}]', ["functions.1", "path = 'x'"]),
        ('functions=[{path="a.b"}, {path="c.b"}]', ["two functions or models", "'b'"]),
        ('functions=[{path="my.accuracy"}]', ["named 'accuracy'", "another name"]),
        ('functions=[{path="a.b", name="with space"}]', ["name", "with space"]),
        ('functions=[{path="a.b", wieght=2}]', ["unknown key", "did you mean 'weight'"]),
        ('models=[{model="m", name="helpful"}]', ["named 'helpful'"]),
        ("repetition={ngram=0}", ["repetition.ngram", "greater than or equal to 1"]),
        ("cosine={legnth=3}", ["unknown key", "did you mean 'length'"]),
        (f"judge={{{JUDGE}, weight=0}}", ["judge.weight", "greater than 0"]),
        ("accuracy=0", []),
    ],
)
def test_what_cannot_be_read(override: str, parts: list[str], recipe: Path) -> None:
    if not parts:
        nothing = ["zero.rewards.accuracy=0", "zero.rewards.format=0"]
        measured = 'zero.rewards.functions=[{path="a.b", weight=0}]'
        with pytest.raises(ConfigError, match="every reward would be 0"):
            stage(recipe, *nothing, measured)
        assert stage(recipe, *nothing, measured.replace("=0}", "=-1}")).rewards.parts["b"] == -1
        return
    with pytest.raises(ConfigError) as caught:
        stage(recipe, f"zero.rewards.{override}")
    for part in parts:
        assert part in str(caught.value)


# Before any work -----------------------------------------------------------------------------------


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ('functions=[{path="nine.py:f"}]', ["functions[0]", "'nine.py:f'", "no file nine.py"]),
        ('functions=[{path="mine.py:shrt"}]', ["mine.py has no 'shrt'", "did you mean 'short'"]),
        ('functions=[{path="not_there.f"}]', ["importing not_there raised ModuleNotFound"]),
        ('functions=[{path="mine.py:solved"}]', ["asks for 'proof'", "no column of problem"]),
        (
            'functions=[{path="mine.py:factory", arguments={skale=1}}]',
            ["does not take these arguments", "skale"],
        ),
        ('judge={url="http://localhost:1/v1", model="m", key_env="DIANOIA_NO_KEY", grades="all"}',
         ["rewards.judge.key_env = 'DIANOIA_NO_KEY'"]),
        (f"judge={{{JUDGE}}}", ["rewards.judge", "would never be called", 'grades = "all"']),
        ('models=[{model="miniature-base"}]', ["rewards.models (model) = 'miniature-base'", "one number"]),
        ('models=[{model="base"}]', ["is a stage of kind 'pretrain'"]),
    ],
)  # fmt: skip
def test_what_would_stop_later_is_refused_now(
    override: str, parts: list[str], planned: bool, recipe: Path
) -> None:
    with pytest.raises(UserError) as caught:
        check_inputs(load_recipe(recipe, [f"zero.rewards.{override}"]), planned)
    assert "stages.zero" in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_tags_need_tags(recipe: Path) -> None:
    options = ["zero.rewards.tags={}", "zero.template=plain"]
    with pytest.raises(ConfigError, match=r"zero.rewards.tags with template = 'plain'"):
        check_inputs(load_recipe(recipe, options))


def test_what_no_rule_can_grade_needs_a_judge(recipe: Path, tmp_path: Path) -> None:
    rows = [{"question": f"Why {n}?", "answer": "rain", "verifier": "reference"} for n in range(40)]
    (tmp_path / "free.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = ["zero.problems=free.jsonl"]
    with pytest.raises(ConfigError, match=r"verifier 'reference'.*rewards.judge"):
        check_inputs(load_recipe(recipe, options))
    check_inputs(load_recipe(recipe, [*options, f"zero.rewards.judge={{{JUDGE}}}"]))


def test_a_function_is_looked_up_where_the_problems_are_not_there_yet(recipe: Path) -> None:
    options = ["zero.problems=later.jsonl", f"zero.rewards.functions=[{FUNCTION}]"]
    check_inputs(load_recipe(recipe, options), planned=True)
    with pytest.raises(ConfigError, match="no 'shrt'"):
        broken = options[1].replace("short", "shrt")
        check_inputs(load_recipe(recipe, [options[0], broken]), planned=True)


# The plan ------------------------------------------------------------------------------------------


def test_the_plan_tells_the_sum(recipe: Path) -> None:
    plain = planned_work(recipe)["zero (rl)"]
    assert "reward = " not in plain
    work = planned_work(
        recipe,
        f"zero.rewards.functions=[{FUNCTION}, {{path='mine.py:factory', arguments={{scale=1}}, weight=0}}]",
        f"zero.rewards.judge={{{JUDGE}, grades='all'}}",
        "zero.rewards.repetition={weight=0.25}",
    )["zero (rl)"]
    assert (
        "reward = accuracy + format + repetition x 0.25 + judge + short x 0.5 (mine.py:short) + factory x 0 "
        "(mine.py:factory); at most 96 grading requests to big"
    ) in work


# Fingerprints --------------------------------------------------------------------------------------


def test_the_files_of_a_function_are_part_of_the_fingerprint(recipe: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    write_json(run.stage("base").begun, {"hash": "of-base"})
    option = f"zero.rewards.functions=[{FUNCTION}]"

    def reasons(*overrides: str) -> list[str]:
        changed = load_recipe(recipe, overrides)
        written_keys = changed.stages["zero"].model_dump(mode="json", exclude_defaults=True)
        return differences(before, fingerprint("zero", changed, run), written_keys)

    before = fingerprint("zero", load_recipe(recipe, [option]), run)
    assert {"mine.py", "beside.py"} <= set(before.files)
    assert reasons(option) == []
    (tmp_path / "beside.py").write_text("BASE = 2.0\n", encoding="utf-8")
    assert reasons(option) == ["the file beside.py changed"]
    (tmp_path / "mine.py").write_text(MINE + "\n", encoding="utf-8")
    assert reasons(option) == ["the file beside.py changed", "the file mine.py changed"]
    (result,) = reasons(option.replace("0.5", "0.25"))[:1]
    assert "rewards.functions.0.weight: 0.5 -> 0.25" in result


def test_an_argument_counts_whatever_it_is_called(recipe: Path, tmp_path: Path) -> None:
    """`timeout` of an endpoint is what a run costs; `timeout` of a factory may be anything."""
    run = RunDirectory(tmp_path / "run")
    write_json(run.stage("base").begun, {"hash": "of-base"})
    option = "zero.rewards.functions=[{path='mine.py:factory', arguments={timeout=1}}]"
    before = fingerprint("zero", load_recipe(recipe, [option]), run)
    now = load_recipe(recipe, [option.replace("timeout=1", "timeout=2")])
    written_keys = now.stages["zero"].model_dump(mode="json", exclude_defaults=True)
    (result,) = differences(before, fingerprint("zero", now, run), written_keys)
    assert "rewards.functions.0.arguments.timeout: 1 -> 2" in result

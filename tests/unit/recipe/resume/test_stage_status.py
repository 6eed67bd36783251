"""Where stages stand and what a command does with them, on run directories of nothing but records."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.files import read_json, write_json
from dianoia.recipe import Recipe, load_recipe
from dianoia.recipe.graph import dependents, upstream
from dianoia.recipe.resume.fingerprint import fingerprint, fingerprint_record
from dianoia.recipe.resume.stage_status import (
    Action,
    StageSelection,
    Status,
    stage_statuses,
    stage_tasks,
)
from dianoia.storage.run_directory import RunDirectory
from tests.unit.recipe.conftest import TEXT

Write = Callable[..., Path]
OTHER = """
[stages.other]
kind = "rl"
start = "miniature-base"
problems = "miniature/math"
steps = 2
group_size = 4
problems_per_rollout = 8
[stages.other.sampling]
max_tokens = 24
[stages.other.optimizer]
learning_rate = 1e-2
"""


class Run:
    """A recipe of four stages: base, zero on base, evaluation of both, and other by itself."""

    def __init__(self, recipe: Path, directory: RunDirectory) -> None:
        self.file, self.directory, self.times = recipe, directory, 0

    def recipe(self, *overrides: str) -> Recipe:
        return load_recipe(self.file, overrides)

    def begin(self, name: str, *overrides: str) -> None:
        """Begin a stage like the pipeline; each beginning has a record of its own."""
        self.times += 1
        recipe, stage = self.recipe(*overrides), self.directory.stage(name)
        stage.start_from_scratch()
        write_json(
            stage.begun,
            fingerprint_record(fingerprint(name, recipe, self.directory), str(self.times)),
        )
        write_json(self.directory.recipe, recipe.model_dump(mode="json"))

    def finish(self, *names: str, overrides: Sequence[str] = ()) -> None:
        for name in names:
            self.begin(name, *overrides)
            stage = self.directory.stage(name)
            write_json(stage.manifest, {**read_json(stage.begun), "seconds": 1.0})

    def plan(self, *overrides: str, **choice: object) -> dict[str, str]:
        """Return the reason of each stage's task."""
        selection = StageSelection(**choice)  # type: ignore[arg-type]
        return {
            task.name: task.reason
            for task in stage_tasks(self.recipe(*overrides), self.directory, selection)
        }

    def states(self, *overrides: str) -> list[Status]:
        return [
            stage.status
            for stage in stage_statuses(self.recipe(*overrides), self.directory).values()
        ]


ALL = ("base", "zero", "evaluation", "other")


@pytest.fixture
def run(write: Write, tmp_path: Path) -> Run:
    return Run(write(TEXT + OTHER), RunDirectory(tmp_path / "run"))


def test_who_reads_whom(run: Run) -> None:
    recipe = run.recipe()
    assert [upstream(name, recipe) for name in ALL] == [[], ["base"], ["base", "zero"], []]
    assert [dependents(name, recipe) for name in ALL] == [
        ["zero", "evaluation"],
        ["evaluation"],
        [],
        [],
    ]


def test_a_run_from_its_beginning_to_its_end(run: Run) -> None:
    assert run.plan() == dict.fromkeys(ALL, "runs")
    run.finish("base")
    run.begin("zero")
    assert run.plan() == {
        "base": "done, skipped",
        "zero": "starts from scratch: it was interrupted before it saved a state",
        "evaluation": "runs",
        "other": "runs",
    }
    assert run.states() == [Status.DONE, Status.INTERRUPTED, Status.NOT_RUN, Status.NOT_RUN]
    run.finish("zero", "evaluation", "other")
    assert run.plan() == dict.fromkeys(ALL, "done, skipped")


def test_how_far_a_stage_came(run: Run) -> None:
    run.begin("base")
    stage = run.directory.stage("base")
    write_json(stage.state_step, {"step": 1500})
    assert run.plan()["base"] == "resumes from step 1,500"
    stage.state.rename(stage.path / ".state.old")  # killed between two renames
    assert run.plan()["base"] == "resumes from step 1,500"
    stage.state_step.unlink()
    for number in range(2):
        write_json(stage.path / "parts" / f"{number}.json", {})
    (stage.path / "parts" / ".2.json.part").touch()
    assert run.plan()["base"] == "resumes after 2 finished parts"
    assert run.plan("base.tokens=9")["base"].startswith("runs again: its configuration changed")


def test_a_changed_stage_and_what_depends_on_it_run_again(run: Run) -> None:
    run.finish(*ALL)
    assert run.plan("zero.steps=8") == {
        "base": "done, skipped",
        "zero": "runs again: its configuration changed (steps: 6 -> 8)",
        "evaluation": "runs again: zero is run again",
        "other": "done, skipped",
    }
    assert run.plan("evaluation.limit=3")["zero"] == "done, skipped"
    assert run.states("base.tokens=9") == [Status.OUT_OF_DATE] * 3 + [Status.DONE]
    run.finish("zero", overrides=["zero.steps=8"])
    assert run.plan("zero.steps=8")["evaluation"] == "runs again: zero was run again"
    assert run.plan()["evaluation"] == "runs again: zero is run again", "said once"


def test_going_back_to_what_was_done_before_is_a_change_too(run: Run) -> None:
    run.finish(*ALL)
    run.finish("zero", overrides=["zero.steps=8"])
    assert run.plan()["zero"] == "runs again: its configuration changed (steps: 8 -> 6)"


def test_a_folder_that_was_deleted_is_run_and_what_read_it_again(run: Run) -> None:
    run.finish(*ALL)
    run.directory.stage("zero").begun.unlink()
    run.directory.stage("zero").manifest.unlink()
    assert run.plan()["zero"] == "runs"
    assert run.plan()["evaluation"] == "runs again: zero is run again"


def test_a_folder_that_says_nothing_is_run_again(run: Run) -> None:
    run.finish(*ALL)
    write_json(run.directory.stage("other").manifest, {"seconds": 3.0})
    assert run.plan()["other"] == "runs again: nothing in its folder says what it was made from"


# --force, --from, --only ---------------------------------------------------------------------------


def test_force(run: Run) -> None:
    run.finish("base", "zero", "evaluation")
    assert run.plan(force=True) == {
        **dict.fromkeys(("base", "zero", "evaluation"), "runs again: --force"),
        "other": "runs",
    }
    assert run.plan(force=True, only=("zero",)) == {
        "base": "left alone, not asked for: done",
        "zero": "runs again: --force",
        "evaluation": "left alone, not asked for: out of date (zero is run again)",
        "other": "left alone, not asked for: not run",
    }
    run.begin("other")
    assert run.plan(force=True)["other"] == "runs again: --force", "from nothing, not from a state"


def test_from_a_stage_on(run: Run) -> None:
    run.finish(*ALL)
    assert run.plan(start="zero") == {
        "base": "done, skipped",
        "zero": "runs again: --from zero",
        "evaluation": "runs again: --from zero",
        "other": "done, skipped",
    }
    run.directory.stage("other").manifest.unlink()
    assert run.plan(start="zero")["other"].startswith("starts from scratch"), (
        "the rest of the recipe as ever"
    )


def test_only_some(run: Run) -> None:
    run.finish("base")
    plan = stage_tasks(run.recipe(), run.directory, StageSelection(only=("zero",)))
    assert [task.action for task in plan] == [Action.LEAVE, Action.RUN, Action.LEAVE, Action.LEAVE]
    run.finish("zero")
    assert run.plan(only=("zero",))["zero"] == "done, skipped"
    assert run.plan(only=("evaluation", "zero"))["evaluation"] == "runs"


@pytest.mark.parametrize(
    ("done", "overrides", "choice", "message"),
    [
        ((), (), {"only": ("zero",)},
         "--only zero: zero reads the stage 'base', which is not run; to run that too: dianoia run r.toml --only "
         "base,zero"),
        ((), (), {"only": ("evaluation",)}, "--only base,zero,evaluation"),
        (("base",), (), {"only": ("evaluation",), "force": True},
         "evaluation reads the stage 'zero', which is not run; to run that too: dianoia run r.toml --only "
         "zero,evaluation --force"),
        (("base", "zero"), ("zero.steps=8",), {"only": ("evaluation",)},
         "'zero', which is out of date (its configuration changed (steps: 6 -> 8)); to run"),
        (ALL, (), {"only": ("base", "evaluation"), "force": True},
         "'zero', which is out of date (base is run again); to run that too: dianoia run r.toml --only "
         "base,zero,evaluation --force"),
        ((), (), {"only": ("zro",)}, "--only zro: the recipe has no stage 'zro' (did you mean 'zero'?); its stages: base,"),
        ((), (), {"only": ("zero", "")}, "--only zero,: the recipe has no stage ''"),
        ((), (), {"start": "evaluations"}, "--from evaluations: the recipe has no stage 'evaluations' (did you mean 'evaluation'?)"),
        ((), (), {"start": "zero", "only": ("zero",)}, "--from zero with --only"),
        ((), (), {"start": "zero", "force": True}, "--from zero with --force"),
        (("base",), ("seed=2",), {}, "holds a run with seed = 1, and this one has seed = 2"),
        (("base",), ("name=new",), {}, "holds a run of the recipe 'tiny', and this one is 'new'"),
    ],
)  # fmt: skip
def test_what_is_refused(
    done: Sequence[str],
    overrides: Sequence[str],
    choice: dict[str, object],
    message: str,
    run: Run,
) -> None:
    run.finish(*done)
    with pytest.raises(ConfigError) as caught:
        run.plan(*overrides, command="dianoia run r.toml", **choice)
    assert message in str(caught.value)


def test_an_interrupted_input_is_not_there_yet(run: Run) -> None:
    run.begin("base")
    with pytest.raises(ConfigError, match="'base', which is interrupted; to run that too"):
        run.plan(only=("zero",))


def test_another_seed_by_force(run: Run) -> None:
    run.finish(*ALL)
    assert set(run.plan("seed=2", force=True).values()) == {"runs again: --force"}

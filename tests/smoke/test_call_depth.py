"""How many calls lead from the command to the loss: a reader who follows a step must be able to remember them."""

import json
from pathlib import Path

import pytest

from dianoia.cli import main

DEPTH = 9
"""Most calls from `cli.main.main`, the command, to the policy's loss."""
# A reward function runs in the process of the stage, so it can look at the stack there.
REWARD = '''
import json, sys
from pathlib import Path

def spy(completions, **columns):
    """Write the functions of the package that are at work when the loss is first called."""
    policy = sys.modules["dianoia.learner.policy"]
    original = policy.policy_loss
    if original.__name__ == "policy_loss":
        def recorded(*arguments, **options):
            policy.policy_loss = original
            frame, names = sys._getframe(1), [original.__qualname__]
            while frame is not None:
                code = frame.f_code
                module = frame.f_globals.get("__name__", "")
                if module.startswith("dianoia.") and code.co_name != "<module>":
                    names.insert(0, module.removeprefix("dianoia.") + ":" + code.co_qualname)
                frame = frame.f_back
            Path(__file__).with_name("stack.json").write_text(json.dumps(names))
            return original(*arguments, **options)
        policy.policy_loss = recorded
    return [len(text) / 100 for text in completions]
'''


@pytest.fixture
def recipe(tiny_zero: Path) -> Path:
    """Two small RL stages, whose reward writes the stack into a file."""
    (tiny_zero.parent / "spy.py").write_text(REWARD, encoding="utf-8")
    text = tiny_zero.read_text(encoding="utf-8").partition("[stages.evaluation]")[0]
    reward = f'[[stages.zero.rewards.functions]]\npath = "{tiny_zero.parent.as_posix()}/spy.py:spy"'
    tiny_zero.write_text(f"{text}\n{reward}\n", encoding="utf-8")
    return tiny_zero


def stack(recipe: Path, jobs: int) -> list[str]:
    """Return the package's functions from the command, or the stage's process, down to the loss."""
    out = recipe.parent / f"run-{jobs}"
    sizes = ["--set", "zero.steps=2", "--set", "zero.progress.problems=0"]
    assert main(["run", str(recipe), "--out", str(out), "--jobs", str(jobs), *sizes]) == 0
    file = recipe.parent / "stack.json"
    names: list[str] = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return names


def test_from_the_command_to_the_loss(recipe: Path) -> None:
    alone = stack(recipe, 1)
    assert alone[:2] == ["cli.main:main", "cli.run:run"] and alone[-1] == "policy_loss"
    assert "stages.rl:ReinforcementLearning.train_on_rollout" in alone, "four verbs in one function"
    assert len(alone) - 1 <= DEPTH, "\n".join(alone)


@pytest.mark.slow
def test_a_process_of_its_own_goes_the_same_way(recipe: Path) -> None:
    """With several jobs a stage has a process of its own; from `run_stage` on the way is the same."""
    alone, several = stack(recipe, 1), stack(recipe, 2)
    stage = "pipeline.stage:run_stage"
    assert several[several.index(stage) :] == alone[alone.index(stage) :]
    assert {name.split(":")[0] for name in several[: several.index(stage)]} <= {
        "sandbox.interpreter",
        "pipeline.fork_server",
        "pipeline.stage_process",
    }

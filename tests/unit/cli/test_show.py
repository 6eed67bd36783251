"""`dianoia show` and `dianoia runs` on a run directory that is written by hand."""

import json
from pathlib import Path

import pytest

from dianoia.base.files import write_json
from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.cli import main
from dianoia.storage.rollout_table import write_rollouts
from dianoia.storage.run_directory import RunDirectory

STAGES = {
    "data": {"kind": "sample", "start": "miniature-base"},
    "zero": {"kind": "rl", "start": "miniature-base", "steps": 2, "template": "r1-zero"},
    "evaluation": {"kind": "evaluate", "checkpoints": ["miniature-base", "zero"]},
    "later": {"kind": "sft", "start": "zero"},
}


def rollout(problem: str, text: str, status: RolloutStatus, fault: str | None = None) -> Group:
    about = Problem(problem, f"Question {problem}?", "5", "number")
    thought = "2+3=5" if status is RolloutStatus.FINISHED else None
    completion = Completion((1,), (-0.5,), True)
    made = Rollout(about, 0, (3,), completion, text, status, thought, fault=fault)
    return Group(about, (made,), (Score(1.5, {"accuracy": 1.0, "format": 0.5, "none": None}),))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = RunDirectory(tmp_path / "hand")
    write_json(directory.recipe, {"name": "hand", "seed": 7, "stages": STAGES})
    states = {"data": "done", "zero": "done", "evaluation": "done", "later": "interrupted"}
    accuracy = {"pass@1": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}, "thought_tokens": {"value": 7.0, "low": 6.0, "high": 8.0, "n": 10}}  # fmt: skip
    write_json(
        directory.results,
        {
            "states": states,
            "evaluations": {"zero": {"math": accuracy}},
            "by_difficulty": {"zero": {"math": {"2": accuracy, "3": accuracy}}},
        },
    )
    for name in STAGES:
        stage = directory.stage(name)
        write_json(stage.begun, {})
        if name != "later":
            write_json(stage.manifest, {"seconds": 65.0})
    write_json(directory.stage("later").failure, {"error": "the loss is [NaN]"})
    write_json(directory.stage("data").sampling, {"sampled": 100, "kept": 40})
    zero = directory.stage("zero")
    rows = [{"step": 1, "reward": 1.0, "heldout/pass@1": 0.25}, {"step": 2, "reward": 1.5}]
    zero.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    zero.diagnoses.write_text(
        '{"step": 2, "code": "flat", "message": "All equal", "advice": "Wait."}\n'
    )
    zero.checkpoint.mkdir()
    (zero.checkpoint / "config.json").write_text("{}")
    finished = rollout("a", "<think>2+3=5</think><answer>5</answer>", RolloutStatus.FINISHED)
    write_rollouts(zero.rollouts("step-00001"), [finished], step=1)
    malformed = rollout("b", "no tags at all", RolloutStatus.MALFORMED, "no_tags")
    write_rollouts(zero.rollouts("step-00002"), [malformed, finished], step=2)
    of_zero = directory.stage("evaluation").rollouts("zero")
    write_rollouts(of_zero, [finished], checkpoint="zero")
    return directory.path


def test_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(run)]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0] == "hand, seed 7: failed"
    assert "zero        50.0 ±10.0" in lines
    assert "level     2     3" in lines and "math   50.0  50.0" in lines
    assert "data        sample    done    1:05  sampled 100  kept 40" in lines
    assert "zero        rl        done    1:05  step 2  heldout/pass@1 0.25  reward 1.5" in lines
    assert "later failed: the loss is [NaN]" in lines
    assert "rollouts of zero" in lines and "Question a?" in lines and "  │ 2+3=5" in lines
    assert "  finished, reward 1.5 (accuracy 1, format 0.5), gold 5" in lines
    assert lines[-1] == f"report     dianoia report {run}"


def test_a_run_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(run), "--json", "-n", "0"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["recipe"], table["state"], table["rollouts"]) == ("hand", "failed", [])
    assert [stage["status"] for stage in table["stages"]] == ["done", "done", "done", "failed"]
    assert table["evaluations"]["zero"]["math"]["pass@1"]["high"] == 0.6


def test_a_stage(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(run), "zero"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("zero (rl): done in 1:05\nstart miniature-base, template r1-zero, steps 2\n")  # fmt: skip
    assert "pass@1          50.0 ±10.0" in shown and "thought_tokens    7.0 ±1.0" in shown
    assert "heldout/pass@1  0.25\n" in shown and "step 2: flat: All equal. Wait." in shown
    assert "Question b?\n  malformed (no_tags), reward 1.5" in shown
    assert shown.index("Question b?") < shown.index("Question a?"), "those of the last step"


def test_rollouts_of_a_step_and_of_a_checkpoint(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(run), "zero", "--step", "1", "--json"]) == 0
    assert [row["step"] for row in json.loads(capsys.readouterr().out)["rollouts"]] == [1]
    assert main(["show", str(run), "evaluation", "--checkpoint", "zero", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert [row["checkpoint"] for row in table["rollouts"]] == ["zero"]
    assert list(table["evaluations"]) == ["zero"]
    assert table["by_difficulty"]["zero"]["math"]["3"]["pass@1"]["high"] == 0.6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zeor"], "did you mean 'zero'"),
        (["zero", "--step", "3"], "kept no rollouts of step 3; it has those of 1, 2"),
        (["evaluation", "--checkpoint", "zeor"], "did you mean 'zero'"),
    ],
)
def test_refusals(
    run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(run), *words]) == 2
    assert message in capsys.readouterr().err


def test_runs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(run.parent)]) == 0
    header, row, _, reason = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "seed", "state", "stages", "best", "changed", "size"]
    assert row.split()[:9] == ["hand", "7", "failed", "3/4", "math", "50.0", "%", "(zero)", row.split()[8]]  # fmt: skip
    assert reason == "hand: failed at later: the loss is [NaN]"
    assert main(["runs", str(run), "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert table["path"] == str(run) and table["best"]["value"] == 0.5


def test_a_run_that_another_machine_left(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / ".lock").write_text("4711 gpu-7")
    for command in (["show", str(run)], ["runs", str(run)]):
        assert main(command) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert "running" in text and "process 4711 on gpu-7 since 2" in text
        assert "last file written 2" in text
        assert f"rm {run}/.lock".replace(" ", "") in text.replace(" ", ""), "a long path is wrapped"
    assert main(["show", str(run), "--json", "-n", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["holder"]["host"] == "gpu-7"
    (run / ".lock").unlink()
    assert main(["show", str(run)]) == 0
    assert capsys.readouterr().out.startswith("hand, seed 7: failed")


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert "no runs; `dianoia run miniature-zero`" in " ".join(capsys.readouterr().out.split())
    assert main(["runs", str(tmp_path / "none")]) == 2

"""PPO by the real command on a tiny model: what it writes, one seed, going on, and the recipe as shipped."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from dianoia.cli import main
from dianoia.metrics.recorder import Recorder

Read = Callable[[Path], list[dict[str, object]]]
PPO = (
    "zero.algorithm.name=ppo",
    "zero.algorithm.gae_lambda=0.95",
    "zero.algorithm.kl_in=reward",
    "zero.algorithm.kl_coefficient=0.05",
    "zero.algorithm.value_clip=0.2",
    "zero.algorithm.value_learning_rate=2e-2",
    "zero.rewards.random=1.0",  # so that there is something to foresee, and to fail to
    "evaluation.limit=1",
)
VALUE = ("value_loss", "value_grad_norm", "values/mean", "advantages/mean", "advantages/std")


def run(recipe: Path, out: Path, *extra: str) -> int:
    options = [part for option in (*PPO, *extra) for part in ("--set", option)]
    return main(["run", str(recipe), "--out", str(out), *options])


def test_rows_tell_of_the_value_model(tiny_zero: Path, tmp_path: Path, metrics: Read) -> None:
    assert run(tiny_zero, tmp_path / "run") == run(tiny_zero, tmp_path / "again") == 0
    rows = metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(isinstance(row[name], float) for row in rows[1:] for name in VALUE)
    assert [row["values/mean"] for row in rows[1:3]] == [0.0, 0.0], "values begin at 0"
    assert rows[3]["values/mean"] != 0.0
    assert rows[2]["value_clip_ratio"] != rows[1]["value_clip_ratio"] == 0.0
    assert metrics(tmp_path / "again") == rows
    kept_rows = pq.read_table(tmp_path / "run/stages/zero/rollouts/step-00000.parquet").to_pylist()
    assert {row["advantage"] for row in kept_rows} == {None}, "one a token stands in no column"


def test_going_on_is_as_if_never_stopped(
    tiny_zero: Path, tmp_path: Path, metrics: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tiny_zero, tmp_path / "whole") == 0
    write = Recorder.write

    def write_then_die(self: Recorder, step: int, row: object) -> None:
        write(self, step, row)  # type: ignore[arg-type]
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "write", write_then_die)
        assert run(tiny_zero, tmp_path / "cut") == 130
    assert run(tiny_zero, tmp_path / "cut") == 0
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    weights = [
        load_file(tmp_path / name / "stages/zero/checkpoint/model.safetensors")
        for name in ("whole", "cut")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_groups_of_one_learn(tiny_zero: Path, tmp_path: Path, metrics: Read) -> None:
    assert run(tiny_zero, tmp_path / "run", "zero.group_size=1") == 0
    rows = metrics(tmp_path / "run")
    assert rows[1]["frac_reward_zero_std"] == 1.0
    assert all(float(row["grad_norm"]) > 0 for row in rows[1:])  # type: ignore[arg-type]
    assert (
        not (tmp_path / "run/stages/zero/diagnoses.jsonl")
        .read_text(encoding="utf-8")
        .count("uniform")
    )


def test_a_broken_value_stops_and_leaves_its_rollouts(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ("zero.optimizer.max_grad_norm=1e-9", "zero.optimizer.stop_grad_norm=1e-8")
    assert run(tiny_zero, tmp_path / "run", *limits) == 2
    stderr = capsys.readouterr().err
    assert "value model's gradient norm" in stderr and "value_learning_rate (now 0.02)" in stderr
    assert (tmp_path / "run/stages/zero/rollouts/stopped-00000.parquet").exists()

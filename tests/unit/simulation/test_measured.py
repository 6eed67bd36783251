"""A finished stage, its lengths and its times."""

from pathlib import Path

import numpy as np
import pytest

from dianoia.base.errors import ConfigError
from dianoia.hardware.machine import Machine
from dianoia.simulation.measured import (
    AS_PLANNED,
    finished_stage,
    fitted_lengths,
    measured_factors,
    measured_rollouts,
    observed_lengths,
)


@pytest.fixture(autouse=True)
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine("this CPU", 16e9, 1, 1e11, 1e11, None)
    monkeypatch.setattr("dianoia.simulation.measured.this_machine", lambda _: machine)


def test_lengths_of_a_run_are_those_of_its_groups(finished_run: Path) -> None:
    stage = finished_run / "stages" / "zero"
    observed = observed_lengths(stage)
    assert len(observed.groups) == 32 and {len(group) for group in observed.groups} == {16}
    fitted = fitted_lengths(stage, 192)
    assert (fitted.between, fitted.within) == (pytest.approx(0.3, abs=0.1), pytest.approx(0.6, abs=0.05))  # fmt: skip
    assert fitted.limit == 192 and np.exp(fitted.location) == pytest.approx(20, rel=0.15)


def test_the_first_rollout_only_warms_up(finished_run: Path) -> None:
    rollouts = measured_rollouts(finished_run / "stages" / "zero")
    assert [rollout.mean_length for rollout in rollouts] == [30, 40, 50]
    assert rollouts[0].total == pytest.approx(512 * (6 * 30e-6 * 30 + 0.5e-3))


def test_several_steps_of_a_rollout_are_added(tmp_path: Path) -> None:
    row = '{"step": 1, "generate_seconds": 2, "score_seconds": 1, "update_seconds": 3, "completions/mean_length": 9}\n'
    rows = 2 * (row + '{"step": 2, "update_seconds": 4}\n')
    # A kill has cut the last line.
    (tmp_path / "metrics.jsonl").write_text(rows + '{"step": 3, "upda')
    (rollout,) = measured_rollouts(tmp_path)
    assert (rollout.updating, rollout.total) == (7, 10)


def test_factors_make_the_sums_equal(finished_run: Path) -> None:
    stage = finished_stage("--measured", f"{finished_run}:zero")
    factors = measured_factors(stage)
    measured, predicted = stage.measured(), stage.predicted(factors)
    for part in ("sampling", "judging", "updating"):
        sums = [sum(getattr(row, part) for row in rows) for rows in (measured, predicted)]
        # the optimizer is bound by memory and not by arithmetic, which alone is corrected
        assert sums[1] == pytest.approx(sums[0], rel=1e-3), part
    # 30 microseconds per token of 0.9 M parameters are what the plan's constants say, within a quarter
    assert factors.sampling == pytest.approx(1.0, abs=0.25)
    assert AS_PLANNED.sampling == 1


def test_a_run_that_cannot_be_read_is_refused(finished_run: Path, tmp_path: Path) -> None:
    for text, message in (
        (f"{finished_run}:dev1", r"no rl stage 'dev1' with metrics \(it has: zero\)"),
        (str(tmp_path / "nowhere"), "is not a run directory"),
    ):
        with pytest.raises(ConfigError, match=message):
            finished_stage("--lengths", text)
    assert finished_stage("--lengths", str(finished_run)).folder.name == "zero"
    (finished_run / "stages" / "zero" / "metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match="--measured .*have 0 rollouts"):
        finished_stage("--measured", str(finished_run)).measured()
    (finished_run / "stages/zero/rollouts/step-00000.parquet").unlink()
    with pytest.raises(ConfigError, match=r"--lengths .*has no rollouts"):
        observed_lengths(finished_run / "stages" / "zero")

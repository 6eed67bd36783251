"""An RL stage whose rollouts servers draw, or that are drawn ahead: the results of this process, bit for bit."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from dianoia.base.progress import Board
from dianoia.config import RLStage
from dianoia.models.loading import load_model
from dianoia.stages import rl
from dianoia.stages.context import StageContext
from dianoia.stages.rl import ReinforcementLearning
from dianoia.storage.run_directory import StageDirectory
from tests.unit.rollout_servers import Server, engine_of, serving

STEPS = 3


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with serving(engine_of(load_model(folder), source=folder)) as (running_server,):
        yield running_server


def context_in(path: Path) -> StageContext:
    directory = StageDirectory(path)
    directory.prepare()
    progress = Board(Console(file=io.StringIO())).stage("zero")
    progress.set_total(STEPS)
    return StageContext("zero", directory, 3, torch.device("cpu"), Path, progress)


def stage(folder: Path, rollouts: dict[str, Any] | None = None, **table: Any) -> RLStage:
    return RLStage(
        **{
            "kind": "rl",
            "start": folder.as_posix(),
            "problems": "miniature/math",
            "steps": STEPS,
            "group_size": 3,
            "problems_per_rollout": 2,
            "sampling": {"max_tokens": 6},
            # A coin, so that there is something to learn from.
            "rewards": {"random": 1.0},
            "algorithm": {"importance_cap": 2.0},
            "optimizer": {"learning_rate": 1e-2},
            "progress": {"problems": 2, "every": 2, "samples": 2, "rollouts_every": 1},
            "rollouts": rollouts or {},
            **table,
        }
    )


def results(path: Path) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """Metrics without times, and the weights of the checkpoint."""
    rows = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    metrics = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]
    return metrics, load_file(path / "checkpoint" / "model.safetensors")


def same(first: Path, second: Path) -> bool:
    (rows, weights), (other_rows, other_weights) = results(first), results(second)
    return rows == other_rows and all(
        torch.equal(tensor, other_weights[name]) for name, tensor in weights.items()
    )


def served_by(server: Server, tmp_path: Path, **options: Any) -> dict[str, Any]:
    return {
        "engine": "vllm",
        "servers": [server.url],
        "weights": str(tmp_path / "weights"),
        "concurrency": 4,
        **options,
    }


@pytest.mark.parametrize("staleness", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_servers_give_the_results_of_this_process(
    staleness: int, server: Server, folder: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    rl.run(stage(folder, {"staleness": staleness}), context_in(here))
    rollouts = served_by(server, tmp_path, staleness=staleness)
    rl.run(stage(folder, rollouts), context_in(there))
    assert same(here, there)
    rows, _ = results(there)
    ages = [row.get("sampling/weights_age/max") for row in rows[1:]]
    assert ages == {0: [None] * STEPS, 2: [0, 1, 2]}[staleness]
    versions = [
        pq.read_table(file, columns=["weights_version"]).to_pydict()["weights_version"]
        for file in sorted((there / "rollouts").glob("step-*.parquet"))
    ]
    expected = {0: [0, 1, 2], 2: [0, 0, 0]}[staleness]
    assert versions == [[version] * 6 for version in expected]
    assert not [*(tmp_path / "weights").iterdir()]


@pytest.mark.slow
def test_problems_that_dynamic_sampling_adds_are_drawn_with_the_newest_weights(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    table = {"algorithm": {"importance_cap": 2.0, "dynamic_sampling": True}}
    rl.run(stage(folder, {"staleness": 2}, **table), context_in(here))
    rl.run(stage(folder, served_by(server, tmp_path, staleness=2), **table), context_in(there))
    assert same(here, there)
    means = [row["sampling/weights_age/mean"] for row in results(here)[0][1:]]
    assert means[2] < 2, means


def test_without_staleness_and_servers_nothing_is_recorded_besides(
    folder: Path, tmp_path: Path
) -> None:
    context = context_in(tmp_path)
    rl.run(stage(folder), context)
    assert not any("weights_age" in key for row in results(tmp_path)[0] for key in row)
    (file, *_) = (tmp_path / "rollouts").glob("*.parquet")
    assert "weights_version" not in pq.read_schema(file).names


@pytest.mark.parametrize("minibatches", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stage_that_draws_ahead_resumes_as_if_never_stopped(
    minibatches: int, server: Server, folder: Path, tmp_path: Path
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    table = {"minibatches": minibatches, "steps": STEPS * minibatches}
    rl.run(stage(folder, {"staleness": 2}, **table), context_in(whole))
    # Stopped after one rollout in this process and after one more on servers: the buffer goes along.
    for rollouts in {"staleness": 2}, served_by(server, tmp_path, staleness=2):
        training = ReinforcementLearning(stage(folder, rollouts, **table), context_in(stopped))
        training.resume()
        training.train_on_rollout()
        training.save()
        training.close()
    rl.run(stage(folder, {"staleness": 2}, **table), context_in(stopped))
    assert same(whole, stopped)


@pytest.mark.slow
def test_adapters_train_over_servers_as_here(server: Server, folder: Path, tmp_path: Path) -> None:
    lora = {"lora": {"rank": 2}}
    here, adapter, merged = (tmp_path / name for name in ("here", "adapter", "merged"))
    rl.run(stage(folder, {"staleness": 1}, **lora), context_in(here))
    for path in (adapter, merged):
        rollouts = served_by(server, tmp_path, staleness=1, lora=path.name)
        rl.run(stage(folder, rollouts, **lora), context_in(path))
        assert same(here, path)
    assert server.engine.models == ["policy"]


def test_a_stage_that_cannot_begin_ends_its_servers(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no learner")

    monkeypatch.setattr(StageContext, "policy_learner", fail)
    with pytest.raises(RuntimeError, match="no learner"):
        rl.run(stage(folder, served_by(server, tmp_path)), context_in(tmp_path / "stage"))
    assert not [*(tmp_path / "weights").iterdir()]

"""A finished run, made from its files."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dianoia.recipe import load_recipe
from dianoia.storage.run_directory import RunDirectory

PER_TOKEN, PER_RESPONSE = 30e-6, 0.5e-3
"""Seconds of the run per token, for sampling, and five times as many for updates; and per response, to judge it."""


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    """A run of miniature-zero: four rollouts of 32 x 16, responses of 20, 30, 40 and 50 tokens in the mean."""
    run = RunDirectory(tmp_path / "run")
    recipe = load_recipe("miniature-zero", ("threads=1",))
    stage = run.stage("zero").path
    (stage / "rollouts").mkdir(parents=True)
    run.recipe.write_text(recipe.model_dump_json())
    (stage / "begun.json").write_text(json.dumps({"threads": 1}))
    random = np.random.default_rng(0)
    tokens = np.exp(3 + 0.3 * random.standard_normal((32, 1)) + 0.6 * random.standard_normal((32, 16)))  # fmt: skip
    columns = {
        "problem": [str(problem) for problem in range(32) for _ in range(16)],
        "tokens": np.clip(tokens, 1, 192).astype(int).flatten(),
    }
    pq.write_table(pa.table(columns), stage / "rollouts" / "step-00000.parquet")
    rows = [{"step": 0, "evaluate_seconds": 1.0}]
    for step, mean in enumerate((20.0, 30.0, 40.0, 50.0)):
        rows.append(
            {
                "step": step + 1,
                "generate_seconds": PER_TOKEN * 512 * mean,
                "score_seconds": PER_RESPONSE * 512,
                "update_seconds": 5 * PER_TOKEN * 512 * mean,
                "completions/mean_length": mean,
            }
        )
    (stage / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run.path

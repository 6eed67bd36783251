"""A run directory as the whole paper in miniature would leave it: seventeen stages, made up from one table.

`python -m tests.unit.report.r1 FOLDER` writes one and its report. Numbers are set so that every claim but the
ninth holds.
"""

import math
import random
import sys
from pathlib import Path
from typing import Any

from dianoia.claims.measures import HELDOUT_ACCURACY, HELDOUT_HELPFUL
from dianoia.recipe import Recipe
from dianoia.storage.run_directory import RunDirectory
from tests.unit.report.conftest import rl_row, write_json, write_lines

TRAINED = {"kind": "rl", "steps": 40, "group_size": 16, "problems_per_rollout": 32,
           "problems": "miniature/reasoning", "sampling": {"max_tokens": 160},
           "optimizer": {"learning_rate": 1e-3}}  # fmt: skip
TAUGHT = {"kind": "sft", "max_length": 256, "tokens_per_step": 8192,
          "optimizer": {"learning_rate": 1e-3}}  # fmt: skip
SAMPLED = {"kind": "sample", "problems": "miniature/reasoning", "prompts": 2048,
           "sampling": {"max_tokens": 160}}  # fmt: skip
REWARDS = {"kind": "reward_model", "start": "miniature-base",
           "optimizer": {"learning_rate": 1e-3}}  # fmt: skip
MEASURED = {"kind": "evaluate", "problems": "miniature/math", "max_tokens": 160}
PREFERENCES = {"helpful": "helpful", "problems": "miniature/helpful", "safety": "safety"}
BASE = "miniature-base"


def taught(start: str, *paths: str) -> dict[str, Any]:
    return {**TAUGHT, "start": start, "datasets": [{"path": path} for path in paths]}


STAGES: dict[str, dict[str, Any]] = {
    "zero": {**TRAINED, "start": BASE},
    "cold-start": {**SAMPLED, "start": "zero", "rewriter": "miniature"},
    "dev1": taught(BASE, "cold-start"),
    "dev2": {**TRAINED, "start": "dev1", "rewards": {"language": 1.0}},
    "reasoning-data": {**SAMPLED, "start": "dev2"},
    "dev3": taught(BASE, "reasoning-data", "general.jsonl"),
    "helpful": {**REWARDS, "data": ["pairs.jsonl"]},
    "safety": {**REWARDS, "data": ["labels.jsonl"], "objective": "pointwise"},
    "r1": {**TRAINED, "start": "dev3", "rewards": {"language": 1.0}},
    "overoptimized": {**TRAINED, "start": "dev3", "rewards": {"language": 1.0}},
    "distilled": taught("miniature-base-small", "reasoning-data", "general.jsonl"),
    "small-zero": {**TRAINED, "start": "miniature-base-small"},
    "ppo": {**TRAINED, "start": BASE, "problems": "miniature/math", "algorithm": {"name": "ppo"}},
    "ppo-095": {**TRAINED, "start": BASE, "problems": "miniature/math",
                "algorithm": {"name": "ppo", "gae_lambda": 0.95}},
    "evaluation-zero": {**MEASURED, "checkpoints": [BASE, "zero", "ppo", "ppo-095", "small-zero", "miniature-base-small"]},
    "evaluation": {**MEASURED, "template": "r1-zero-prefilled",
                   "checkpoints": ["dev1", "dev2", "dev3", "r1", "distilled"]},
}  # fmt: skip
PARTS = {
    "base": BASE, "zero": "zero", "dev1": "dev1", "dev2": "dev2", "dev3": "dev3", "r1": "r1",
    "distilled": "distilled", "small_base": "miniature-base-small", "small_zero": "small-zero",
    "grpo": "zero", "ppo": "ppo", "ppo_095": "ppo-095", "overoptimized": "overoptimized",
}  # fmt: skip
DOMAINS = ("math", "code", "stem", "logic", "general", "near-miss", "safety")
SHARES = {
    BASE: (0.16, 0.11, 0.24, 0.13, 0.10, 0.30, 0.05),
    "zero": (0.95, 0.86, 0.90, 0.84, 0.21, 0.41, 0.08),
    "dev1": (0.71, 0.62, 0.74, 0.60, 0.38, 0.46, 0.10),
    "dev2": (0.94, 0.85, 0.89, 0.81, 0.42, 0.45, 0.12),
    "dev3": (0.93, 0.86, 0.90, 0.82, 0.66, 0.71, 0.24),
    "r1": (0.95, 0.87, 0.91, 0.84, 0.82, 0.88, 0.97),
    "distilled": (0.85, 0.72, 0.80, 0.70, 0.60, 0.65, 0.22),
    "miniature-base-small": (0.07, 0.04, 0.20, 0.06, 0.05, 0.22, 0.03),
    "small-zero": (0.62, 0.50, 0.60, 0.47, 0.12, 0.30, 0.05),
    "ppo": (0.93,), "ppo-095": (0.20,),
}  # fmt: skip
"""pass@1 by domain."""
TOKENS = {BASE: 8.4, "miniature-base-small": 6.0, "zero": 34.0, "dev1": 26.0, "dev2": 38.0, "dev3": 39.0, "r1": 41.0,
          "distilled": 36.0, "small-zero": 22.0, "ppo": 31.0, "ppo-095": 3.0}  # fmt: skip
LANGUAGE = {BASE: 0.98, "zero": 0.88}


def estimate(value: float, n: int = 256, half: float | None = None) -> dict[str, Any]:
    half = 2 * math.sqrt(max(value * (1 - value), 0.002) / n) if half is None else half
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}


def wide(value: float, n: int = 256) -> dict[str, Any]:
    return {"value": value, "low": 0.96 * value, "high": 1.04 * value, "n": n}


def metrics(checkpoint: str, share: float) -> dict[str, Any]:
    gain = min(0.03, 1 - share)
    return {
        "pass@1": estimate(share), "cons@16": estimate(share + gain),
        "vote_gain": {"value": gain, "low": gain - 0.01, "high": gain + 0.01, "n": 256},
        "pass@16": estimate(min(1.0, share + 0.04)), "format": estimate(0.99), "truncated": estimate(0.01),
        "thought_tokens": wide(TOKENS[checkpoint]), "reflection": wide(TOKENS[checkpoint] / 140),
        "reflecting": estimate(min(0.9, TOKENS[checkpoint] / 60)), "target_language": estimate(LANGUAGE.get(checkpoint, 0.99)),
    }  # fmt: skip


def evaluations(checkpoints: list[str]) -> dict[str, Any]:
    return {
        "evaluations": {
            name: {d: metrics(name, s) for d, s in zip(DOMAINS, SHARES[name], strict=False)}
            for name in checkpoints
        },
        "by_difficulty": {
            name: {"math": {
                str(level): {"pass@1": estimate(max(0.02, SHARES[name][0] - 0.02 * level), 64),
                             "thought_tokens": wide(TOKENS[name] * (0.5 + 0.1 * level), 64)}
                for level in range(2, 8)
            }} for name in checkpoints
        },
        "seconds": dict.fromkeys(checkpoints, 3.0),
    }  # fmt: skip


def rl_rows(name: str, rng: random.Random) -> list[dict[str, Any]]:
    rows = [rl_row(step, rng) for step in range(41)]
    for row in rows[::10]:
        step = row["step"]
        if name == "dev2":  # comes from above, and so arrives sooner
            row[HELDOUT_ACCURACY] = min(0.9, 0.7 + step / 50)
        if name == "overoptimized":
            row[HELDOUT_ACCURACY] = 0.88 + (0.02 if step == 10 else -0.004 * step)
            row[HELDOUT_HELPFUL] = -1.0 + step / 20
    return rows


def build_recipe(seed: int = 1, **changes: Any) -> Recipe:
    table = {"name": "miniature-r1", "description": "The whole paper in miniature", "seed": seed,
             "stages": STAGES, "claims": PARTS}  # fmt: skip
    return Recipe.model_validate(table | changes)


def build_r1(path: Path, seed: int = 1) -> RunDirectory:
    """A finished run of every stage."""
    recipe, run, rng = build_recipe(seed), RunDirectory(path), random.Random(seed)
    resolved = recipe.model_dump(mode="json")
    for name in ("r1", "overoptimized"):
        resolved["stages"][name]["preferences"] = PREFERENCES
    write_json(run.recipe, resolved)
    write_json(run.about, {"command": "dianoia run recipes/miniature-r1.toml", "seed": seed})
    merged: dict[str, Any] = {"evaluations": {}, "by_difficulty": {}}
    for name, stage in STAGES.items():
        directory = run.stage(name)
        if stage["kind"] == "rl":
            write_lines(directory.metrics, rl_rows(name, rng))
        if stage["kind"] in ("sft", "reward_model"):
            write_lines(directory.metrics, [learnt(step) for step in range(1, 61)])
        if stage["kind"] == "sample":
            write_json(directory.sampling, SAMPLING)
        if stage["kind"] == "evaluate":
            table = evaluations(stage["checkpoints"])
            write_json(directory.evaluation, table)
            for key in merged:
                merged[key] |= table[key]
        write_json(directory.manifest, {"seconds": 97.0})
    results = {
        "recipe": recipe.name,
        "seed": seed,
        "states": dict.fromkeys(STAGES, "done"),
        "seconds": 1649.0,
        **merged,
        "reward_models": {},
    }
    write_json(run.results, results)
    return run


def learnt(step: int) -> dict[str, Any]:
    return {
        "step": step, "tokens": 8192 * step, "loss": 0.4 + 2 / step, "grad_norm": 0.5, "learning_rate": 1e-3,
        "eval_loss": 0.5 + 2 / step, "mean_token_accuracy": 1 - 0.8 / step, "accuracy": 1 - 0.4 / step,
        "rewards/chosen/mean": step / 40, "rewards/rejected/mean": -step / 30,
    }  # fmt: skip


SAMPLING = {
    "sampled": 8192, "kept": 1874, "problems": 2048, "problems_kept": 1874,
    "rejected": {"wrong": 4100, "mixed_language": 618, "surplus": 1600},
    "by_domain": {"math": {"sampled": 8192, "kept": 1874, "rejected": {}}},
}  # fmt: skip


if __name__ == "__main__":
    from dianoia.report import write_report

    write_report(build_r1(Path(sys.argv[1])))

"""A run directory as a miniature R1-Zero would leave it, made up, to build and to look at a report.

`python tests/unit/report/conftest.py FOLDER` writes one and its report. Everything is drawn from one seed.
"""

import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dianoia.storage.run_directory import RunDirectory

STEPS = 40
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> & \"quotes\" 'too'"


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def recipe(stages: tuple[str, ...] = ("zero",)) -> dict[str, Any]:
    rl = {
        "kind": "rl", "start": "miniature-base", "problems": "miniature/math", "template": "r1-zero",
        "steps": STEPS, "group_size": 16, "problems_per_rollout": 16, "minibatches": 1,
        "rewards": {"accuracy": 1.0, "format": 1.0, "random": 0.0},
        "algorithm": {"name": "grpo", "clip_low": 10.0, "clip_high": 10.0, "kl_coefficient": 0.001},
        "sampling": {"max_tokens": 160, "temperature": 1.0}, "optimizer": {"learning_rate": 0.001},
    }  # fmt: skip
    evaluation = {
        "kind": "evaluate", "checkpoints": ["miniature-base", *stages], "problems": "miniature/math",
        "limit": 512, "samples": 16, "max_tokens": 160,
    }  # fmt: skip
    return {
        "name": "miniature-zero",
        "description": "Pure reinforcement learning on the base model of the miniature (R1-Zero)",
        "seed": 1,
        "stages": {**dict.fromkeys(stages, rl), "evaluation": evaluation},
    }


def about() -> dict[str, Any]:
    return {
        "command": "dianoia run recipes/miniature-zero.toml --set seed=1", "dianoia": "0.1.0",
        "python": "3.11.9", "platform": "Linux-6.1-x86_64",
        "libraries": {"torch": "2.13.0+cpu", "transformers": "5.17.0", "numpy": "2.4.6"},
        "seed": 1, "threads": 2, "earlier": [],
    }  # fmt: skip


def rise(step: int, low: float, high: float, middle: float = 12, width: float = 4) -> float:
    return low + (high - low) / (1 + math.exp((middle - step) / width))


def rl_row(step: int, rng: random.Random) -> dict[str, Any]:
    def noisy(value: float, by: float) -> float:
        return min(1.0, max(0.0, value + rng.gauss(0, by)))

    accuracy, remaining = (
        noisy(rise(step, 0.13, 0.91), 0.03),
        noisy(rise(step, 0.8, 0.995, 6), 0.01),
    )
    thought = rise(step, 21, 58, 16, 6) + rng.gauss(0, 1)
    row = {
        "step": step, "reward": accuracy + remaining, "reward_std": rise(step, 0.6, 0.2),
        "frac_reward_zero_std": noisy(rise(step, 0.05, 0.55, 20), 0.05),
        "rewards/accuracy/mean": accuracy, "rewards/format/mean": remaining,
        "completions/mean_length": thought + 14, "completions/max_length": 160,
        "completions/clipped_ratio": noisy(0.02, 0.01), "malformed": noisy(1 - remaining - 0.02, 0.01),
        "thought_tokens": thought, "empty_thoughts": noisy(rise(step, 0.3, 0.01, 8), 0.01),
        "reflection": rise(step, 0.22, 1.3, 18) + rng.gauss(0, 0.05),
        "reflecting": noisy(rise(step, 0.12, 0.62, 18), 0.03),
        "target_language": noisy(rise(step, 0.88, 0.8, 20), 0.01), "cons@16": noisy(accuracy + 0.07, 0.02),
        "entropy": rise(step, 0.9, 0.35, 15) + rng.gauss(0, 0.02), "kl": rise(step, 0, 0.4, 20, 6),
        "loss": rng.gauss(0, 0.01), "grad_norm": abs(rise(step, 0.9, 0.4) + rng.gauss(0, 0.1)),
        "learning_rate": 0.001, "clip_ratio/low_mean": 0.0, "clip_ratio/high_mean": 0.0,
        "ratio_max": 1 + abs(rng.gauss(0, 1e-4)),
        "sampling/sampling_logp_difference/mean": 2e-6, "sampling/sampling_logp_difference/max": 4e-5,
        "num_tokens": int(256 * 110 * (step + 1)), "generate_seconds": rise(step, 0.9, 1.9),
        "score_seconds": 0.06, "update_seconds": rise(step, 0.8, 1.3), "step_seconds": rise(step, 1.8, 3.3),
    }  # fmt: skip
    if step == 0:  # before any update there is only the held-out point
        row = {"step": 0}
    if step % 10 == 0:
        row |= {
            "heldout/pass@1": noisy(rise(step, 0.14, 0.9), 0.01), "heldout/cons@4": rise(step, 0.2, 0.95),
            "heldout/thought_tokens": thought * 0.95, "heldout/reflection": rise(step, 0.2, 1.2, 18), "evaluate_seconds": 1.4,
        }  # fmt: skip
    return row


DERIVED = {
    "en": "\nLet me count.\n{lines}Wait, let me check.\n{lines}Both give {gold}.\n",
    "zh": "\n我来数。\n{lines}等等，检查一下。\n{lines}一样，是{gold}。\n",
}
ASKED = {
    "en": "Mia has {start} apples. {told} How many apples does she have now?",
    "zh": "小明有{start}个苹果。{told}现在他有几个苹果？",
}
TOLD = {"en": "She finds {n} more.", "zh": "他又找到{n}个。"}


def draw_problem(index: int, rng: random.Random) -> dict[str, Any]:
    language, steps = ("en", "zh")[index % 2], 2 + index % 5
    start, added = rng.randint(3, 20), [rng.randint(2, 9) for _ in range(steps)]
    story = (" " if language == "en" else "").join(TOLD[language].format(n=n) for n in added)
    value, lines = start, ""
    for n in added:
        lines += f"{value}+{n}={value + n}\n"
        value += n
    return {
        "problem": f"heldout-{index:04d}", "question": ASKED[language].format(start=start, told=story),
        "gold": str(value), "domain": "math", "language": language, "difficulty": steps, "lines": lines,
    }  # fmt: skip


def draw_rollout(
    problem: dict[str, Any], sample: int, skill: float, rng: random.Random
) -> dict[str, Any]:
    """One sample by a model that reasons with probability `skill`."""
    gold, language = problem["gold"], problem["language"]
    base = {k: v for k, v in problem.items() if k != "lines"} | {"sample": sample, "fault": None}
    reasons = rng.random() < skill
    thought = (
        DERIVED[language].format(lines=problem["lines"], gold=gold) if reasons else "\nEasy.\n"
    )
    answer = gold if reasons else str(int(gold) + rng.choice((-2, -1, 0, 1, 2, 5)))
    text = f" <think>{thought}</think>\n<answer>{answer}</answer>"
    row = base | {
        "text": text, "thought": thought, "answer": answer, "status": "finished",
        "tokens": len(text) // 3, "accuracy": float(answer == gold), "format": 1.0,
    }  # fmt: skip
    broken = {"thought": None, "answer": None, "accuracy": 0.0, "format": 0.0}
    if not reasons and rng.random() < 0.2:
        row |= broken | {"text": f" {thought}{answer}", "status": "malformed", "fault": "no_tags"}
    elif not reasons and rng.random() < 0.08:
        row |= broken | {
            "text": " <think>\n" + problem["lines"] * 6,
            "status": "truncated",
            "tokens": 160,
        }
    return row | {"reward": row["accuracy"] + row["format"]}


def write_rollouts(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def evaluate_rows(
    checkpoint: str, skill: float, problems: int, rng: random.Random
) -> list[dict[str, Any]]:
    draws = [draw_problem(index, random.Random(index)) for index in range(problems)]
    return [
        draw_rollout(problem, sample, skill, rng) | {"checkpoint": checkpoint, "advantage": None}
        for problem in draws
        for sample in range(16)
    ]


def training_rows(step: int, rng: random.Random) -> list[dict[str, Any]]:
    rows = []
    for index in range(6):
        problem = draw_problem(1000 + 10 * step + index, rng)
        group = [draw_rollout(problem, sample, rise(step, 0.1, 0.9), rng) for sample in range(16)]
        mean = sum(row["reward"] for row in group) / 16
        deviation = math.sqrt(sum((row["reward"] - mean) ** 2 for row in group) / 16)
        for row in group:
            advantage = (row["reward"] - mean) / (deviation + 1e-6)
            rows.append(row | {"checkpoint": "", "step": step, "advantage": advantage})
    return rows


def estimate(value: float, n: int = 512, spread: float = 1.0) -> dict[str, Any]:
    half = (
        1.96 * spread * math.sqrt(max(value * (1 - value), 0.01) / n)
        if value <= 1
        else value * 0.03
    )
    return {"value": value, "low": max(0.0, value - half), "high": value + half, "n": n}


def metrics_of(skill: float) -> dict[str, Any]:
    return {
        "pass@1": estimate(0.02 + 0.92 * skill), "cons@16": estimate(0.08 + 0.9 * skill),
        "pass@16": estimate(0.55 + 0.43 * skill), "format": estimate(0.8 + 0.196 * skill),
        "truncated": estimate(0.025 - 0.02 * skill), "thought_tokens": estimate(17 + 43 * skill),
        "reflection": estimate(0.1 + 1.2 * skill), "reflecting": estimate(0.08 + 0.6 * skill), "target_language": estimate(0.9 - 0.1 * skill),
    }  # fmt: skip


def results(checkpoints: dict[str, float]) -> dict[str, Any]:
    return {
        "recipe": "miniature-zero", "seed": 1, "seconds": 187.4,
        "evaluations": {name: {"math": metrics_of(skill)} for name, skill in checkpoints.items()},
        "by_difficulty": {
            name: {"math": {
                str(level): {
                    "pass@1": estimate(max(0.03, 0.1 + 0.88 * skill - 0.035 * (level - 2)), 102),
                    "thought_tokens": estimate(12 + skill * 11 * level, 102),
                } for level in range(2, 7)
            }} for name, skill in checkpoints.items()
        },
    }  # fmt: skip


DIAGNOSIS = {
    "step": 37, "code": "groups_uniform",
    "message": "96% of the groups have one and the same reward throughout, so nothing is learned",
    "advice": "raise sampling.temperature so that the samples of a problem differ, or use harder problems",
}  # fmt: skip


def build_run(
    path: Path, stages: tuple[str, ...] = ("zero",), problems: int = 64, seed: int = 1
) -> RunDirectory:
    """A finished run: `stages` in turn, then an evaluation of the base and of each."""
    run, rng = RunDirectory(path), random.Random(seed)
    skills = {"miniature-base": 0.14} | {
        name: 0.97 - 0.2 * i for i, name in enumerate(reversed(stages))
    }
    skills = dict(sorted(skills.items(), key=lambda item: item[1]))
    write_json(run.recipe, recipe(stages))
    write_json(run.about, about())
    write_json(run.results, results(skills))
    for name in stages:
        stage = run.stage(name)
        write_lines(stage.metrics, [rl_row(step, rng) for step in range(STEPS + 1)])
        write_lines(stage.diagnoses, [DIAGNOSIS])
        for step in range(0, STEPS, 5):
            write_rollouts(stage.rollouts(f"step-{step:05d}"), training_rows(step, rng))
        write_json(stage.manifest, {"seconds": 131.0})
    evaluation = run.stage("evaluation")
    for name, skill in skills.items():
        write_rollouts(evaluation.rollouts(name), evaluate_rows(name, skill, problems, rng))
    write_json(evaluation.manifest, {"seconds": 52.0})
    return run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Builds a run directory; takes the arguments of `build_run` after the path."""
    return lambda **options: build_run(tmp_path / "run", **{"problems": 6} | options)


@pytest.fixture
def hostile() -> str:
    return HOSTILE


if __name__ == "__main__":
    from dianoia.report import write_report

    write_report(build_run(Path(sys.argv[1])))

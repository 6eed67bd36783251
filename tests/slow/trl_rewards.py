"""Compares rewards with TRL's own, in an environment that has TRL: `python trl_rewards.py RUN`; writes JSON.

For the completions that a run's function `keep` has written down, and for hand-made ones, TRL's own
`GRPOTrainer._calculate_rewards` is asked. In RUN's rollouts stand the values that the recipe got.
"""

import asyncio
import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import torch
import trl
from accelerate import Accelerator
from trl import GRPOTrainer
from trl.rewards import (
    accuracy_reward,
    get_cosine_scaled_reward,
    get_repetition_penalty_reward,
    get_soft_overlong_punishment,
    reasoning_accuracy_reward,
    think_format_reward,
)

from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.judge.functions import Function, FunctionPart
from dianoia.judge.judge import Judge


async def waited(completions: list[Any], **columns: Any) -> list[float | None]:
    """An async function that does not always apply."""
    await asyncio.sleep(0)
    return [float(len(c)) if place % 3 else None for place, c in enumerate(completions)]


FUNCTIONS = {
    "accuracy_reward": accuracy_reward,
    "reasoning_accuracy_reward": reasoning_accuracy_reward,
    "think_format_reward": think_format_reward,
    "cosine_reward": get_cosine_scaled_reward(max_len=24),
    "repetition_reward": get_repetition_penalty_reward(ngram_size=2, max_penalty=-0.5),
    "overlong_reward": get_soft_overlong_punishment(max_completion_len=24, soft_punish_cache=16),
}
BOX = "<think>{}</think> The answer is \\boxed{{{}}}"
GOLDS = ("5", r"\frac{1}{3}", "(no gold)", "$x^2$")
TEXTS = (
    BOX.format("so", "5"),
    BOX.format("so so so so", r"\frac{1}{3}"),
    BOX.format("so", "5").removeprefix("<think>"),
    "\\boxed{5}",
    BOX.format("", "x^2"),
    "5",
    "",
    "<think>" * 3,
)


def by_trl(call: dict[str, Any], functions: dict[str, Any]) -> list[list[float | None]]:
    """What TRL's trainer makes of a call; a row a completion."""
    names = [n for n in call if n not in ("prompts", "completions", "completion_ids")]
    inputs = [{name: call[name][place] for name in names} for place in range(len(call["prompts"]))]
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    trainer = SimpleNamespace(
        accelerator=Accelerator(cpu=True),
        state=SimpleNamespace(global_step=0),
        args=SimpleNamespace(report_to=[]),
        environments=None,
        reward_funcs=list(functions.values()),
        reward_func_names=list(functions),
        reward_processing_classes=[None] * len(functions),
        async_loop=loop,
        _log_completion_extra=lambda *_: None,
        _log_metric=lambda *_: None,
    )
    ask = GRPOTrainer._calculate_rewards
    ask = getattr(ask, "__wrapped__", ask)  # without its stopwatch
    found = ask(trainer, inputs, call["prompts"], call["completions"], call["completion_ids"])
    return [[None if v != v else v for v in row] for row in torch.as_tensor(found).tolist()]


def hand_made() -> tuple[dict[str, Any], list[Rollout]]:
    """The same completions as a call of TRL's, and as rollouts of ours."""
    call: dict[str, Any] = {n: [] for n in ("prompts", "completions", "completion_ids", "solution")}
    rollouts = []
    for gold in GOLDS:
        messages = [{"role": "user", "content": f"What is {gold}?"}]
        columns = {"prompt": messages, "solution": gold}
        problem = Problem(gold, f"What is {gold}?", gold, "exact", columns=columns)
        for sample, text in enumerate(TEXTS):
            ids = [ord(letter) for letter in text][:40]
            call["prompts"].append(messages)
            call["completions"].append([{"role": "assistant", "content": text}])
            call["completion_ids"].append(ids)
            call["solution"].append(gold)
            done = Completion(tuple(ids), (0.0,) * len(ids), True)
            rollouts.append(Rollout(problem, sample, (1,), done, text, RolloutStatus.FINISHED))
    return call, rollouts


def of_the_run(run: Path) -> dict[str, Any]:
    """Values of the recipe and of TRL for the first rollout of a run."""
    call = json.loads((run / "keep.jsonl").read_text(encoding="utf-8").splitlines()[0])
    rows = pq.read_table(run / "stages/zero/rollouts/step-00000.parquet").to_pylist()
    return {
        "texts": [row["text"] for row in rows],
        "told": [c[0]["content"] for c in call["completions"]],
        "ours": [[json.loads(row["parts"])[name] for name in FUNCTIONS] for row in rows],
        "theirs": by_trl(call, FUNCTIONS),
        "notes": json.loads(rows[0]["notes"]),
        "rewards": [row["reward"] for row in rows],
    }


def by_hand() -> dict[str, Any]:
    """The same for hand-made completions."""
    call, rollouts = hand_made()
    functions = {**FUNCTIONS, "waited": waited}
    parts = [FunctionPart(Function(name, function, name)) for name, function in functions.items()]
    groups = Judge(parts).score_rollouts([[rollout] for rollout in rollouts])
    ours = [[group.scores[0].parts[name] for name in functions] for group in groups]
    return {"ours": ours, "theirs": by_trl(call, functions)}


if __name__ == "__main__":
    found = {
        "trl": trl.__version__,
        "functions": list(FUNCTIONS),
        "run": of_the_run(Path(sys.argv[1])),
        "hand": by_hand(),
    }
    sys.stdout.write(json.dumps(found) + "\n")

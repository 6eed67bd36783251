"""Compares rewards with TRL's own, in an environment that has TRL: `python -m tests.slow.trl_rewards FOLDER`; writes JSON.

The folder has `test_trl.py`'s files and run. For every `rl` stage TRL's inputs are made from the file of problems and the
sampled ids, as its GRPOTrainer makes them, and its own `_calculate_rewards` is asked, as for completions made by hand.
"""

import asyncio
import importlib
import json
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import torch
import trl
from accelerate import Accelerator
from transformers import AutoTokenizer
from trl import GRPOTrainer

from dianoia.base.records import Completion, Problem, Rollout, RolloutGroup, RolloutStatus
from dianoia.judge.functions import Function, FunctionPart
from dianoia.judge.judge import Judge
from dianoia.judge.reward_part import ScoringState
from tests.slow.trl_functions import FORMS, FUNCTIONS, TEXT_FUNCTIONS

BOX = "<think>{}</think> The answer is \\boxed{{{}}}"
GOLDS = ("$5$", r"$\frac{1}{3}$", "(no gold)", "$x^2$")
TEXTS = (
    BOX.format("so", "5"),
    BOX.format("so so so so so so", r"\frac{1}{3}"),
    BOX.format("so", "5").removeprefix("<think>"),
    "\\boxed{5}",
    BOX.format("", "x^2"),
    "5",
    "",
    "<think>" * 3,
    "so it is " * 4,
    FORMS["r1-zero"].format("5"),
    "<think>\nFirst, so.\n</think>\n<answer>\n```python\nprint(5)\n```\n</answer>",
)


def load(path: str, arguments: str) -> Callable[..., Any]:
    """Import a function, or make it by its factory, without Dianoia."""
    module, _, name = path.replace(":", ".").rpartition(".")
    value = getattr(importlib.import_module(module), name)
    return value(**tomllib.loads(f"a = {arguments}")["a"]) if arguments else value  # type: ignore[no-any-return]


async def waited(completions: list[Any], **columns: Any) -> list[float | None]:
    """An async function that does not always apply."""
    await asyncio.sleep(0)
    return [float(len(c)) if place % 3 else None for place, c in enumerate(completions)]


def by_trl(call: dict[str, Any], functions: dict[str, Any]) -> list[list[float | None]]:
    """What TRL's trainer makes of a call; one row per completion."""
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
    values = ask(trainer, inputs, call["prompts"], call["completions"], call["completion_ids"])
    return [[None if v != v else v for v in row] for row in torch.as_tensor(values).tolist()]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def expected_call(
    folder: Path, file: str, template: str, rows: list[dict[str, Any]], ids: list[list[int]]
) -> dict[str, Any]:
    """TRL's inputs for these samples, made from the file and the ids."""
    problems = lines(folder / f"{file}.jsonl")
    of = [next(p for p in problems if _question(p) == row["question"]) for row in rows]
    prompts = [p["prompt"] if isinstance(p["prompt"], list) else [_user(p["prompt"])] for p in of]
    tokenizer = AutoTokenizer.from_pretrained(folder / f"run/stages/sft-{template}/checkpoint")
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    # What Dianoia's functions get differs from this where a prompt opens the thought, and by a blank before the first tag.
    if template in ("r1-zero-prefilled", "thinking"):
        texts = [f"<think>{text}" for text in texts]
    elif template.startswith("r1"):
        texts = [text.lstrip() for text in texts]
    return {
        "prompts": prompts,
        "completions": [[{"role": "assistant", "content": text}] for text in texts],
        "completion_ids": ids,
        **{name: [problem[name] for problem in of] for name in ("solution", "level")},
    }


def _question(problem: dict[str, Any]) -> Any:
    prompt = problem["prompt"]
    return prompt[-1]["content"] if isinstance(prompt, list) else prompt


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def of_a_stage(folder: Path, file: str, template: str) -> dict[str, Any]:
    """Values of the recipe and of TRL for the rollout of a stage."""
    name = f"{file}-{template}"
    functions = FUNCTIONS | (TEXT_FUNCTIONS if file == "texts" else {})
    (given,) = lines(folder / f"{name}.jsonl")
    rows = pq.read_table(folder / f"run/stages/{name}/rollouts/step-00000.parquet").to_pylist()
    call = expected_call(folder, file, template, rows, given["completion_ids"])
    loaded = {name: load(*function) for name, function in functions.items()}
    return {
        "given": {key: given[key] for key in call},
        "expected": call,
        "ours": [[json.loads(row["parts"])[name] for name in functions] for row in rows],
        "theirs": by_trl(call, loaded),
        "notes": json.loads(rows[0]["notes"]),
        "rewards": [row["reward"] for row in rows],
        "status": [row["status"] for row in rows],
        "right": [bool(row["accuracy"]) for row in rows],
    }


def by_hand() -> dict[str, Any]:
    """Values of both for completions made by hand."""
    call: dict[str, Any] = {n: [] for n in ("prompts", "completions", "completion_ids", "solution")}
    rollouts = []
    for gold in GOLDS:
        messages = [_user(f"What is {gold}?")]
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
    functions = {name: load(*f) for name, f in FUNCTIONS.items()} | {"waited": waited}
    parts = [FunctionPart(Function(name, function, name)) for name, function in functions.items()]
    # One call about all of them, as TRL's: open-r1's `len_reward` compares the lengths of a call.
    groups = [RolloutGroup(rollout.problem, (rollout,)) for rollout in rollouts]
    scored = Judge(parts).score(groups, ScoringState(0, 1))
    ours = [[group.scores[0].parts[name] for name in functions] for group in scored]
    return {"ours": ours, "theirs": by_trl(call, functions)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    stages = {
        f"{file}-{template}": of_a_stage(folder, file, template)
        for file in ("messages", "texts")
        for template in FORMS
    }
    results = {"trl": trl.__version__, "stages": stages, "hand": by_hand()}
    sys.stdout.write("\n" + json.dumps(results) + "\n")

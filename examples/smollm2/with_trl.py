"""Train on the same sums with TRL's `GRPOTrainer`, for as many minutes as Dianoia took: easy sums first, then all.

    pip install trl==1.16.0
    python examples/smollm2/with_trl.py runs/smollm2-trl --minutes 5.5 10.3

Model, problems and their order, prompts, rewards, group size, learning rate and clipping are those of sums.toml. The model ends
up in the folder, beside the number of steps that each stage took.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from dianoia.base.records import Completion
from dianoia.config import RLStage
from dianoia.judge.judge import Judge, reward_parts
from dianoia.judge.reward_part import ScoringState
from dianoia.recipe import load_recipe
from dianoia.tasks.catalog import problem_source
from dianoia.text.parsing import make_rollout
from dianoia.text.template import template_of

RECIPE = Path(__file__).with_name("sums.toml")
MICRO_BATCH = 24
"""Completions per forward pass; the rollout's 96 come from accumulation."""


class Deadline(TrainerCallback):
    """Ends the training at the first step that is over after some minutes, and counts the steps."""

    def __init__(self, minutes: float) -> None:
        """Start the clock."""
        self.ends, self.steps = time.monotonic() + 60 * minutes, 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Stop the trainer once the time is up."""
        self.steps = state.global_step
        control.should_training_stop = time.monotonic() > self.ends
        return control


def settings(stage: RLStage, seed: int) -> GRPOConfig:
    """Return the stage's settings in TRL's names; the number of steps is more than the time allows."""
    optimizer, algorithm = stage.optimizer, stage.algorithm
    return GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=True, report_to=[], save_strategy="no",
        gradient_checkpointing=False, logging_strategy="no", shuffle_dataset=False,
        per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=stage.rollout_size // MICRO_BATCH,
        num_generations=stage.group_size, max_completion_length=stage.sampling.max_tokens,
        temperature=stage.sampling.temperature, loss_type="grpo", beta=algorithm.kl_coefficient,
        epsilon=algorithm.clip_low, epsilon_high=algorithm.clip_high,
        learning_rate=optimizer.learning_rate, lr_scheduler_type="constant",
        adam_beta1=optimizer.beta1, adam_beta2=optimizer.beta2, adam_epsilon=optimizer.epsilon,
        weight_decay=optimizer.weight_decay, max_grad_norm=optimizer.max_grad_norm,
        max_steps=1000, seed=seed,
    )  # fmt: skip


def train(
    stage: RLStage, templates: Any, model: Any, tokenizer: Any, seed: int, minutes: float
) -> int:
    """Train one stage for some minutes; return the number of steps."""
    template = template_of(stage.template, templates)
    problems = problem_source(stage.problems).draw(seed, 0, 200 * stage.problems_per_rollout)
    judge = Judge(reward_parts(stage.rewards, seed, template))
    state = ScoringState(max_tokens=stage.sampling.max_tokens)

    def recipe_reward(completion_ids: list[list[int]], number: list[int], **_: Any) -> list[float]:
        groups = []
        for ids, index in zip(completion_ids, number, strict=True):
            stopped = bool(ids) and ids[-1] == tokenizer.eos_token_id
            text = tokenizer.decode(ids[:-1] if stopped else ids)
            completion = Completion(tuple(ids), (0.0,) * len(ids), stopped)
            groups.append([make_rollout(problems[index], 0, (), completion, text, template)])
        return [group.scores[0].total for group in judge.score_rollouts(groups, state)]

    rows = [
        {"prompt": template.render(problem.question), "number": number}
        for number, problem in enumerate(problems)
    ]
    deadline = Deadline(minutes)
    GRPOTrainer(
        model=model, processing_class=tokenizer, reward_funcs=recipe_reward, args=settings(stage, seed),
        train_dataset=Dataset.from_list(rows), callbacks=[deadline],
    ).train()  # fmt: skip
    return deadline.steps


def main() -> None:
    """Train both stages and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--minutes", type=float, nargs="+", required=True, help="of easy, and of hard if given"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    recipe = load_recipe(RECIPE)
    tokenizer = AutoTokenizer.from_pretrained("models/smollm2")
    model = AutoModelForCausalLM.from_pretrained("models/smollm2", dtype="float32")
    steps = {}
    for name, minutes in zip(("easy", "hard"), options.minutes, strict=False):
        stage = recipe.stages[name]
        assert isinstance(stage, RLStage)
        steps[name] = train(stage, recipe.templates, model, tokenizer, options.seed, minutes)
    model.save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)
    (options.folder / "steps.json").write_text(json.dumps(steps) + "\n")
    print(f"{options.folder}: {steps}")


if __name__ == "__main__":
    main()

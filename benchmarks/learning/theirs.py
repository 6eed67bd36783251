"""TRL's process of `benchmarks.learning`: `GRPOTrainer` with the recipe's model, problems, reward and hyperparameters."""

import tempfile
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from benchmarks.learning.task import Task, roller_of, start_folder, task
from benchmarks.table.link import Link
from benchmarks.table.theirs import StepOnCommand, TimedTrainer
from dianoia.sampler.interface import WeightUpdate


def settings(chosen_task: Task, folder: str, batch: int) -> GRPOConfig:
    """Return the recipe's settings, with `batch` completions per micro-batch."""
    stage = chosen_task.stage
    optimizer, algorithm = stage.optimizer, stage.algorithm
    return GRPOConfig(
        output_dir=folder, use_cpu=True, bf16=False, report_to=[], gradient_checkpointing=False,
        save_strategy="no", logging_strategy="no", disable_tqdm=True, shuffle_dataset=False,
        per_device_train_batch_size=batch, gradient_accumulation_steps=stage.rollout_size // batch,
        num_generations=stage.group_size, max_completion_length=stage.sampling.max_tokens,
        temperature=stage.sampling.temperature, loss_type="grpo", beta=algorithm.kl_coefficient,
        epsilon=algorithm.clip_low, epsilon_high=algorithm.clip_high,
        learning_rate=optimizer.learning_rate, lr_scheduler_type=optimizer.schedule,
        warmup_steps=optimizer.warmup_steps, adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2, adam_epsilon=optimizer.epsilon,
        weight_decay=optimizer.weight_decay, max_grad_norm=optimizer.max_grad_norm,
        max_steps=stage.steps, seed=chosen_task.seed,
    )  # fmt: skip


def train(link: Link, options: dict[str, Any]) -> None:
    """Train one step per command."""
    torch.set_num_threads(options["threads"])
    chosen_task = task(options["seed"], options["steps"])
    chosen_task.stage = chosen_task.stage.model_copy(update=options["changes"])
    rows, folder = chosen_task.draw(options["steps"]), start_folder(chosen_task)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    roller, stops = roller_of(model, tokenizer, chosen_task)

    def heldout() -> dict[str, float]:
        # version 0 is the model before training
        step = callback.trainer.state.global_step + 1
        roller.sampler.load(WeightUpdate(step, callback.trainer.model.state_dict()))
        return chosen_task.heldout(roller, stops, options["problems"])

    callback = StepOnCommand(link, {"heldout": heldout})
    callback.trainer = TimedTrainer(
        model=model, processing_class=tokenizer, reward_funcs=chosen_task.reward(tokenizer),
        args=settings(chosen_task, tempfile.mkdtemp(), options["batch"]),
        train_dataset=Dataset.from_list(rows), callbacks=[callback],
    )  # fmt: skip
    link.reply(True)
    callback.trainer.train()


def main() -> None:
    """Open the task of the first command, then answer commands until the parent is done."""
    link = Link()
    command = link.receive()
    if command is not None:
        assert command[0] == "open", command
        train(link, command[1])


if __name__ == "__main__":
    main()

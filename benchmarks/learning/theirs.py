"""TRL's process of `benchmarks.learning`: `GRPOTrainer` on the same model, problems and reward, with the recipe's
hyperparameters."""

import tempfile
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from benchmarks.learning.task import Task, roller_of, start_folder, task
from benchmarks.table.link import Link
from benchmarks.table.theirs import TakesTurns, Timed
from dianoia.sampler.interface import WeightUpdate


def settings(chosen: Task, folder: str, batch: int) -> GRPOConfig:
    """The recipe's; `batch` completions at a time go forward and backward."""
    stage = chosen.stage
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
        max_steps=stage.steps, seed=chosen.seed,
    )  # fmt: skip


def trained(link: Link, given: dict[str, Any]) -> None:
    """Train as the parent says."""
    torch.set_num_threads(given["threads"])
    chosen = task(given["seed"], given["steps"])
    chosen.stage = chosen.stage.model_copy(update=given["changes"])
    rows, folder = chosen.draw(given["steps"]), start_folder(chosen)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    roller, stops = roller_of(model, tokenizer, chosen)

    def heldout() -> dict[str, float]:
        # version 0 is the model before training
        step = turns.trainer.state.global_step + 1
        roller.sampler.load(WeightUpdate(step, turns.trainer.model.state_dict()))
        return chosen.heldout(roller, stops, given["problems"])

    turns = TakesTurns(link, {"heldout": heldout})
    turns.trainer = Timed(
        model=model, processing_class=tokenizer, reward_funcs=chosen.reward(tokenizer),
        args=settings(chosen, tempfile.mkdtemp(), given["batch"]),
        train_dataset=Dataset.from_list(rows), callbacks=[turns],
    )  # fmt: skip
    link.reply(True)
    turns.trainer.train()


def main() -> None:
    """Open what the first command says, and serve."""
    link = Link()
    asked = link.receive()
    if asked is not None:
        assert asked[0] == "open", asked
        trained(link, asked[1])


if __name__ == "__main__":
    main()

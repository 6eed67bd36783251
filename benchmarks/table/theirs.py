"""TRL's process of the benchmark, in its own environment: a `GRPOTrainer` that runs one step per command.

    python -m benchmarks.table.theirs    (started by the benchmark)

The trainer's own loop runs; a callback holds it at the end of each step until the next command, so that a step includes
everything: data, tokenizing, completions, rewards, losses, the optimizer, logging. `rollout` is the time of its
`_generate` (tokenizing, sampling, decoding), `update` everything else.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.table.cases import Case, prompts
from benchmarks.table.folders import path_of
from benchmarks.table.link import Link, peak_bytes
from benchmarks.table.reward import even_words

ENDLESS = 1_000_000


class TimedTrainer(GRPOTrainer):
    """A trainer that counts the seconds and tokens of its rollouts."""

    rollout_seconds = 0.0
    rollout_tokens = 0

    def _generate(self, prompts: list[Any]) -> Any:
        start = time.perf_counter()
        # The one method of TRL that samples, whatever the version calls around it.
        generated = super()._generate(prompts)
        self.rollout_seconds += time.perf_counter() - start
        self.rollout_tokens += sum(map(len, generated[1]))
        return generated


class StepOnCommand(TrainerCallback):
    """A callback that holds the trainer until the parent asks for a step."""

    def __init__(self, link: Link, commands: Mapping[str, Callable[[], Any]] | None = None) -> None:
        """Answer `commands` between two steps."""
        self.link = link
        self.commands = {"peak": peak_bytes, **(commands or {})}
        self.trainer: TimedTrainer
        self.start = 0.0

    def hold(self, control: Any) -> None:
        """Answer commands until one asks for a step; at the end of all, stop the training."""
        while (request := self.link.receive()) is not None:
            if request[0] == "step":
                # A step may generate several times; the counters add up within it.
                self.trainer.rollout_seconds, self.trainer.rollout_tokens = 0.0, 0
                self.start = time.perf_counter()
                return
            self.link.reply(self.commands[request[0]]())
        # The parent has closed the link.
        control.should_training_stop = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait before the first step."""
        self.hold(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Send the times of the step, and wait."""
        # The time of waiting for the parent is not part of a step.
        seconds = time.perf_counter() - self.start
        rollout = self.trainer.rollout_seconds
        self.link.reply(
            {"seconds": seconds, "rollout": rollout, "update": seconds - rollout,
             "tokens": self.trainer.rollout_tokens}
        )  # fmt: skip
        self.hold(control)


def settings(folder: str, size: Case, batch: int, dtype: str, **changes: Any) -> GRPOConfig:
    """Return the settings of `stage.RECIPE`, with `batch` completions per micro-batch."""
    return GRPOConfig(**{
        "output_dir": folder, "use_cpu": True, "bf16": dtype == "bfloat16", "report_to": [],
        "gradient_checkpointing": False, "save_strategy": "no", "logging_strategy": "no",
        "disable_tqdm": True, "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": size.completions // batch, "num_generations": size.group,
        "max_completion_length": size.limit, "temperature": 1.0, "learning_rate": 1e-6,
        "lr_scheduler_type": "constant", "beta": size.kl, "loss_type": "grpo", "epsilon": 0.2,
        "max_grad_norm": 1.0, "max_steps": ENDLESS, "seed": 1,
    } | changes)  # fmt: skip


def trainer_of(
    size: Case, model: Path, folder: str, batch: int, dtype: str, callbacks: list[Any]
) -> TimedTrainer:
    """Return a trainer on the case's model, prompts and reward."""
    rows = [{"prompt": text + "\n"} for text in prompts(size, 512)]
    return TimedTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(model),
        reward_funcs=even_words,
        args=settings(folder, size, batch, dtype),
        train_dataset=Dataset.from_list(rows),
        callbacks=callbacks,
    )


def loss(
    policy: str,
    reference: str,
    kl: float,
    prompts: list[list[int]],
    completions: list[list[int]],
    advantages: list[float],
) -> dict[str, Any]:
    """Return TRL's loss of completions sampled by the reference, and their log-probabilities under the reference."""
    size = Case(len(completions), max(map(len, completions)), kl=kl)
    with tempfile.TemporaryDirectory() as folder:
        # TRL loads a model only together with a trainer.
        trainer, other = (
            trainer_of(size, Path(model), folder, len(completions), "float32", [])
            for model in (policy, reference)
        )
    # Set by the training loop, which does not run here.
    trainer.current_gradient_accumulation_steps = 1
    ids, mask = _pad_left(prompts), _pad_left([[1] * len(row) for row in prompts])
    response = _pad_right(completions)
    response_mask = _pad_right([[1] * len(row) for row in completions])
    with torch.no_grad():
        # The reference has sampled, so its log-probabilities are both pi_old and pi_ref.
        old, _, _ = other._get_per_token_logps_and_entropies(
            other.model,
            torch.cat([ids, response], 1),
            torch.cat([mask, response_mask], 1),
            response.shape[1],
        )
        loss_value = trainer._compute_loss(
            trainer.model,
            {
                "prompt_ids": ids, "prompt_mask": mask, "completion_ids": response,
                "completion_mask": response_mask, "advantages": torch.tensor(advantages),
                "old_per_token_logps": old, "ref_per_token_logps": old,
                "num_items_in_batch": response_mask.sum(),
            },
        )  # fmt: skip
    # Without the padding on the right.
    logprobs = [row[: len(c)].tolist() for row, c in zip(old, completions, strict=True)]
    return {"loss": float(loss_value), "old": logprobs}


def _pad_left(rows: list[list[int]]) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[0] * (width - len(row)) + row for row in rows])


def _pad_right(rows: list[list[int]]) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def main() -> None:
    """Answer commands for losses; or open the case of the first other command, and train one step per command."""
    link = Link()
    while (request := link.receive()) is not None:
        command, arguments = request
        if command == "loss":
            link.reply(loss(**arguments))
            continue
        assert command == "open", command
        torch.set_num_threads(arguments["threads"])
        size, path = Case(**arguments["case"]), Path(arguments["folder"])
        callback = StepOnCommand(link)
        batch = min(arguments["batch"] or size.completions, size.completions)
        model = path_of(size, path.parent)
        callback.trainer = trainer_of(size, model, str(path), batch, arguments["dtype"], [callback])
        link.reply(True)
        callback.trainer.train()
        return


if __name__ == "__main__":
    main()

"""TRL's process of the benchmark, in its own environment: a `GRPOTrainer` that takes a step when it is told to.

    python -m benchmarks.table.theirs    (started by the benchmark)

The trainer's own loop runs; a callback holds it at the end of each step until the next is asked for, so that a step
holds all that lies between: data, tokens, completions, rewards, losses, the optimizer, logging. `rollout` is what its
`_generate` takes (tokenizing, drawing, decoding), `update` all the rest.
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
from benchmarks.table.folders import place_of
from benchmarks.table.link import Link, peak_bytes
from benchmarks.table.reward import even_words

ENDLESS = 1_000_000


class Timed(GRPOTrainer):
    """Counts the seconds and the tokens of its rollouts."""

    rollout_seconds = 0.0
    rollout_tokens = 0

    def _generate(self, prompts: list[Any]) -> Any:
        start = time.perf_counter()
        found = super()._generate(prompts)
        self.rollout_seconds += time.perf_counter() - start
        self.rollout_tokens += sum(map(len, found[1]))
        return found


class TakesTurns(TrainerCallback):
    """Holds the trainer until the parent asks for a step."""

    def __init__(self, link: Link, further: Mapping[str, Callable[[], Any]] | None = None) -> None:
        """`further` commands are answered between two steps."""
        self.link = link
        self.commands = {"peak": peak_bytes, **(further or {})}
        self.trainer: Timed
        self.start = 0.0

    def hold(self, control: Any) -> None:
        """Wait for the next command."""
        while (asked := self.link.receive()) is not None:
            if asked[0] == "step":
                self.trainer.rollout_seconds, self.trainer.rollout_tokens = 0.0, 0
                self.start = time.perf_counter()
                return
            self.link.reply(self.commands[asked[0]]())
        control.should_training_stop = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before the first step."""
        self.hold(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell what the step took."""
        seconds = time.perf_counter() - self.start
        rollout = self.trainer.rollout_seconds
        self.link.reply(
            {"seconds": seconds, "rollout": rollout, "update": seconds - rollout,
             "tokens": self.trainer.rollout_tokens}
        )  # fmt: skip
        self.hold(control)


def settings(folder: str, chosen: Case, batch: int, dtype: str, **changes: Any) -> GRPOConfig:
    """Those of `stage.RECIPE`; `batch` completions at a time go forward and backward."""
    return GRPOConfig(**{
        "output_dir": folder, "use_cpu": True, "bf16": dtype == "bfloat16", "report_to": [],
        "gradient_checkpointing": False, "save_strategy": "no", "logging_strategy": "no",
        "disable_tqdm": True, "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": chosen.completions // batch, "num_generations": chosen.group,
        "max_completion_length": chosen.limit, "temperature": 1.0, "learning_rate": 1e-6,
        "lr_scheduler_type": "constant", "beta": chosen.kl, "loss_type": "grpo", "epsilon": 0.2,
        "max_grad_norm": 1.0, "max_steps": ENDLESS, "seed": 1,
    } | changes)  # fmt: skip


def trainer_of(
    chosen: Case, model: Path, folder: str, batch: int, dtype: str, callbacks: list[Any]
) -> Timed:
    """A trainer on the case's model, prompts and reward."""
    rows = [{"prompt": text + "\n"} for text in prompts(chosen, 512)]
    return Timed(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(model),
        reward_funcs=even_words,
        args=settings(folder, chosen, batch, dtype),
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
    """TRL's loss of these completions, drawn by the reference's policy, and those log-probabilities."""
    chosen = Case(len(completions), max(map(len, completions)), kl=kl)
    with tempfile.TemporaryDirectory() as folder:
        trainer, other = (
            trainer_of(chosen, Path(model), folder, len(completions), "float32", [])
            for model in (policy, reference)
        )
    trainer.current_gradient_accumulation_steps = 1
    ids, mask = _left(prompts), _left([[1] * len(row) for row in prompts])
    done, done_mask = _right(completions), _right([[1] * len(row) for row in completions])
    with torch.no_grad():
        old, _, _ = other._get_per_token_logps_and_entropies(
            other.model, torch.cat([ids, done], 1), torch.cat([mask, done_mask], 1), done.shape[1]
        )
        found = trainer._compute_loss(
            trainer.model,
            {
                "prompt_ids": ids, "prompt_mask": mask, "completion_ids": done,
                "completion_mask": done_mask, "advantages": torch.tensor(advantages),
                "old_per_token_logps": old, "ref_per_token_logps": old,
                "num_items_in_batch": done_mask.sum(),
            },
        )  # fmt: skip
    known = [row[: len(c)].tolist() for row, c in zip(old, completions, strict=True)]
    return {"loss": float(found), "old": known}


def _left(rows: list[list[int]]) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[0] * (width - len(row)) + row for row in rows])


def _right(rows: list[list[int]]) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def main() -> None:
    """Open what the first command says, and serve."""
    link = Link()
    while (asked := link.receive()) is not None:
        command, given = asked
        if command == "loss":
            link.reply(loss(**given))
            continue
        assert command == "open", command
        torch.set_num_threads(given["threads"])
        chosen, place = Case(**given["case"]), Path(given["folder"])
        turns = TakesTurns(link)
        batch = min(given["batch"] or chosen.completions, chosen.completions)
        model = place_of(chosen, place.parent)
        turns.trainer = trainer_of(chosen, model, str(place), batch, given["dtype"], [turns])
        link.reply(True)
        turns.trainer.train()
        return


if __name__ == "__main__":
    main()

"""One model in training: precision, replicas, AdamW with its schedule, clipping, the stop on broken numbers, the state.

In: a model, the optimizer's settings, and a loss per micro-batch from a learner (`policy`, `critic`, `supervised`,
`reward_model`). Out: changed weights, the gradient's norm and the learning rate of each step, and a state from which
training resumes bit for bit. Each step has one denominator, which the learner divides by, however the step is cut into
micro-batches. There is no randomness here, and no dropout.

The DeepSeek-R1 paper states learning rates and, for supervised stages, a cosine decay. Betas, weight decay, warm-up
and clipping are not stated; they stand in `config.optimizer`. Gradients are clipped to a norm, and a norm beyond
`stop_grad_norm` ends the run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dianoia.base.errors import ConfigError, TrainingStopped
from dianoia.base.faults import error_path
from dianoia.config import OptimizerSettings
from dianoia.distributed.digests import weights_digest
from dianoia.distributed.group import ranks
from dianoia.learner.checkpoint_folder import Usage, save_checkpoint
from dianoia.learner.kernels.prepare import prepare_for_cpu, recompute_layers
from dianoia.learner.lora import ADAPTER, MergedWeights, has_adapters, merged_model, save_adapter
from dianoia.learner.replicas import Replicas, make_replicas
from dianoia.learner.shard_replicas import ShardReplicas
from dianoia.learner.sharded_state import (
    gathered,
    is_in_parts,
    needs_parts,
    read_parts,
    split,
    whole_bytes,
    write_parts,
)
from dianoia.learner.shards import (
    Sharding,
    TensorOf,
    copy_tensors,
    is_sharded,
    own_rows,
    shard_like,
)
from dianoia.storage.state import load_state, save_state

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")
R = TypeVar("R")

Autocast = Literal["none", "bfloat16"]

_COMPARED_EVERY = 8
"""Optimizer steps between two comparisons of the weights on all ranks."""

# Optimizer and schedule ---------------------------------------------------------------------------


def adamw(model: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """Return AdamW (https://arxiv.org/abs/1711.05101) over the trainable parameters.

    Weight decay applies to matrices only: norms, biases and other vectors are not shrunk.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Matrices first, then vectors: states and the norm of the gradient depend on this order.
    groups = [
        {
            "params": [p for p in trainable if p.ndim >= 2],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    # One kernel for all parameters, where the device and the dtypes have it.
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trainable)
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=fused,
    )


def constant(progress: float, floor: float) -> float:
    """Return 1; `floor` is not read."""
    return 1.0


def cosine(progress: float, floor: float) -> float:
    """Return half a cosine from 1 at progress 0 to `floor` at progress 1 (https://arxiv.org/abs/1608.03983)."""
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: Mapping[str, Callable[[float, float], float]] = {"constant": constant, "cosine": cosine}
"""(progress after warm-up from 0 to 1, floor) -> factor, by name."""


def rate_factor(step: int, settings: OptimizerSettings, total_steps: int) -> float:
    """Return the factor of the learning rate for optimizer step `step`, counted from 0.

    Warm-up rises linearly and never is 0: step s has (s + 1) / warmup_steps. The schedule then runs from step
    `warmup_steps` (progress 0) to step `total_steps` (progress 1, and held there).
    """
    warmup = settings.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    # At least 1: warm-up may be as long as the stage.
    length = max(1, total_steps - warmup)
    return SCHEDULES[settings.schedule](min(1.0, (step - warmup) / length), settings.floor)


# Training -----------------------------------------------------------------------------------------


class StepReport(NamedTuple):
    """An optimizer step that was taken."""

    grad_norm: float
    """Euclidean norm of the gradient before clipping."""
    learning_rate: float


class Trainer(Generic[M]):
    """A model, its replicas and its optimizer."""

    def __init__(
        self,
        model: M,
        settings: OptimizerSettings,
        total_steps: int,
        *,
        autocast: Autocast = "none",
        recompute: bool = False,
        prepare: bool = True,
        replicas: int | None = None,
        sharding: Sharding | None = None,
        contents: TensorOf | None = None,
        title: str = "Training",
    ) -> None:
        """Take over `model` as it is.

        `recompute` keeps only the input of each layer and computes activations again in the backward pass. `prepare`
        puts the model into evaluation mode and exchanges its layers for faster ones on a CPU; False is for a model
        that is prepared already or has to run as it is. `replicas` None: one per CPU thread. With `sharding` the ranks hold
        the model together instead: every rank gives its structure, and rank 0 the weights, or `contents` says what this
        rank holds (collective, as are then all steps and passes). `title` begins the message of a step that cannot be taken.
        """
        # Kernels are exchanged before replicas copy the model: a copy keeps what its original had.
        if prepare:
            nn.Module.eval(model)
            if recompute:
                assert isinstance(model, PreTrainedModel)
                recompute_layers(model)
            prepare_for_cpu(model, autocast, None if sharding is None else sharding.device)
        self.shards: ShardReplicas[M] | None = None
        if sharding is not None:
            self.shards = ShardReplicas(model, sharding, contents)
        self.model = model
        self.settings = settings
        self.total_steps = total_steps
        self.title = title
        self.autocast = autocast
        self.device = next(model.parameters()).device
        # Over the shards, which are other parameters than the model came with.
        self.optimizer = adamw(model, settings)
        self.step = 0
        self._replica_count = replicas

    @cached_property
    def replicas(self) -> Replicas[M]:
        """The replicas of the model, made when they are first used: a learner may prepare its model until then."""
        if self.shards is not None:
            return self.shards
        return make_replicas(self.model, self._replica_count)

    def ask(self, question: Callable[[M], R]) -> R:
        """Return the answer of a function that may run the model, before the model is copied or trained."""
        return question(self.model) if self.shards is None else self.shards.ask(question)

    def exchange(self, change: Callable[[M], object]) -> None:
        """Let `change` exchange the functions of the model's layers, and of what copies of the model are made of."""
        change(self.model)
        if self.shards is not None:
            change(self.shards.structure)

    def precision(self) -> AbstractContextManager[None]:
        """Return the autocast context in which forward passes run."""
        enabled = self.autocast == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def token_budget(self, tokens: int, cpu_limit: int) -> int:
        """Return the positions of a micro-batch: `tokens`, on a CPU at most `cpu_limit`."""
        return min(cpu_limit, tokens) if self.device.type == "cpu" else tokens

    # Passes over micro-batches

    def evaluate(self, micro_batches: Sequence[B], measure: Callable[[M, B], R]) -> list[list[R]]:
        """Return what `measure` returns for each micro-batch, without gradients, a list per replica."""
        return self.replicas.run(forward_passes(measure), micro_batches)

    # The step

    def take_step(
        self, loss: float, norm: float | None = None, *, schedule_step: int | None = None
    ) -> StepReport:
        """Check `loss` and the gradient in `.grad`, clip, and take one optimizer step.

        `norm` is the gradient's norm; None: `gradient_norm`. `schedule_step` is where the learning-rate schedule is; None:
        the number of steps taken. Raises TrainingStopped, with the weights untouched, for a loss or gradient that is not
        finite and for a norm above `stop_grad_norm`.
        """
        norm = self.gradient_norm() if norm is None else norm
        if faults := self.faults(loss, norm):
            advice = (
                "Start a new run (another --out) with a lower optimizer.learning_rate (now "
                f"{self.settings.learning_rate:g}) or more optimizer.warmup_steps (now {self.settings.warmup_steps})."
            )
            raise self.stopped(faults, advice)
        return StepReport(norm, self.descend(norm, schedule_step))

    def gradient_norm(self) -> float:
        """Return the Euclidean norm over all trainable parameters, before clipping.

        Parameters that nothing reached get a gradient of zero, so that the optimizer's averages and weight decay move
        in every step alike.
        """
        parameters = self._parameters()
        for parameter in parameters:
            if parameter.grad is None:
                # AdamW would leave a parameter without gradient out of the step.
                parameter.grad = torch.zeros_like(parameter)
        return self.replicas.gradient_norm(parameters)

    def faults(self, loss: float, norm: float, owner: str = "") -> list[str]:
        """Return what forbids a step, in words; nothing where it may be taken. `owner` names whose numbers they are."""
        limit = self.settings.stop_grad_norm
        faults = [
            f"the {owner}{name} is {value}"
            for name, value in (("loss", loss), ("gradient norm", norm))
            if not math.isfinite(value)
        ]
        # Only for finite numbers: the messages above name the others.
        if norm > limit and not faults:
            return [f"the {owner}gradient norm is {norm:.6g}, above stop_grad_norm={limit:g}"]
        return faults

    def stopped(self, faults: Sequence[str], advice: str) -> TrainingStopped:
        """Drop the gradients and return the error that ends the run."""
        self.optimizer.zero_grad()
        return TrainingStopped(
            f"{self.title} stopped before optimizer step {self.step + 1}: {' and '.join(faults)}. No "
            f"weight was changed. {advice}"
        )

    def descend(self, norm: float, schedule_step: int | None = None) -> float:
        """Scale the gradient, whose norm is `norm`, down to `max_grad_norm`; take the step; return the learning rate."""
        parameters = self._parameters()
        # Scaled with the norm that is known already: computing it again would wait for the device.
        if norm > self.settings.max_grad_norm:
            total = torch.tensor(norm, device=self.device)
            torch.nn.utils.clip_grads_with_norm_(parameters, self.settings.max_grad_norm, total)
        position = self.step if schedule_step is None else schedule_step
        rate = self.settings.learning_rate * rate_factor(position, self.settings, self.total_steps)
        # The rate is set before every step, so a state needs no schedule of its own.
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        # The norm is one number, compared in each step; a digest reads all weights, so it comes more seldom.
        self.require_equal({"gradient norm": norm}, weights=self.step % _COMPARED_EVERY == 0)
        return rate

    def require_equal(
        self, values: Mapping[str, Any] | None = None, *, weights: bool = True
    ) -> None:
        """Compare the step, `values` and the weights with those of the other ranks. Raises RankError if they differ."""
        group = ranks()
        if group.size == 1:
            return
        compared: dict[str, Any] = {"optimizer step": self.step, **(values or {})}
        # Of a model in shards each rank has other rows.
        if weights and self.shards is None:
            compared["digest of the weights"] = weights_digest(_trained_state(self.model).values())
        group.require_equal(compared, f"{self.title.lower()}, after optimizer step {self.step}")

    def _parameters(self) -> list[Tensor]:
        """Return the trainable parameters in the optimizer's order: matrices first, then vectors."""
        # The gradient's norm is a sum in this order, and another order would round differently.
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    # The state

    def state_dict(self) -> dict[str, Any]:
        """Return everything an exact continuation needs, as live tensors: write it out before the next step."""
        return {
            "step": self.step,
            "model": _trained_state(self.model),
            "optimizer": self.optimizer.state_dict(),
        }

    def at_rest(self) -> bool:
        """Return True if a step with a gradient of 0 would change no weight: no weight decay, and averages of 0."""
        decays = any(group["weight_decay"] for group in self.optimizer.param_groups)
        states = self.optimizer.state.values()
        return not decays and self.all_agree(
            not any(bool(own_rows(state["exp_avg"]).any()) for state in states)
        )

    def all_agree(self, answer: bool) -> bool:
        """Return True if `answer` is True on every rank that holds a part of the model."""
        return answer if self.shards is None else self.shards.all_agree(answer)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict` of a trainer with the same settings. Raises ConfigError for one of other weights."""
        _load_trained_state(self.model, state["model"])
        self.optimizer.load_state_dict(self._own_optimizer_state(state["optimizer"]))
        self.step = state["step"]

    def begin_averages(self) -> None:
        """Give every parameter the averages that AdamW begins with, where it has none yet."""
        for parameter in self._parameters():
            if not self.optimizer.state[parameter]:
                self.optimizer.state[parameter] = {
                    "step": torch.zeros((), device=self.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }

    def _own_optimizer_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the optimizer's state with averages in the shards of their parameters."""
        if self.shards is None:
            return state
        parameters = self._parameters()
        averages = {
            index: {name: shard_like(value, parameters[index]) for name, value in values.items()}
            for index, values in state["state"].items()
        }
        return {**state, "state": averages}


def _trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that training changes: all of them, or of a model with frozen weights the others alone."""
    if all(parameter.requires_grad for parameter in model.parameters()):
        # Parameters themselves, since a tied one is to be gathered once.
        return model.state_dict(keep_vars=is_sharded(model))
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _load_trained_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy `_trained_state` into the model. Raises ConfigError for the state of another model or other adapters."""
    expected = _trained_state(model)
    shapes, saved = ({name: t.shape for name, t in part.items()} for part in (expected, state))
    if shapes != saved:
        differing = min(name for name in {*shapes, *saved} if shapes.get(name) != saved.get(name))
        raise ConfigError(
            f"The state was written with other trained weights: {differing} has the shape "
            f"{_shape(saved.get(differing))} there and {_shape(shapes.get(differing))} here. Resume with the model "
            "and the lora table that the run began with, or start a new run."
        )
    copy_tensors(model, state)


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else str([*shape])


def forward_passes(measure: Callable[[M, B], R]) -> Callable[[M, Sequence[B]], list[R]]:
    """Return the job of one replica without gradients. Grad mode belongs to the thread, so it is set within the job."""

    def job(model: M, micro_batches: Sequence[B]) -> list[R]:
        with torch.no_grad():
            return [measure(model, micro_batch) for micro_batch in micro_batches]

    return job


class Learner:
    """What all learners of language models share: the model, the step, the state, the checkpoint."""

    def __init__(self, trainer: Trainer[PreTrainedModel]) -> None:
        self.trainer = trainer

    @property
    def trainers(self) -> list[Trainer[Any]]:
        """The trainers of all models that learn."""
        return [self.trainer]

    @property
    def model(self) -> PreTrainedModel:
        """The model in training."""
        return self.trainer.model

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self.trainer.step

    def weights(self) -> Mapping[str, Tensor]:
        """Return parameters and persistent buffers by name, live: the next update changes them.

        Adapters are merged into the weights that a reader gets, and never into the model's own. Weights in shards are gathered
        when they are read (`MergedWeights`).
        """
        if has_adapters(self.model) or is_sharded(self.model):
            return MergedWeights(self.model)
        return self.model.state_dict()

    def release_gradients(self) -> None:
        """Free the memory of the gradients."""
        self.trainer.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Return everything an exact continuation needs, as live tensors: write it out before the next step."""
        return self.trainer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict` of a learner with the same settings."""
        self.trainer.load_state_dict(state)

    def save_state(self, folder: Path, progress: Mapping[str, Any]) -> None:
        """Replace the state in `folder` by this learner's; `progress` holds plain values of the caller's own.

        Rank 0 writes. Of a model in shards it writes whole tensors, or, where its host has no room for them, every rank writes
        its own (`learner.sharded_state`); every rank has to call this then. Any number of ranks resumes from either.
        """
        group, learner = ranks(), self.state_dict()
        tensors: dict[str, Tensor] = {}
        if self.trainer.shards is not None and needs_parts(learner):
            learner, tensors = split(learner)
        elif self.trainer.shards is not None:
            with group.exchanging("gather the state"):
                learner = gathered(learner, keep=group.writes)
        if group.writes:
            state = {"learner": learner, "progress": dict(progress)}
            write_further = partial(write_parts, tensors=tensors) if tensors else None
            save_state(folder, state, self.step, write_further, whole_bytes(tensors))
        elif tensors:
            with error_path(folder):
                write_parts(None, tensors)

    def load_state(self, folder: Path) -> dict[str, Any] | None:
        """Resume from the state in `folder`; returns the `progress` written with it, None where there is no state.

        Raises DamagedFile for a state that is not what was written, ConfigError for one of other settings.
        """
        # Each rank reads its rows alone, out of a file that is mapped into memory.
        is_in_shards = self.trainer.shards is not None
        device = torch.device("cpu") if is_in_shards else self.trainer.device
        state = load_state(folder, device, mapped=is_in_shards)
        if state is None:
            return None
        if is_in_parts(state["learner"]):
            for trainer in self.trainers:
                trainer.begin_averages()
            with error_path(folder):
                state["learner"] = read_parts(folder, state["learner"], self.state_dict())
        self.load_state_dict(state["learner"])
        progress: dict[str, Any] = state["progress"]
        return progress

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerBase, usage: Usage) -> None:
        """Write an ordinary Hugging Face folder with the model, the tokenizer, and how both are used.

        A model with adapters is written merged, and the adapters once more by themselves, in PEFT's format.
        """
        self.write(folder, lambda model: save_checkpoint(folder, model, tokenizer, usage))

    def write(self, folder: Path, save: Callable[[PreTrainedModel], None]) -> None:
        """Let `save` write an ordinary model with these weights into `folder`, then add the adapters where there are some.

        Every rank calls this and rank 0 writes.
        """
        writes = ranks().writes
        model = merged_model(self.model, writes)
        if model is not None:
            save(model)
        if has_adapters(self.model):
            save_adapter(folder / ADAPTER, self.model, writes)

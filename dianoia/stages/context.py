"""What a stage gets from outside: its folder, its seed, and the three roles.

In: names of models in the recipe and a stage's table. Out: a `RolloutSampler` (sampler), a `Judge` and a learner, ready to use. A
stage asks its context for them and does not know how many processes stand behind them: all ranks of a stage run the same stage, their
sampler, judge and learner share the work out and give every rank the whole result, and rank 0 writes (`writes`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dianoia.base.errors import ConfigError
from dianoia.config import (
    LoRASettings,
    RewardModelStage,
    RLStage,
    SFTStage,
    TemplateSettings,
)
from dianoia.config.template_table import QUESTION
from dianoia.distributed.group import ranks
from dianoia.hardware.devices import resolve_autocast
from dianoia.judge.judge import Judge, evaluation_judge, grader_of, training_judge
from dianoia.learner.checkpoint_folder import Draw, Usage
from dianoia.learner.lora import add_adapters
from dianoia.learner.policy import PolicyLearner
from dianoia.learner.reward_learner import RewardModelLearner
from dianoia.learner.reward_model_folder import prepare_padding, start_reward_model
from dianoia.learner.shards import FirstRankWeights, Sharding, load_on_first_rank, whole_copy
from dianoia.learner.supervised import SupervisedLearner
from dianoia.models.endpoint import sent_key
from dianoia.models.loading import load_model, load_model_and_tokenizer, load_tokenizer
from dianoia.sampler.factory import DTYPES, make_sampler
from dianoia.sampler.first_rank import FirstRankSampler
from dianoia.sampler.interface import Sampler
from dianoia.sampler.native.weights import refusal
from dianoia.sampler.rollouts import RolloutSampler, stop_ids
from dianoia.sampler.served.served_sampler import ServedSampler
from dianoia.storage.stage_inputs import Context
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATE_RECORD, Template, checkpoint_template, template_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StartModel:
    """A model that a stage begins with."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a response."""
        return stop_ids(self.model, self.tokenizer)

    def template(self, name: str) -> Template | None:
        """Return the template that the model was trained under, by its own record. `name` is for messages."""
        return checkpoint_template(
            name, {TEMPLATE_RECORD: getattr(self.model.config, TEMPLATE_RECORD, None)}
        )

    def other_template(self, name: str, asked_under: Template) -> str | None:
        """Return the name of the template that the model was trained under; None if that is `asked_under` or unknown."""
        trained = self.template(name)
        return None if trained is None or trained == asked_under else trained.name

    def prompts(self, template: Template) -> Prompts:
        """Return what turns messages into the ids of prompts under a template."""
        return Prompts(self.tokenizer, template, self.stop_ids)


@dataclass(frozen=True, slots=True)
class StageContext(Context):
    """Where a stage writes, how it finds its inputs, and who samples, scores and learns for it."""

    templates: Mapping[str, TemplateSettings] = field(default_factory=dict)
    """The recipe's own templates by name."""
    draw: Draw = field(default_factory=Draw)
    """How the checkpoint of this stage is sampled by those who use it."""
    sharding: Sharding | None = None
    """How ranks hold the model in training together; None: each has a copy."""

    def template(self, name: str | None) -> Template:
        """Return a template of the recipe, or a built-in one, by name; None: the default."""
        return template_of(name, self.templates)

    def usage(self, start: StartModel, template: Template, keep_thoughts: bool = False) -> Usage:
        """Return how the checkpoint of this stage is asked and sampled."""
        return Usage(template, start.prompts(template).stop_ids, self.draw, keep_thoughts)

    def decided(self, value: T, verb: str) -> T:
        """Return rank 0's `value` on every rank: what it has found on disk, say, which it may be about to change."""
        return ranks().broadcast(value, verb)

    def print_line(self, message: str) -> None:
        """Print a line that stays, with the stage's name."""
        self.progress.print_line(f"{self.name}: {message}")

    def language_model(self, name: str, lora: LoRASettings | None = None) -> StartModel:
        """Load a causal language model and its tokenizer, in the dtype of frozen weights if it will have adapters.

        Raises ModelError.
        """
        source = self.resolve(name)
        # What is trained in full is float32 always; only weights that stay frozen may be narrower.
        dtype = DTYPES["float32" if lora is None else lora.dtype]
        if self.sharding is None:
            return StartModel(*load_model_and_tokenizer(source, dtype, self.device))
        # Of a model that ranks hold together, rank 0 alone reads the weights.
        model = self._load(lambda device: load_model(source, dtype, device))
        return StartModel(model, load_tokenizer(source))

    def reward_model(self, name: str) -> StartModel:
        """Load a model that becomes a reward model, padding included. Raises ModelError."""
        source = self.resolve(name)
        # The scalar head is new and drawn by the recipe's seed; the body has the weights of the source.
        model = self._load(lambda device: start_reward_model(source, self.seed, device))
        tokenizer = load_tokenizer(source)
        prepare_padding(model, tokenizer)
        return StartModel(model, tokenizer)

    def _load(self, load: Callable[[torch.device], PreTrainedModel]) -> PreTrainedModel:
        """Return a model on the device; where ranks hold it together, on rank 0's CPU alone, to be split from there."""
        if self.sharding is None:
            return load(self.device)
        return load_on_first_rank(lambda: load(torch.device("cpu")), self.sharding.group)

    def sampler(
        self,
        start: StartModel,
        template: str | None,
        *,
        slots: int,
        dtype: Literal["float32", "bfloat16"],
        cache_share: float,
        wording: str = QUESTION,
    ) -> RolloutSampler:
        """Return what samples rollouts from a copy of the model's weights, `slots` of them at a time.

        cache_share: see `NativeSampler`.
        """
        self._report_template(start, template)
        # A copy of the weights: the learner changes its own while samples are drawn, and hands them over between steps.
        model, weights = start.model, None
        if self.sharding is not None:
            # The native sampler reads one tensor after the other, so that no rank needs the whole model for a moment.
            if refusal(model.config) is None:
                weights = FirstRankWeights(model, self.sharding.group)
            else:
                model = whole_copy(model, self.sharding)
        sampler = make_sampler(
            model,
            slots=slots,
            dtype=DTYPES[dtype],
            device=self.device,
            weights=weights,
            cache_share=cache_share,
        )
        return RolloutSampler(sampler, start.prompts(self.template(template)), wording)

    def rollout_sampler(self, start: StartModel, config: RLStage) -> RolloutSampler:
        """Return what samples the rollouts of an `rl` stage: in this process, or on servers.

        Raises ConfigError for servers that cannot be started.
        """
        sampling, rollouts = config.sampling, config.rollouts
        if not rollouts.served:
            return self.sampler(
                start,
                config.template,
                slots=sampling.slots,
                dtype=sampling.dtype,
                cache_share=sampling.cache_share,
            )
        self._report_template(start, config.template)
        if self.sharding is not None and config.lora is not None and rollouts.lora == "adapter":
            raise ConfigError(
                f'stages.{self.name}.rollouts.lora = "adapter": the adapters of a model in shards are sent merged; set '
                'rollouts.lora = "merged", or shard = "none"'
            )
        group = ranks()
        # Servers are rank 0's: each rank would start its own, or load weights into the same ones against the others.
        sampler: Sampler | None = self._served(start, config) if group.writes else None
        # `sampler is None` says the same for other ranks, and says so to the type checker.
        if sampler is None or group.size > 1:
            vocabulary = start.model.config.get_text_config().vocab_size
            sampler = FirstRankSampler(sampler, vocabulary, group)
        return RolloutSampler(sampler, start.prompts(self.template(config.template)))

    def _served(self, start: StartModel, config: RLStage) -> ServedSampler:
        sampling, rollouts = config.sampling, config.rollouts
        return ServedSampler(
            start.model.config,
            start.tokenizer,
            start.model.state_dict(),
            rollouts,
            folder=self.directory.path,
            name=self.name,
            dtype=DTYPES[sampling.dtype],
            max_tokens=sampling.largest_max_tokens,
            key=None if rollouts.key_env is None else sent_key(rollouts.key_env, "the servers"),
            lora=config.lora,
            on_cpu=self.device.type == "cpu",
            report=self.print_line,
        )

    def _report_template(self, start: StartModel, template: str | None) -> None:
        template_used, trained = (
            self.template(template),
            start.template(str(start.model.config.name_or_path)),
        )
        # Where format is near 0 later on, this is the first thing to look at.
        if trained is not None and trained != template_used:
            self.print_line(
                f"asks under the template {template_used.name!r}, and the checkpoint was trained under {trained.name!r}"
            )

    def judges(self, config: RLStage) -> tuple[Judge, Judge]:
        """Return the judge of the training reward, and that of held-out problems (accuracy and format)."""
        grader = grader_of(config.rewards, self)
        template = self.template(config.template)
        # The chat template of a tokenizer may open a thought by itself.
        if template.chat:
            template = Prompts(load_tokenizer(self.resolve(config.start)), template).template
        return training_judge(config, self, template, grader), evaluation_judge(
            config.rewards, grader
        )

    def add_adapters(
        self, start: StartModel, lora: LoRASettings | None, *, train_head: bool = False
    ) -> None:
        """Freeze a model and add the adapters of a `lora` table; nothing where there is none. Raises ConfigError."""
        if lora is None:
            return
        try:
            add_adapters(start.model, lora, self.seed, train_head=train_head)
        # Name the table that the person wrote; `add_adapters` knows only the key in it.
        except ConfigError as error:
            raise ConfigError(f"stages.{self.name}.{error}") from None

    def policy_learner(self, start: StartModel, config: RLStage) -> PolicyLearner:
        """Return the learner of an `rl` stage."""
        self.add_adapters(start, config.lora)
        return PolicyLearner(
            start.model,
            config.algorithm,
            config.optimizer,
            total_steps=config.steps,
            max_tokens=config.sampling.max_tokens,
            temperature=config.sampling.temperature,
            tokens_per_micro_batch=config.tokens_per_micro_batch,
            autocast=resolve_autocast(config.autocast, self.device),
            recompute=config.recompute,
            sharding=self.sharding,
        )

    def supervised_learner(
        self, start: StartModel, config: SFTStage, steps: Sequence[object]
    ) -> SupervisedLearner:
        """Return the learner of an `sft` stage of so many optimizer steps."""
        self.add_adapters(start, config.lora)
        return SupervisedLearner(
            start.model,
            config.optimizer,
            total_steps=len(steps),
            tokens_per_row=config.tokens_per_micro_batch,
            autocast=resolve_autocast(config.autocast, self.device),
            recompute=config.recompute,
            sharding=self.sharding,
        )

    def reward_model_learner(
        self, start: StartModel, config: RewardModelStage, total_steps: int
    ) -> RewardModelLearner:
        """Return the learner of a `reward_model` stage; the scalar head is trained in full beside adapters."""
        # The head is random at first, and adapters have no part in it.
        self.add_adapters(start, config.lora, train_head=True)
        return RewardModelLearner(
            start.model,
            config.optimizer,
            total_steps=total_steps,
            tokens_per_micro_batch=config.tokens_per_micro_batch,
            autocast=resolve_autocast(config.autocast, self.device),
            recompute=config.recompute,
            sharding=self.sharding,
        )

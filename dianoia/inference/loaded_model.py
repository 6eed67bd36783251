"""A language model that answers questions: weights, tokenizer, template and defaults of a checkpoint.

In: what `checkpoints.find_checkpoint` takes, then questions. Out: `Response`s. The engines, prompts and random streams are those
of training: a response depends on the weights, the conversation, the seed and its number among the samples, and on nothing
that is sampled beside it. Imports PyTorch.

The template is the one that the checkpoint was trained under, by its own record; of a base in a run the one under which the run
asks it; of a model from elsewhere its tokenizer's chat template; else `text.template.DEFAULT`.
"""

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.records import Problem, Rollout, RolloutStatus, SamplingParams
from dianoia.base.streams import Key, Stream, stream_key
from dianoia.bases import shipped_model
from dianoia.hardware.devices import pick_device
from dianoia.inference.chat_messages import Question, turns_of
from dianoia.inference.checkpoints import Checkpoint, find_checkpoint
from dianoia.inference.response import Response, response_of
from dianoia.inference.thought_stream import split_text
from dianoia.judge.judge import evaluation_judge
from dianoia.judge.reward_part import ACCURACY
from dianoia.models.hub_config import cache_alone_if_unreachable, model_config
from dianoia.models.loading import load_model_and_tokenizer
from dianoia.sampler.factory import DTYPES, make_sampler
from dianoia.sampler.interface import Sampler
from dianoia.sampler.rollouts import RolloutSampler, stop_ids
from dianoia.tasks.catalog import VERIFIERS
from dianoia.text.prompts import Prompts
from dianoia.text.template import (
    DEFAULT,
    TEMPLATE_RECORD,
    TEMPLATES,
    Tags,
    Template,
    checkpoint_template,
    template_of,
)

log = logging.getLogger(__name__)

MAX_TOKENS = 4096
"""Limit on response tokens when nobody sets one and the model's positions allow it."""
_LAST_TOKENS = 16
"""Tokens at the end of a prompt that a tag and the line breaks behind it fit into."""
_SEED_BITS = 32
"""Size of a seed that is drawn: short enough to be typed again."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """How a model is sampled when nobody says otherwise: by its generation_config.json, else as the paper evaluates (D.1)."""

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0


def load(
    model: str | Path | Checkpoint,
    *,
    template: str | Template | None = None,
    device: str | torch.device | None = None,
    dtype: str | None = None,
    slots: int = 256,
) -> "Model":
    """Load a model that answers questions.

        model = dianoia.load("miniature-base")                # ships with the package
        model = dianoia.load("runs/miniature-r1:zero")        # a checkpoint of a run, by name
        model = dianoia.load("runs/x/stages/zero/checkpoint") # any Hugging Face folder, or a hub name

    Args:
        model: see `dianoia.inference.checkpoints`.
        template: a built-in template or one of the run's own, by name; None: the one that the model was trained under.
        device: None: the first GPU, else the CPU.
        dtype: of weights and KV cache, `float32` or `bfloat16`; None: float32 on a CPU, on a GPU the checkpoint's own.
        slots: most responses that are sampled at the same time.

    Raises:
        ModelError: there is no such model, or it is damaged.
        ConfigError: there is no such template, checkpoint or dtype.
    """
    checkpoint = model if isinstance(model, Checkpoint) else find_checkpoint(model)
    target = pick_device() if device is None else torch.device(device)
    # Without a connection the hub's client would retry for minutes.
    local = Path(checkpoint.source).exists()
    with _no_progress_bars(), nullcontext() if local else cache_alone_if_unreachable():
        source, precision = checkpoint.source, _dtype(dtype, target, checkpoint.source)
        network, tokenizer = load_model_and_tokenizer(source, precision, target)
    chat_template = choose_template(checkpoint, network.config, tokenizer, template)
    return Model(checkpoint, network, tokenizer, chat_template, slots=slots)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Switch off the bars that transformers shows while it reads weights; they would tear other output."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def choose_template(
    checkpoint: Checkpoint,
    config: PreTrainedConfig,
    tokenizer: Any,
    override: str | Template | None = None,
) -> Template:
    """Return the template under which a model is asked.

    `override` comes first, with a warning if the model was trained under another one. Raises ConfigError for a name that there is
    not, ModelError for a damaged record in the model's config.json.
    """
    # A stage records its template in config.json, so that a model is asked as it was trained.
    record = {TEMPLATE_RECORD: getattr(config, TEMPLATE_RECORD, None)}
    trained = checkpoint_template(checkpoint.source, record)
    if override is not None:
        template = (
            override if isinstance(override, Template) else _template_by_name(checkpoint, override)
        )
        # Allowed, since comparing templates is of use; but accuracy falls, and a person should know why.
        if trained is not None and trained != template:
            log.warning(
                "%s is asked under the template %r and was trained under %r.",
                checkpoint.name,
                template.name,
                trained.name,
            )
        return template
    if trained is not None:
        return trained
    if checkpoint.template is not None:
        return checkpoint.template
    # The chat template of a shipped base was made from the default template, whose tags it cannot tell.
    is_shipped = shipped_model(checkpoint.name) == Path(checkpoint.source)
    return TEMPLATES[DEFAULT if is_shipped or not tokenizer.chat_template else "chat"]


def _template_by_name(checkpoint: Checkpoint, name: str) -> Template:
    names = [*TEMPLATES, *checkpoint.templates]
    if name not in names:
        raise ConfigError(
            f"template {name!r}: there is no such template{nearest(name, names)}; there are {', '.join(names)}"
        )
    return template_of(name, checkpoint.templates)


def _dtype(name: str | None, device: torch.device, source: str) -> torch.dtype:
    if name is not None and name not in DTYPES:
        raise ConfigError(
            f"dtype {name!r}: there is no such data type{nearest(name, DTYPES)}; there are {', '.join(DTYPES)}"
        )
    if name is not None:
        return DTYPES[name]
    # On a CPU bfloat16 is slower, and training here is float32.
    if device.type == "cpu":
        return torch.float32
    config = model_config("dianoia.load", source)
    dtype_name = str(config.get("dtype") or config.get("torch_dtype"))
    return DTYPES.get(dtype_name, torch.float32)


class Model:
    """A language model, ready to be asked. Calls from several threads take turns."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        *,
        slots: int = 256,
    ) -> None:
        """Copy the weights of `network` into an engine; `load` is the usual way to make one.

        Raises ConfigError for a model without an end token, and for a template that its tokenizer cannot render.
        """
        self.checkpoint, self.tokenizer = checkpoint, tokenizer
        self.config, self.dtype = network.config, network.dtype
        self.stop_ids = stop_ids(network, tokenizer)
        """Tokens that end a response, those of the template aside."""
        self.defaults = _defaults(network)
        self.sampler: Sampler = make_sampler(network, slots=slots, dtype=network.dtype)
        """The engine: token ids in, token ids out."""
        self._prompts: dict[str, Prompts] = {}
        self.prompts = self.prompts_under(template)
        """Messages in, the ids of a prompt out."""

    @property
    def name(self) -> str:
        """The name of its checkpoint, such as `zero`."""
        return self.checkpoint.name

    @property
    def template(self) -> Template:
        """The template of its prompts and responses."""
        return self.prompts.template

    @property
    def positions(self) -> int | None:
        """Most tokens of a prompt and its response together; None if the model does not say."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)

    def __repr__(self) -> str:
        return f"<Model {self.name!r} from {self.checkpoint.source!r}, template {self.template.name!r}>"

    # Asking ----------------------------------------------------------------------------------------

    def ask(
        self,
        question: Question | Problem,
        samples: int = 1,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        system: str | None = None,
        template: str | Template | None = None,
    ) -> list[Response]:
        """Return responses to a question, a conversation or a problem.

            for response in model.ask("Tom has 12 apples and eats 5. How many are left?", samples=4):
                print(response.thought, response.answer, response.status)

        Args:
            question: a text; messages as the OpenAI API has them, or `Turn`s, that end with the user's; or a `Problem`, whose
                verifier then says whether each answer is right.
            temperature, top_p, top_k: None: the model's own, see `defaults`. Temperature 0 always takes the likeliest token.
            max_tokens: limit on the tokens of a response; None: 4,096, or what the model's positions leave.
            seed: the same seed draws the same responses; None: one is drawn, and is in every response.
            system: a system message before the conversation.
            template: see `load`; None: the model's.

        Raises:
            ConfigError: a value out of range, a conversation that a template has no place for, a prompt that is too long, or a
                problem whose verifier there is not.
        """
        questions = [question]
        (responses,) = self.ask_all(
            questions,
            samples,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_tokens=max_tokens,
            seed=seed,
            system=system,
            template=template,
        )
        return responses

    def ask_all(
        self,
        questions: Sequence[Question | Problem],
        samples: int = 1,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        system: str | None = None,
        template: str | Template | None = None,
    ) -> list[list[Response]]:
        """Return the responses to several questions, sampled together: each as `ask` alone gives it."""
        if samples < 1:
            raise ConfigError(f"samples = {samples}: a question needs one sample or more")
        seed = secrets.randbits(_SEED_BITS) if seed is None else seed
        roller = RolloutSampler(self.sampler, self.prompts_under(template))
        problems = [_problem(number, question, system) for number, question in enumerate(questions)]
        sources = [f"question {number}" for number in range(1, len(problems) + 1)]
        prompt_ids = roller.prompts([problem.messages for problem in problems], sources)
        longest = max(map(len, prompt_ids), default=0)
        params = self.sampling_params(
            longest,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_tokens=max_tokens,
            stop_ids=roller.prompts.stop_ids,
        )
        # One key for all questions: a response does not depend on how many are asked at once.
        keys = [asked_key(seed)] * len(problems)
        rollouts_PG = roller.with_keys(keys, problems, samples, params)
        graded = [
            _graded(rollouts_G) if isinstance(question, Problem) else [None] * samples
            for question, rollouts_G in zip(questions, rollouts_PG, strict=True)
        ]
        return [
            self._responses(roller, rollouts_G, right_G, seed)
            for rollouts_G, right_G in zip(rollouts_PG, graded, strict=True)
        ]

    def _responses(
        self,
        roller: RolloutSampler,
        rollouts_G: Sequence[Rollout],
        right_G: Sequence[bool | None],
        seed: int,
    ) -> list[Response]:
        template = roller.template
        splits_G = [
            split_text(rollout.text, template, self.opens_thought(rollout.prompt_ids, template))
            for rollout in rollouts_G
        ]
        tokens_G = roller.count_tokens([split.thought or "" for split in splits_G])
        return [
            response_of(rollout, split, seed=seed, thought_tokens=tokens, right=right)
            for rollout, split, tokens, right in zip(
                rollouts_G, splits_G, tokens_G, right_G, strict=True
            )
        ]

    # Parts, for servers and chats ------------------------------------------------------------------

    def prompts_under(self, template: str | Template | None = None) -> Prompts:
        """Return what turns messages into prompts under a template; None: the model's own. Raises ConfigError."""
        if template is None:
            return self.prompts
        if isinstance(template, str):
            template = _template_by_name(self.checkpoint, template)
        prompts = self._prompts.get(template.name)
        # Two templates may share a name: one of a record, and one that the caller has made.
        if prompts is None or prompts.template != template:
            prompts = Prompts(self.tokenizer, template, self.stop_ids)
            self._prompts[template.name] = prompts
        return prompts

    def sampling_params(
        self,
        prompt_tokens: int,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        max_tokens: int | None = None,
        stop_ids: frozenset[int] | None = None,
    ) -> SamplingParams:
        """Return how a response is sampled; None: the model's defaults, and as many tokens as fit behind the prompt.

        Raises ConfigError if the prompt, or the prompt with `max_tokens`, needs more positions than the model has.
        """
        room = MAX_TOKENS if self.positions is None else self.positions - prompt_tokens
        if room < 1:
            raise ConfigError(
                f"the prompt has {prompt_tokens:,} tokens, and the model {self.name!r} has {self.positions:,} positions for "
                "prompt and response together; ask something shorter"
            )
        if max_tokens is not None and self.positions is not None and max_tokens > room:
            raise ConfigError(
                f"max_tokens = {max_tokens:,}: the prompt has {prompt_tokens:,} tokens and the model {self.name!r} has "
                f"{self.positions:,} positions, which leaves {room:,}; set max_tokens to {room:,} or less"
            )
        defaults = self.defaults
        return SamplingParams(
            max_tokens=min(MAX_TOKENS, room) if max_tokens is None else max_tokens,
            stop_ids=self.prompts.stop_ids if stop_ids is None else stop_ids,
            temperature=defaults.temperature if temperature is None else temperature,
            top_p=defaults.top_p if top_p is None else top_p,
            top_k=defaults.top_k if top_k is None else top_k,
        )

    def opens_thought(self, prompt_ids: Sequence[int], template: Template | None = None) -> bool:
        """Return True if a prompt ends with the tag that opens a thought, as some chat templates write it.

        template: that of the prompt; None: the model's own.
        """
        tag = ((template or self.template).tags or Tags()).open_thought
        # The end alone is decoded: a tag may be several tokens, and a prompt thousands.
        return self.decode(prompt_ids[-_LAST_TOKENS:]).rstrip().endswith(tag)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens included: a tag that is one must not vanish."""
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        return str(self.tokenizer.decode(list(ids), **options))


def asked_key(seed: int) -> Key:
    """Return the key of a person's question: together with a sample's number it decides the draw."""
    return stream_key(seed, Stream.ASKED)


def _problem(number: int, question: Question | Problem, system: str | None) -> Problem:
    """Return a question as a problem; one without a verifier of its own is never graded. Raises ConfigError."""
    if isinstance(question, Problem):
        # Before anything is sampled: grading would fail after it.
        if question.verifier not in VERIFIERS:
            raise ConfigError(
                f"problem {question.id!r}: there is no verifier {question.verifier!r}{nearest(question.verifier, VERIFIERS)}; "
                f"use one of {', '.join(sorted(VERIFIERS))}, or ask the question as a text"
            )
        if not system:
            return question
        turns = turns_of(question.messages, system)
        return replace(question, context=turns[:-1])
    turns = turns_of(question, system)
    return Problem(f"question-{number}", turns[-1].text, "", "text", context=turns[:-1])


def _graded(rollouts_G: Sequence[Rollout]) -> list[bool | None]:
    """Return the verifier's verdict on each rollout of a problem; None where it cannot tell."""
    (group,) = evaluation_judge().score_rollouts([rollouts_G])
    # None stays None: a gold answer that cannot be read makes no response wrong.
    values = [score.parts.get(ACCURACY) for score in group.scores]
    return [None if value is None else value == 1.0 for value in values]


def _defaults(network: PreTrainedModel) -> Defaults:
    """Return how a checkpoint says that it is sampled; where it says nothing, as the paper evaluates."""
    generation: Any = network.generation_config
    if generation is None:
        return Defaults()
    # False is also what transformers takes where a folder says nothing, so that it is believed of our own checkpoints alone.
    if generation.do_sample is False and generation.temperature is None and _is_ours(network):
        return Defaults(temperature=0.0, top_p=1.0)
    written = {name: getattr(generation, name, None) for name in ("temperature", "top_p", "top_k")}
    return replace(
        Defaults(), **{name: value for name, value in written.items() if value is not None}
    )


def _is_ours(network: PreTrainedModel) -> bool:
    """Return True for a checkpoint of a stage, whose greedy defaults are meant."""
    return getattr(network.config, TEMPLATE_RECORD, None) is not None


# A trial before training ---------------------------------------------------------------------------
# A model that never writes the tags of a template, or is never right, gets one reward for all its samples, and learns nothing
# from them.


@dataclass(frozen=True, slots=True)
class Trial:
    """Responses of a model to a few problems, counted."""

    responses: int
    finished: int
    """Responses that ended by themselves and keep the rules of the template."""
    truncated: int
    """Responses that were cut at the limit."""
    right: int
    example: str
    """The text of the first response that is not finished, else of the first."""


def try_problems(
    model: Model,
    problems: Sequence[Problem],
    template: Template,
    *,
    samples: int = 4,
    max_tokens: int = 256,
) -> Trial:
    """Sample each problem at temperature 1, as training does, and count. The same seed is used each time.

    Raises ConfigError as `Model.ask_all`.
    """
    responses = [
        response
        for responses_G in model.ask_all(
            problems,
            samples,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_tokens=max_tokens,
            seed=0,
            template=template,
        )
        for response in responses_G
    ]
    unfinished = [row for row in responses if row.status is not RolloutStatus.FINISHED]
    return Trial(
        responses=len(responses),
        finished=len(responses) - len(unfinished),
        truncated=sum(row.status is RolloutStatus.TRUNCATED for row in responses),
        right=sum(row.right is True for row in responses),
        example=(unfinished or responses)[0].text if responses else "",
    )

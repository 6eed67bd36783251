"""From problems to parsed rollouts: template, tokenizer and sampler put together."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Problem, Request, Rollout, SamplingParams
from dianoia.judge.verification import graded_early
from dianoia.models.loading import encode_prompts
from dianoia.sampler.interface import Sampler
from dianoia.text.parsing import make_rollout
from dianoia.text.template import TEMPLATES, Template


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every id that ends a sample: many models have several, and miss them in one place or another.

    Raises:
        ConfigError: the model names none, so that no sample could ever finish.
    """
    generation: Any = model.generation_config
    named = [generation.eos_token_id if generation else None, model.config.eos_token_id]
    found: set[int] = set()
    for ids in [*named, tokenizer.eos_token_id]:
        if ids is not None:
            found.update([ids] if isinstance(ids, int) else ids)
    if not found:
        raise ConfigError(
            "neither the model nor its tokenizer names an end-of-sequence token, so every sample would "
            "be cut at max_tokens; set eos_token_id in generation_config.json"
        )
    return frozenset(found)


class Roller:
    """Rolls a policy out: each problem becomes a list of rollouts."""

    def __init__(
        self, sampler: Sampler, tokenizer: PreTrainedTokenizerBase, template: Template
    ) -> None:
        self.sampler, self.tokenizer, self.template = sampler, tokenizer, template

    def __call__(
        self,
        problems: Sequence[Problem],
        samples: int,
        params: SamplingParams,
        key: tuple[int, ...],
        first: int = 0,
    ) -> list[list[Rollout]]:
        """`samples` rollouts a problem, in the order of `problems`.

        `key` seeds them together with the problem's number and the sample's index; `first` is the
        number of the first problem, so that a rollout does not depend on how problems are batched.
        """
        keys = [(*key, number) for number in range(first, first + len(problems))]
        return self.under(keys, problems, samples, params)

    def under(
        self,
        keys: Sequence[tuple[int, ...]],
        problems: Sequence[Problem],
        samples: int,
        params: SamplingParams,
    ) -> list[list[Rollout]]:
        """The same, each problem under a key of its own, all of them at once."""
        prompts = [self.template.render(problem.question) for problem in problems]
        prompt_ids = [tuple(ids) for ids in encode_prompts(self.tokenizer, prompts)]
        requests = [Request(ids, samples, key) for ids, key in zip(prompt_ids, keys, strict=True)]

        def parsed(place: int, sample: int, c: Completion) -> Rollout:
            problem, ids = problems[place], prompt_ids[place]
            return make_rollout(problem, sample, ids, c, self.text(c), self.template)

        with graded_early(problems) as take:
            finish = (lambda *ended: take(parsed(*ended))) if take else None
            completions_PG = self.sampler.generate(requests, params, finish)
        return [
            [parsed(place, sample, c) for sample, c in enumerate(completions_G)]
            for place, completions_G in enumerate(completions_PG)
        ]

    def text(self, completion: Completion) -> str:
        """The response as text, without the id that ended it."""
        ids = completion.ids[:-1] if completion.stopped else completion.ids
        # Special tokens stay: a tag that a tokenizer calls special must not vanish from the text.
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [len(ids) for ids in encoded]


def named_template(name: str) -> Template:
    """A template by name. Raises ConfigError naming the ones there are."""
    if name not in TEMPLATES:
        raise ConfigError(f"template = {name!r}: there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]

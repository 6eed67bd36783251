"""Rollouts of a policy: problems in, parsed rollouts out. Prompts and sampler put together.

Not here: scores, which `dianoia.judge` gives, and engines, which only know token ids.
"""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Problem, Request, Rollout, SamplingParams, Turn
from dianoia.config.template_table import QUESTION
from dianoia.distributed.shares import share_out
from dianoia.judge.verification import graded_early
from dianoia.sampler.interface import Sampler
from dianoia.text.parsing import make_rollout
from dianoia.text.prompts import Prompts


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return every id that ends a sample, according to generation config, model config or tokenizer.

    Many models have several such ids, and often one of the three places lacks some of them. Raises ConfigError if none of
    them names any: no sample could ever finish.
    """
    generation: Any = model.generation_config
    configs = [generation.eos_token_id if generation else None, model.config.eos_token_id]
    stops: set[int] = set()
    for ids in [*configs, tokenizer.eos_token_id]:
        if ids is not None:
            stops.update([ids] if isinstance(ids, int) else ids)
    if not stops:
        raise ConfigError(
            "neither the model nor its tokenizer names an end-of-sequence token, so every sample would "
            "be cut at max_tokens; set eos_token_id in generation_config.json"
        )
    return frozenset(stops)


class RolloutSampler:
    """Samples rollouts: each problem becomes a list of parsed responses."""

    def __init__(self, sampler: Sampler, prompts: Prompts, wording: str = QUESTION) -> None:
        """`wording`: a text with `{question}`, in whose place each problem's question is asked."""
        self.sampler, self.prompts, self.wording = sampler, prompts, wording
        self.tokenizer, self.template = prompts.tokenizer, prompts.template

    def __call__(
        self,
        problems: Sequence[Problem],
        samples: int,
        params: SamplingParams,
        key: tuple[int, ...],
        first: int = 0,
    ) -> list[list[Rollout]]:
        """Return `samples` rollouts per problem, in the order of `problems`.

        key: seeds a rollout together with the problem's number and the sample's index. first: number of the first problem,
        so that a rollout does not depend on how problems are batched.
        """
        # the number and not the place in this call: a batch boundary must not change a rollout
        keys = [(*key, number) for number in range(first, first + len(problems))]
        return self.with_keys(keys, problems, samples, params)

    def with_keys(
        self,
        keys: Sequence[tuple[int, ...]],
        problems: Sequence[Problem],
        samples: int,
        params: SamplingParams,
    ) -> list[list[Rollout]]:
        """Return `samples` rollouts per problem, each problem seeded by its own key, all sampled at once."""
        prompt_ids = self._prompt_ids(problems)
        requests = [Request(ids, samples, key) for ids, key in zip(prompt_ids, keys, strict=True)]

        # slow verifiers grade a rollout as soon as it ends, while others are still being sampled
        with graded_early(problems) as grade:

            def on_finish(number: int, sample: int, completion: Completion) -> None:
                assert grade is not None, "passed on only then"
                grade(self._parse(problems[number], sample, prompt_ids[number], completion))

            # In the block, at whose end everything that was handed to a verifier is graded.
            completions_PG = self.sampler.generate(requests, params, on_finish if grade else None)
        return self._parse_all(problems, prompt_ids, completions_PG)

    def parse(
        self, problems: Sequence[Problem], completions_PG: Sequence[Sequence[Completion]]
    ) -> list[list[Rollout]]:
        """Return the rollouts that earlier completions of these problems are."""
        return self._parse_all(problems, self._prompt_ids(problems), completions_PG)

    def _prompt_ids(self, problems: Sequence[Problem]) -> Sequence[tuple[int, ...]]:
        sources = [f"problem {problem.id!r}" for problem in problems]
        return self.prompts(list(map(self._messages, problems)), sources)

    def _messages(self, problem: Problem) -> tuple[Turn, ...]:
        # `replace` and not `format`: questions and instructions are full of braces.
        return (*problem.context, Turn("user", self.wording.replace(QUESTION, problem.question)))

    def _parse_all(
        self,
        problems: Sequence[Problem],
        prompt_ids: Sequence[tuple[int, ...]],
        completions_PG: Sequence[Sequence[Completion]],
    ) -> list[list[Rollout]]:
        # Texts are shared out by problem, since decoding takes several times as long as parsing.
        tokens = [sum(len(c.ids) for c in completions_G) for completions_G in completions_PG]
        texts_PG = share_out(completions_PG, self._texts, tokens, "gather texts")
        return [
            [
                make_rollout(problem, sample, ids, completion, text, self.template)
                for sample, (completion, text) in enumerate(
                    zip(completions_G, texts_G, strict=True)
                )
            ]
            for problem, ids, completions_G, texts_G in zip(
                problems, prompt_ids, completions_PG, texts_PG, strict=True
            )
        ]

    def _texts(self, completions_PG: Sequence[Sequence[Completion]]) -> list[list[str]]:
        return [list(map(self.text, completions_G)) for completions_G in completions_PG]

    def _parse(
        self, problem: Problem, sample: int, ids: tuple[int, ...], completion: Completion
    ) -> Rollout:
        text = self.text(completion)
        return make_rollout(problem, sample, ids, completion, text, self.template)

    def check_messages(self, problems: Sequence[Problem]) -> None:
        """Raise ConfigError for the first problem with a message that a chat template has no place for.

        A stage calls it before it samples anything: such a row would otherwise stop it halfway.
        """
        # A question alone has its place in every template; text templates have a place for everything.
        several = [problem for problem in problems if problem.context]
        if self.template.chat and several:
            self._prompt_ids(several)

    def sampling_params(
        self, max_tokens: int, temperature: float, top_p: float, top_k: int = 0
    ) -> SamplingParams:
        """Return how responses are sampled, ended by the model's stop tokens and by the end token of its template."""
        return SamplingParams(max_tokens, self.prompts.stop_ids, temperature, top_p, top_k)

    def text(self, completion: Completion) -> str:
        """Return the response as text, without the id that ended it."""
        # a response that was cut at max_tokens has no end-of-sequence id
        ids = completion.ids[:-1] if completion.stopped else completion.ids
        # Special tokens stay in: a tag that a tokenizer declares special must not vanish from the text.
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without special tokens around it."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [len(ids) for ids in encoded]

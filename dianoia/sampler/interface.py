"""The sampler role: what every implementation promises, and what it reports about itself.

In: `Request`s (prompt ids, how many samples, a key) and `SamplingParams`. Out: `Completion`s.
Left out: text, templates and judging; a sampler only knows token ids.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams

OnFinish = Callable[[int, int, Completion], None]
"""Called with (request index, sample index, completion) as each sample ends, in order of ending."""


@dataclass(frozen=True, slots=True)
class SamplerStats:
    """What the last `generate` did."""

    tokens: int = 0
    """Response tokens drawn, end-of-sequence ids included."""
    seconds_prefill: float = 0.0
    """Reading prompts and drawing first tokens."""
    seconds_decode: float = 0.0
    """All the rest, the time spent in `on_finish` included."""
    steps: int = 0
    """Decoding steps, each of one token for every live sample."""
    occupancy: float = 0.0
    """Mean share of the slots that held a live sample, over the steps."""

    @property
    def tokens_per_second(self) -> float:
        """Response tokens a second of the whole call."""
        seconds = self.seconds_prefill + self.seconds_decode
        return self.tokens / seconds if seconds else 0.0


class Sampler(Protocol):
    """Draws completions from a causal language model."""

    @property
    def stats(self) -> SamplerStats:
        """Of the last `generate`."""
        ...

    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take new weights under their Hugging Face names; the next `generate` uses them.

        Raises ModelError if a parameter is missing or has another shape.
        """
        ...

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """One list a request, in the order of `requests`; inside it one completion a sample.

        Raises ConfigError before any work if the parameters make no sense or a prompt is too long.
        """
        ...


def check(requests: Sequence[Request], params: SamplingParams, positions: int | None) -> None:
    """Refuse what cannot be sampled by a model of so many positions (None: no limit known)."""
    _check_params(params)
    for index, request in enumerate(requests):
        if not request.prompt_ids:
            raise ConfigError(
                f"Request {index} has an empty prompt, so there is nothing to continue. "
                "Start the prompt with at least one token, usually the beginning-of-text id."
            )
        _check_length(index, len(request.prompt_ids), params.max_tokens, positions)


def _check_params(params: SamplingParams) -> None:
    """Refuse parameters outside their range."""
    rules = (
        ("max_tokens", params.max_tokens, params.max_tokens >= 1, "1 or more"),
        ("temperature", params.temperature, params.temperature >= 0, "0 (greedy) or more"),
        (
            "top_p",
            params.top_p,
            0 < params.top_p <= 1,
            "above 0 and at most 1 (1 keeps everything)",
        ),
        ("top_k", params.top_k, params.top_k >= 0, "0 (keeps everything) or more"),
    )
    for name, value, right, wanted in rules:
        if not right:
            raise ConfigError(f"{name}={value} cannot be used for sampling: set it to {wanted}.")


def _check_length(index: int, prompt: int, response: int, positions: int | None) -> None:
    """Refuse a sample that could run past the model's last position."""
    if positions is not None and prompt + response > positions:
        raise ConfigError(
            f"Request {index} needs {prompt + response} positions ({prompt} prompt tokens + "
            f"max_tokens={response}), but the model has max_position_embeddings={positions}. "
            f"Set max_tokens to {max(positions - prompt, 0)} or less, or shorten the prompt."
        )

"""The fallback sampler: any causal language model of transformers, through `model.generate`.

In and out as in `interface.Sampler`. `generate` runs the model and its cache; the tokens are drawn
by `dianoia.sampler.draw` inside a logits processor, which sees the raw scores. So a sample has the
same random stream, the same log-probabilities and the same top-p as in the native sampler, and none
of the defaults that a checkpoint's generation config brings along (penalties, its own temperature)
applies. Left out: continuous batching; a batch lasts as long as its longest sample.
"""

import copy
import time
from collections.abc import Mapping, Sequence

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from dianoia.base.errors import ModelError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.draw import draw, seed_of
from dianoia.sampler.interface import (
    OnFinish,
    PendingWeights,
    SamplerStats,
    WeightUpdate,
    check_requests,
)


class TransformersSampler:
    """Implements `interface.Sampler` for any model that can `generate`."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        slots: int = 64,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Copy the model, weights included; `slots` is the batch size."""
        self._model = copy.deepcopy(model)
        self._model.train(False)
        torch.nn.Module.to(self._model, device=torch.device(device), dtype=dtype)
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        self._slots = slots
        self._stats = SamplerStats()
        self._weights = PendingWeights()
        self._weights.version = 0

    @property
    def stats(self) -> SamplerStats:
        """Of the last `generate`; the time of reading prompts counts as decoding."""
        return self._stats

    def load(self, update: WeightUpdate) -> None:
        """See `interface.Sampler.load`; buffers are taken too, and tied parameters may be given once."""
        names = update.tensors
        missing = [name for name, _ in self._model.named_parameters() if name not in names]
        if missing:
            raise ModelError(
                f"The weights have no parameter {missing[0]!r} ({len(missing)} missing in all). "
                "Pass the state_dict of a model with the same config."
            )
        self._weights.publish(update)

    def pull(self) -> int:
        """See `interface.Sampler.pull`."""
        return self._weights.pull(self._copy)

    def _copy(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._model.load_state_dict(dict(tensors), strict=False)

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """See `interface.Sampler.generate`."""
        check_requests(
            requests, params, getattr(self._model.config, "max_position_embeddings", None)
        )
        self.pull()
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids))
        samples = [(i, sample) for i in order for sample in range(requests[i].samples)]
        drawn: dict[tuple[int, int], Completion] = {}
        began, steps = time.perf_counter(), 0
        for first in range(0, len(samples), self._slots):
            batch = samples[first : first + self._slots]
            completions = self._batch([(requests[i], sample) for i, sample in batch], params)
            steps += max(len(completion.ids) for completion in completions)
            for (request, sample), completion in zip(batch, completions, strict=True):
                drawn[request, sample] = completion
                if on_finish is not None:
                    on_finish(request, sample, completion)
        self._count(drawn, steps, time.perf_counter() - began)
        return [[drawn[i, s] for s in range(r.samples)] for i, r in enumerate(requests)]

    def _batch(
        self, samples: Sequence[tuple[Request, int]], params: SamplingParams
    ) -> list[Completion]:
        """Decode one batch to its end."""
        device = self._model.device
        prompts = [request.prompt_ids for request, _ in samples]
        longest = max(map(len, prompts))
        ids = torch.tensor([(0,) * (longest - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([(0,) * (longest - len(p)) + (1,) * len(p) for p in prompts])
        drawer = _Drawer([seed_of(r.key, sample) for r, sample in samples], params, device)
        self._model.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=mask.to(device),
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
                do_sample=False,
                max_new_tokens=params.max_tokens,
                eos_token_id=sorted(params.stop_ids) or None,
                pad_token_id=0,
            ),
            logits_processor=LogitsProcessorList([drawer]),
        )
        return drawer.completions()

    def _count(
        self, drawn: Mapping[tuple[int, int], Completion], steps: int, seconds: float
    ) -> None:
        """Keep the statistics of one call."""
        tokens = sum(len(completion.ids) for completion in drawn.values())
        self._stats = SamplerStats(
            tokens=tokens,
            weights_version=self._weights.version or 0,
            seconds_decode=seconds,
            steps=steps,
            occupancy=tokens / (steps * self._slots) if steps else 0.0,
        )


class _Drawer(LogitsProcessor):
    """Draws each token itself and leaves `generate`, which is greedy, no other choice."""

    def __init__(self, seeds: list[int], params: SamplingParams, device: torch.device) -> None:
        """One seed a row of the batch."""
        self._seeds_B = torch.tensor(seeds, device=device)
        self._params = params
        self._ids: list[torch.Tensor] = []
        self._logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores that are 0 for the drawn token and minus infinity for all others."""
        index_B = torch.full_like(self._seeds_B, len(self._ids))
        ids_B, logprobs_B = draw(scores, self._seeds_B, index_B, self._params)
        self._ids.append(ids_B)
        self._logprobs.append(logprobs_B)
        return torch.full_like(scores, -torch.inf).scatter_(1, ids_B[:, None], 0.0)

    def completions(self) -> list[Completion]:
        """What each row drew until it stopped; `generate` goes on for the rest of the batch."""
        ids_BT = torch.stack(self._ids, 1).tolist()
        logprobs_BT = torch.stack(self._logprobs, 1).tolist()
        return [self._cut(*row) for row in zip(ids_BT, logprobs_BT, strict=True)]

    def _cut(self, ids: list[int], logprobs: list[float]) -> Completion:
        """One row up to and with its first stop id."""
        stops = self._params.stop_ids
        count = next((i + 1 for i, token in enumerate(ids) if token in stops), len(ids))
        return Completion(tuple(ids[:count]), tuple(logprobs[:count]), ids[count - 1] in stops)

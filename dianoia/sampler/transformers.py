"""The fallback sampler: any causal language model of transformers, through `model.generate`.

In and out as in `interface.Sampler`. `generate` runs the model and its KV cache; `dianoia.sampler.draw` draws the
tokens inside a logits processor, which gets the raw scores. So a sample has the same random stream, the same
log-probabilities and the same top-p as in the native sampler, and none of the defaults of a checkpoint's generation
config (penalties, its own temperature) apply. Not supported: continuous batching; a batch lasts as long as its longest
sample.
"""

import copy
import time
from collections.abc import Mapping, Sequence

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from dianoia.base.errors import ModelError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.base.stopping import give_up_sampling_if_overdue
from dianoia.distributed.group import ranks
from dianoia.models.loading import vocabulary_rows
from dianoia.sampler.completion_exchange import all_completions
from dianoia.sampler.draw import draw, seed_of
from dianoia.sampler.interface import (
    OnFinish,
    PendingWeights,
    SamplerStats,
    Turns,
    WeightUpdate,
    check_requests,
    group_by_params,
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
        """Copy the model with its weights, which are version 0. slots: batch size."""
        self._model = copy.deepcopy(model)
        self._model.train(False)
        torch.nn.Module.to(self._model, device=torch.device(device), dtype=dtype)
        # without the checkpoint's defaults: penalties would change what is sampled
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        self._slots = slots
        self._stats = SamplerStats()
        self._weights = PendingWeights()
        self._weights.version = 0
        self._turns = Turns()

    @property
    def stats(self) -> SamplerStats:
        """Statistics of the last `generate`; the time for prompts counts as decoding."""
        return self._stats

    @property
    def vocabulary(self) -> int:
        """See `interface.Sampler.vocabulary`."""
        return vocabulary_rows(self._model)

    def load(self, update: WeightUpdate) -> None:
        """See `interface.Sampler.load`. Buffers are taken too; tied parameters may be given once."""
        names = [name for name, _ in self._model.named_parameters()]
        missing = [name for name in names if name not in update.tensors]
        if missing:
            raise ModelError(
                f"The weights have no parameter {missing[0]!r} ({len(missing)} missing in all). "
                "Pass the state_dict of a model with the same config."
            )
        self._weights.publish(update)

    def pull(self) -> int:
        """See `interface.Sampler.pull`."""
        with self._turns.next():
            return self._weights.pull(self._copy)

    def _copy(self, tensors: Mapping[str, torch.Tensor]) -> None:
        own = self._model.state_dict()
        with torch.no_grad():
            # One after the other: a tensor may be made when it is read. `load` has checked that none is missing.
            for name in tensors:
                if name in own:
                    own[name].copy_(tensors[name])

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """See `interface.Sampler.generate`. Requests with different sampling parameters are in different batches.

        Each rank of a stage decodes an even part of the requests.
        """
        check_requests(
            requests, params, getattr(self._model.config, "max_position_embeddings", None)
        )
        with self._turns.next():
            return self._generate(requests, params, self._turns.reporting(on_finish))

    def _generate(
        self, requests: Sequence[Request], params: SamplingParams, on_finish: OnFinish | None
    ) -> list[list[Completion]]:
        version = self._weights.pull(self._copy)
        completions: dict[tuple[int, int], Completion] = {}
        start, steps = time.perf_counter(), 0
        group = ranks()
        slots = -(-self._slots // group.size)
        for group_params, all_indices in group_by_params(requests, params).items():
            indices = all_indices[group.rank :: group.size]
            # long prompts first: prompts of like length waste the least padding
            order = sorted(indices, key=lambda i: -len(requests[i].prompt_ids))
            samples = [(i, sample) for i in order for sample in range(requests[i].samples)]
            for first in range(0, len(samples), slots):
                keys = samples[first : first + slots]
                batch = [(requests[i], sample) for i, sample in keys]
                decoded = self._decode(batch, group_params, version)
                steps += max(len(completion.ids) for completion in decoded)
                for (request, sample), completion in zip(keys, decoded, strict=True):
                    completions[request, sample] = completion
                    if on_finish is not None:
                        on_finish(request, sample, completion)
        self._stats = self._statistics(completions, steps, time.perf_counter() - start, version)
        return all_completions(requests, completions)

    def _decode(
        self, samples: Sequence[tuple[Request, int]], params: SamplingParams, version: int
    ) -> list[Completion]:
        """Decode one batch of (request, sample index) to its end."""
        device = self._model.device
        prompts = [request.prompt_ids for request, _ in samples]
        longest = max(map(len, prompts))
        # padding on the left, so that all responses begin in the same column
        ids = torch.tensor([(0,) * (longest - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([(0,) * (longest - len(p)) + (1,) * len(p) for p in prompts])
        seeds = [seed_of(request.key, sample) for request, sample in samples]
        # the processor draws; `generate` only runs the model
        processor = _DrawingProcessor(seeds, params, device)
        self._model.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=mask.to(device),
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
                do_sample=False,
                max_new_tokens=params.max_tokens,
                eos_token_id=sorted(params.stop_ids) or None,
                # Any id: `completions` cuts off what follows the end of a row.
                pad_token_id=0,
            ),
            logits_processor=LogitsProcessorList([processor]),
        )
        return processor.completions(version)

    def _statistics(
        self,
        completions: Mapping[tuple[int, int], Completion],
        steps: int,
        seconds: float,
        version: int,
    ) -> SamplerStats:
        tokens = sum(len(completion.ids) for completion in completions.values())
        return SamplerStats(
            tokens=tokens,
            # `generate` does not tell prefill from decoding.
            seconds_decode=seconds,
            steps=steps,
            occupancy=tokens / (steps * self._slots) if steps else 0.0,
            weights_version=version,
        )


class _DrawingProcessor(LogitsProcessor):
    """Draws each token and leaves `generate`, which is greedy, no other choice."""

    def __init__(self, seeds: list[int], params: SamplingParams, device: torch.device) -> None:
        """seeds: one per row of the batch."""
        self._seeds_B = torch.tensor(seeds, device=device)
        self._params = params
        self._ids: list[torch.Tensor] = []
        self._logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores that are 0 for the drawn token and minus infinity for all others."""
        give_up_sampling_if_overdue()
        # all rows have drawn the same number of tokens
        # The index of the token in its response is a part of its random stream.
        index_B = torch.full_like(self._seeds_B, len(self._ids))
        ids_B, logprobs_B = draw(scores, self._seeds_B, index_B, self._params)
        self._ids.append(ids_B)
        self._logprobs.append(logprobs_B)
        return torch.full_like(scores, -torch.inf).scatter_(1, ids_B[:, None], 0.0)

    def completions(self, weights_version: int) -> list[Completion]:
        """Return each row up to its first stop id; `generate` runs on until all rows have ended."""
        ids_BT = torch.stack(self._ids, 1).tolist()
        logprobs_BT = torch.stack(self._logprobs, 1).tolist()
        stops = self._params.stop_ids
        completions = []
        for ids, logprobs in zip(ids_BT, logprobs_BT, strict=True):
            count = next((i + 1 for i, token in enumerate(ids) if token in stops), len(ids))
            stopped = ids[count - 1] in stops
            completions.append(
                Completion(tuple(ids[:count]), tuple(logprobs[:count]), stopped, weights_version)
            )
        return completions

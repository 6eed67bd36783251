"""Log-probabilities of given tokens under weights that stay where they are: each module's are read while it runs.

In: a configuration and a mapping of weights under their Hugging Face names. Out: float32 log-probabilities at temperature 1. No copy of
the model is made: a mapping may form its tensors when they are read (merged adapters), or read them from files. The forward pass is
transformers' own, in float32, so that it shares no kernel with a learner, a sampler or a server.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from threading import Lock

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from dianoia.base.errors import ConfigError

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


class StreamedModel:
    """A causal language model without weights of its own."""

    def __init__(self, config: PretrainedConfig) -> None:
        """Build the modules without memory for their weights."""
        plain = copy(config)
        # The head is a module with a weight of its own here, whatever the model does.
        plain.tie_word_embeddings = False
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                plain, attn_implementation="eager", dtype=torch.float32
            )
        # No dropout: the forward pass has to be the same as a server's.
        self._model = model.train(False)
        # Several servers are proved at a time, in threads of their own, and the modules hold one set of weights.
        self._lock = Lock()
        self.parameters = {name: tuple(p.shape) for name, p in model.named_parameters()}
        """Shape of every parameter by its name; of the output head too, where it is tied to the embedding."""
        self.is_tied = bool(config.get_text_config().tie_word_embeddings)
        self._buffers = _computed_buffers(model, config)

    @torch.inference_mode()
    def logprobs(
        self,
        weights: Mapping[str, Tensor],
        sequences: Sequence[tuple[Sequence[int], Sequence[int]]],
    ) -> list[list[float]]:
        """Return the log-probability of each response token of (prompt ids, response ids), natural logarithms."""
        device = weights[next(iter(weights))].device
        buffers = {name: table.to(device) for name, table in self._buffers.items()}

        def tensor_of(name: str) -> Tensor:
            tensor = head_of(weights, self.is_tied) if name == HEAD else weights[name]
            # Nothing is copied if it is float32 already, and a bfloat16 weight lives in float32 for its module only.
            return tensor.to(device, torch.float32)

        with self._lock, _reading(self._model, tensor_of, buffers):
            return [self._scored(prompt, response, device) for prompt, response in sequences]

    def _scored(
        self, prompt: Sequence[int], response: Sequence[int], device: torch.device
    ) -> list[float]:
        ids_1L = torch.tensor([[*prompt, *response]], device=device)
        logits_LV = self._model(input_ids=ids_1L, use_cache=False).logits[0].float()
        # The logits at a place are those of the token behind it.
        places = slice(len(prompt) - 1, len(prompt) + len(response) - 1)
        logprobs_TV = logits_LV[places].log_softmax(-1)
        values: list[float] = logprobs_TV.gather(1, ids_1L[0, len(prompt) :, None])[:, 0].tolist()
        return values


def head_of(weights: Mapping[str, Tensor], is_tied: bool) -> Tensor:
    """Return the weight of the output head: of a tied model the embedding."""
    return weights[EMBEDDING if is_tied and HEAD not in weights else HEAD]


def _computed_buffers(model: PreTrainedModel, config: PretrainedConfig) -> dict[str, Tensor]:
    """Return the tables that a model computes from its configuration, such as RoPE's, by name."""
    buffers: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if any(True for _ in module.buffers(recurse=False)):
            # Made again off the meta device: these modules take the configuration and nothing else.
            try:
                fresh = type(module)(config.get_text_config())
            except TypeError:
                raise ConfigError(
                    f'rollouts.engine = "vllm": the weights on a server could not be proved for {type(model).__name__}, whose '
                    f"{type(module).__name__} is unknown here; draw with the native engine"
                ) from None
            buffers |= {f"{name}.{key}": value for key, value in fresh.named_buffers(recurse=False)}
    return buffers


@contextmanager
def _reading(
    model: nn.Module, tensor_of: Callable[[str], Tensor], buffers: Mapping[str, Tensor]
) -> Iterator[None]:
    """In the block, let each module have its weights and tables while its forward function runs, and only then."""
    handles: list[RemovableHandle] = []
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        weights = [key for key, _ in module.named_parameters(recurse=False)]
        tables = [key for key, _ in module.named_buffers(recurse=False)]
        if weights or tables:
            fill = partial(_fill, module, prefix, weights, tables, tensor_of, buffers)
            drop = partial(_drop, module, {key: module._parameters[key] for key in weights})
            handles.append(module.register_forward_pre_hook(fill))
            # Afterwards the meta tensors are back, so that at most one module's weights are in memory.
            handles.append(module.register_forward_hook(drop))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _fill(
    module: nn.Module,
    prefix: str,
    weights: Sequence[str],
    tables: Sequence[str],
    tensor_of: Callable[[str], Tensor],
    buffers: Mapping[str, Tensor],
    *_: object,
) -> None:
    for key in weights:
        module._parameters[key] = nn.Parameter(tensor_of(prefix + key), requires_grad=False)
    for key in tables:
        module._buffers[key] = buffers[prefix + key]


def _drop(module: nn.Module, empty: Mapping[str, nn.Parameter | None], *_: object) -> None:
    module._parameters.update(empty)

"""Low-rank adapters (LoRA, https://arxiv.org/abs/2106.09685) on the frozen weights of a model.

In: a model and the `lora` table of its stage. Out: the same model, whose adapted layers read as W + s B A with
s = alpha / rank. The sum is a parametrization of the layer's `weight`, so that every reader of `.weight` has it: fused, packed
and C layers, replicas, the sampler and the checkpoint. An adapter that wraps a layer's forward function instead would be
left out by kernels that never call that function.

The sum is formed in float32 in each forward pass and again in each recomputation. Kept for a whole step it would be a second,
dense copy of the model, and forming it costs about rank / tokens of the layer's own product. Its dense gradient exists for
one layer at a time.

Frozen matrices may be bfloat16; whatever reads one gets float32, which the kernels round to the dtype of their products.
Not here: embeddings and output heads are never adapted, and there is no dropout.
"""

import json
import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from dianoia.base.errors import ConfigError
from dianoia.config.lora_table import LoRASettings, unmatched_message
from dianoia.distributed.group import ranks
from dianoia.learner.shards import LazyWeights, is_sharded, whole

ADAPTER = "adapter"
"""Folder of the adapter in PEFT's format, within a checkpoint."""
_STORED = ".parametrizations.weight.original"
"""End of the name of the frozen weight of an adapted layer, in a state dict."""


class _Snapshot:
    """A and B of an adapter at one time, or nothing: then the adapter is off. All copies of the adapter share it."""

    def __init__(self) -> None:
        self.matrices: tuple[Tensor, Tensor] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Snapshot":
        return self


class LowRank(nn.Module):
    """The adapter of one layer, as a parametrization of its weight."""

    def __init__(self, weight: Tensor, settings: LoRASettings, generator: torch.Generator) -> None:
        """Draw A on the CPU, so that it is the same on every device; B is 0, so that the layer begins as it was."""
        super().__init__()
        rows, columns = weight.shape
        bound = 1 / math.sqrt(
            columns
        )  # as PEFT draws it: Kaiming's uniform distribution with a = sqrt(5)
        A = torch.empty(settings.rank, columns).uniform_(-bound, bound, generator=generator)
        # Not in the dtype of a bfloat16 weight: small steps of the optimizer would be rounded away.
        dtype = _at_least_float32(weight)
        self.A = nn.Parameter(A.to(weight.device, dtype))
        self.B = nn.Parameter(torch.zeros(rows, settings.rank, device=weight.device, dtype=dtype))
        self.settings, self.scale = settings, settings.alpha / settings.rank
        self.reads_reference, self.reference = False, _Snapshot()

    def forward(self, weight: Tensor) -> Tensor:
        """Return W + s B A, at least float32; the reference's while `reads_reference` is set."""
        matrices = self.reference.matrices if self.reads_reference else (self.A, self.B)
        return self._sum(weight, matrices)

    def merged(self, weight: Tensor) -> Tensor:
        """Return W + s B A of a whole W, without gradient. Collective where A and B are in shards."""
        with torch.no_grad():
            return self._sum(weight, (whole(self.A), whole(self.B)))

    def _sum(self, weight: Tensor, matrices: tuple[Tensor, Tensor] | None) -> Tensor:
        return merged_weight(weight, matrices, self.scale)


def merged_weight(weight: Tensor, matrices: tuple[Tensor, Tensor] | None, scale: float) -> Tensor:
    """Return W + s B A, at least float32; W where there are no matrices."""
    # Autocast would round the product, whose sum with W has to be exact to float32.
    with torch.autocast(weight.device.type, enabled=False):
        weight = weight.to(_at_least_float32(weight))
        if matrices is None:
            return weight
        return torch.addmm(weight, matrices[1], matrices[0], alpha=scale)


class _Widened(nn.Module):
    """The parametrization of a frozen bfloat16 weight without an adapter."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight in float32."""
        return weight.float()


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


# A model with adapters ----------------------------------------------------------------------------


def add_adapters(
    model: PreTrainedModel, settings: LoRASettings, seed: int, *, train_head: bool = False
) -> None:
    """Freeze `model`, store its matrices in the table's dtype, and add an adapter to each layer that `targets` names.

    `train_head`: what is no part of the backbone, such as the scalar head of a reward model, is trained in full beside the
    adapters. Each adapter is drawn by the seed and its layer's name.

    Raises:
        ConfigError: a target names no layer; the message lists the names that exist.
    """
    # Before the adapters are there, whose matrices are to stay trainable.
    model.requires_grad_(False)
    heads = _heads(model)
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not any(module is head for head in heads.values())
    }
    if unmatched := settings.unmatched(layers):
        raise ConfigError(unmatched_message(unmatched, layers))
    adapted = {name: layer for name, layer in layers.items() if settings.matches(name)}
    if not adapted:
        raise ConfigError(
            f"lora.targets = {settings.targets!r}: the architecture {type(model).__name__} has no linear layers "
            "that an adapter can be added to; remove the lora table, or take another model"
        )
    trained = heads.values() if train_head else ()
    _store(
        model,
        getattr(torch, settings.dtype),
        [weight for head in trained for weight in head.parameters()],
    )
    for name, layer in adapted.items():
        # A text as seed is hashed by SHA-512, so the draw is the same in every process.
        number = random.Random(f"lora-{seed}-{name}").getrandbits(63)
        adapter = LowRank(layer.weight, settings, torch.Generator().manual_seed(number))
        # unsafe: torch's own check refuses a parametrization that changes the dtype, as float32 out of bfloat16 does.
        parametrize.register_parametrization(layer, "weight", adapter, unsafe=True)
    for head in trained:
        head.requires_grad_(True)


def _heads(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Return what stands beside the backbone, by name: the output head, or the scalar head of a reward model."""
    output: nn.Module | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return {
        name: child
        for name, child in model.named_children()
        if child is output or (model.base_model is not model and child is not model.base_model)
    }


def _store(model: PreTrainedModel, dtype: torch.dtype, trained: list[nn.Parameter]) -> None:
    """Store the matrices of linear layers and embeddings in `dtype`, all else in at least float32; readers get float32."""
    matrices = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Embedding)
        and not any(module.weight is weight for weight in trained)
    ]
    # By object: a tied output head and embedding are one parameter, and are stored once.
    narrow = {id(module.weight) for module in matrices} if dtype != torch.float32 else {*()}
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(
                dtype if id(tensor) in narrow else _at_least_float32(tensor)
            )
    if not narrow:
        return
    for module in matrices:
        if isinstance(module, nn.Embedding):
            # Its rows are widened, not its matrix: a pass reads few of them.
            module.register_forward_hook(_widen_rows)
        else:
            parametrize.register_parametrization(module, "weight", _Widened(), unsafe=True)


def _widen_rows(module: nn.Module, arguments: Any, rows: Tensor) -> Tensor:
    return rows.float()


def adapters(model: nn.Module) -> dict[str, LowRank]:
    """Return the adapter of each adapted layer, by the layer's name; empty for a model without."""
    return {
        name.rpartition(".parametrizations.")[0]: module
        for name, module in model.named_modules()
        if isinstance(module, LowRank)
    }


def has_adapters(model: nn.Module) -> bool:
    """Return True if `add_adapters` was called on the model."""
    return any(isinstance(module, LowRank) for module in model.modules())


@contextmanager
def reference_weights(model: nn.Module) -> Iterator[None]:
    """Let the model read the reference's adapters, at first none, for the time of some passes in this thread."""
    layers = adapters(model).values()
    for layer in layers:
        layer.reads_reference = True
    try:
        yield
    finally:
        for layer in layers:
            layer.reads_reference = False


def stored_weight(layer: nn.Linear) -> Tensor:
    """Return the weight of a layer without an adapter as it is stored, for a kernel that rounds it anyway."""
    parametrizations = getattr(layer, "parametrizations", None)
    return layer.weight if parametrizations is None else parametrizations.weight.original


# Merged weights -----------------------------------------------------------------------------------


class MergedWeights(LazyWeights):
    """Parameters and buffers by their names without adapters, live; a sum W + s B A is formed when it is read.

    So never more than one of the sums need exist at a time, and frozen weights are left as they are. The same holds for
    tensors in shards, which are gathered when they are read: then all ranks read the same names in the same order.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = adapters(model)
        tensors: dict[str, Tensor] = {}
        self._adapters: dict[str, LowRank] = {}
        for name, tensor in model.state_dict().items():
            if name.endswith(_STORED):
                layer = name.removesuffix(_STORED)
                tensors[f"{layer}.weight"] = tensor
                if layer in layers:
                    self._adapters[f"{layer}.weight"] = layers[layer]
            # What is left out is A and B of adapters, which readers see in the sum alone.
            elif ".parametrizations." not in name:
                tensors[name] = tensor
        super().__init__(tensors)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._stored[name]
        if not isinstance(tensor, DTensor):
            return self._adapters[name].merged(tensor) if name in self._adapters else tensor
        with ranks().exchanging(f"gather {name}"):
            tensor = whole(tensor)
            return self._adapters[name].merged(tensor) if name in self._adapters else tensor

    @property
    def is_sharded(self) -> bool:
        """Return True if reading is collective."""
        return any(isinstance(tensor, DTensor) for tensor in self._stored.values())

    def adapted(self) -> "AdaptedWeights | None":
        """Return the same weights, live, as frozen tensors and adapters; None without adapters, and where they are in shards."""
        if not self._adapters or self.is_sharded:
            return None
        layers = {name.removesuffix(".weight"): layer for name, layer in self._adapters.items()}
        matrices = {name: (layer.A, layer.B) for name, layer in layers.items()}
        settings = next(iter(layers.values())).settings
        return AdaptedWeights(self._stored, Adapters(matrices, settings))


@dataclass(frozen=True, slots=True)
class Adapters:
    """The matrices of all adapters of a model, without the model."""

    matrices: Mapping[str, tuple[Tensor, Tensor]]
    """A `[r, in]` and B `[out, r]` by the name of their layer."""
    settings: LoRASettings

    @property
    def scale(self) -> float:
        """The factor of B A."""
        return self.settings.alpha / self.settings.rank


class AdaptedWeights(LazyWeights):
    """Parameters and buffers by their names without adapters, from frozen tensors and matrices that need no model."""

    def __init__(self, frozen: Mapping[str, Tensor], adapters: Adapters) -> None:
        """frozen: every tensor without adapters, by name."""
        super().__init__(frozen)
        self.frozen, self.adapters = frozen, adapters

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.frozen[name]
        matrices = self.adapters.matrices.get(name.removesuffix(".weight"))
        if matrices is None:
            return tensor
        with torch.no_grad():
            return merged_weight(tensor, matrices, self.adapters.scale)

    def copy(self) -> "AdaptedWeights":
        """Return the weights as they are now: adapters are copied, frozen weights are shared."""
        copies = {
            name: (A.detach().clone(), B.detach().clone())
            for name, (A, B) in self.adapters.matrices.items()
        }
        return AdaptedWeights(self.frozen, Adapters(copies, self.adapters.settings))


def merged_model(model: PreTrainedModel, keep: bool = True) -> PreTrainedModel | None:
    """Return an ordinary model with the merged weights, at least float32, on the CPU; a model without adapters itself.

    Weights that no adapter changes may be those of `model`, in the same memory: the result is there to be saved. Of a model
    in shards every tensor is gathered (collective), and ranks that do not `keep` the result get None.
    """
    if not has_adapters(model) and not is_sharded(model):
        return model if keep else None
    weights = {}
    for name, tensor in MergedWeights(model).items():
        if keep:
            is_float = tensor.is_floating_point()
            weights[name] = tensor.to("cpu", _at_least_float32(tensor) if is_float else None)
    if not keep:
        return None
    with torch.device("meta"):
        plain: PreTrainedModel = type(model)(copy(model.config))
    # assign: parameters on the device meta have no memory to copy into.
    plain.load_state_dict(weights, assign=True)
    # Tables that are computed and not saved, such as RoPE's.
    for name, buffer in model.named_buffers():
        if name not in weights:
            parent, _, leaf = name.rpartition(".")
            plain.get_submodule(parent)._buffers[leaf] = buffer.cpu()
    plain.tie_weights()
    if model.can_generate():
        plain.generation_config = model.generation_config
    return plain


# PEFT's file format -------------------------------------------------------------------------------

PEFT_PREFIX = "base_model.model."
"""Before every name in an adapter's file."""


def save_adapter(folder: Path, model: PreTrainedModel, write: bool = True) -> None:
    """Write the adapters of `model` into a new folder that `peft.PeftModel.from_pretrained(base, folder)` reads.

    A head that is trained in full is among PEFT's `modules_to_save`. Collective where they are in shards: ranks that do not
    `write` only take part.
    """
    heads = {
        name: head
        for name, head in _heads(model).items()
        if any(weight.requires_grad for weight in head.parameters())
    }
    layers = adapters(model)
    matrices = {name: (layer.A, layer.B) for name, layer in layers.items()}
    settings = next(iter(layers.values())).settings
    save_adapter_folder(folder, Adapters(matrices, settings), _base_name(model), heads, write)


def save_adapter_folder(
    folder: Path,
    adapters: Adapters,
    base_name: str,
    heads: Mapping[str, nn.Module] | None = None,
    write: bool = True,
) -> None:
    """Write adapters, and `heads` that are trained in full, into a new folder in PEFT's format; see `save_adapter`.

    base_name: the model that they belong to, for the record.
    """
    settings = adapters.settings
    tensors: dict[str, Tensor] = {}
    for name, (A, B) in adapters.matrices.items():
        tensors[f"{PEFT_PREFIX}{name}.lora_A.weight"] = A
        tensors[f"{PEFT_PREFIX}{name}.lora_B.weight"] = B
    for name, head in (heads or {}).items():
        tensors |= {
            f"{PEFT_PREFIX}{name}.{key}": weight for key, weight in head.state_dict().items()
        }
    with ranks().exchanging("gather adapters"):
        saved = {name: whole(t).detach().cpu().contiguous() for name, t in tensors.items()}
    if not write:
        return
    ends = sorted({name.rpartition(".")[2] for name in adapters.matrices})
    alpha = settings.alpha
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if heads else "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": settings.rank,
        # Some readers take integers only.
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "target_modules": ends if isinstance(settings.targets, str) else sorted(settings.targets),
        "modules_to_save": sorted(heads) if heads else None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "use_dora": False,
        "use_rslora": False,
    }
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(
        json.dumps(config, indent=2) + "\n", encoding="utf-8"
    )
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(saved, {"format": "pt"}))


def _base_name(model: PreTrainedModel) -> str:
    """Return the folder or hub name that the model was loaded from."""
    name: str = model.name_or_path or ""
    return str(Path(name).resolve()) if name and Path(name).exists() else name

"""The `config.json` of a model that ships with the package, is in a folder, or is on the hub. Needs no torch.

In: a name. Out: the configuration. If the hub cannot be reached and the model is in `KNOWN`, a plan uses the sizes
there, and a run is refused with the reason.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2 as httpx
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from dianoia.base.errors import ModelError
from dianoia.bases import SHIPPED, model_folder
from dianoia.models.folder_check import read_config, read_object

_TIMEOUT_SECONDS = 5.0
"""Time after which the hub counts as unreachable."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

Config = dict[str, Any]


def _sizes(
    hidden: int, layers: int, heads: int, kv_heads: int, inner: int, vocabulary: int, **changes: Any
) -> Config:
    """Return a configuration of the Qwen2 architecture, with `changes`."""
    return {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 128,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": False,
        **changes,
    }


_TIED = {"tie_word_embeddings": True}
_SHORT = {"max_position_embeddings": 32_768}
_MATH = {"max_position_embeddings": 4096}
_QWEN3 = {"model_type": "qwen3", "max_position_embeddings": 32_768, **_TIED}
_LLAMA = {"model_type": "llama"}

KNOWN: dict[str, Config] = {
    "Qwen/Qwen2.5-0.5B-Instruct": _sizes(
        896, 24, 14, 2, 4864, 151_936, head_dim=64, **_SHORT, **_TIED
    ),
    "Qwen/Qwen2.5-1.5B": _sizes(1536, 28, 12, 2, 8960, 151_936, **_TIED),
    "Qwen/Qwen2.5-3B": _sizes(2048, 36, 16, 2, 11_008, 151_936, **_SHORT, **_TIED),
    "Qwen/Qwen2.5-7B": _sizes(3584, 28, 28, 4, 18_944, 152_064),
    "Qwen/Qwen2.5-14B": _sizes(5120, 48, 40, 8, 13_824, 152_064),
    "Qwen/Qwen2.5-32B": _sizes(5120, 64, 40, 8, 27_648, 152_064),
    "Qwen/Qwen2.5-Math-1.5B": _sizes(1536, 28, 12, 2, 8960, 151_936, **_TIED, **_MATH),
    "Qwen/Qwen2.5-Math-7B": _sizes(3584, 28, 28, 4, 18_944, 152_064, **_MATH),
    "Qwen/Qwen3-0.6B-Base": _sizes(1024, 28, 16, 8, 3072, 151_936, **_QWEN3),
    "Qwen/Qwen3-1.7B-Base": _sizes(2048, 28, 16, 8, 6144, 151_936, **_QWEN3),
    "meta-llama/Llama-3.1-8B": _sizes(4096, 32, 32, 8, 14_336, 128_256, **_LLAMA),
    "meta-llama/Llama-3.3-70B-Instruct": _sizes(8192, 80, 64, 8, 28_672, 128_256, **_LLAMA),
}
"""Sizes of the models in the recipes and the documentation, as in https://huggingface.co/NAME/blob/main/config.json
and in the tables of the Qwen2.5 (arXiv 2412.15115), Qwen3 (arXiv 2505.09388) and Llama 3 (arXiv 2407.21783)
reports."""


def model_config(where: str, source: str) -> Config:
    """Return the `config.json` of a shipped model, a folder or a hub name.

    Raises:
        ModelError: there is no such model. `where` is the recipe's table that uses it.
    """
    folder = model_folder(source)
    if (folder / "config.json").is_file():
        try:
            return read_config(folder)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from None
    # Names that can only be of this machine: the hub is not asked about a mistyped path.
    if source in SHIPPED or folder.exists() or source.startswith((".", "/", "~")):
        raise ModelError(
            f"{where}: the model {source!r} is not a Hugging Face folder on this machine (there is no "
            f"{folder / 'config.json'}); give the folder that holds config.json and model.safetensors"
        )
    # A hub name is OWNER/NAME.
    if source.count("/") != 1:
        raise ModelError(
            f"{where}: {source!r} is neither an earlier stage, nor a shipped model "
            f"({', '.join(SHIPPED)}), nor a folder, nor a hub name such as Qwen/Qwen3-0.6B-Base"
        )
    config, reason = _from_hub(source)
    if config is None:
        raise ModelError(
            f"{where}: the model {source!r} is no folder here and cannot be fetched from the hub ({reason}); "
            "check the name and the connection, or give a folder"
        )
    return config


def text_config(config: Config) -> Config:
    """Return the part about the language model, with GPT-2's names of sizes replaced by the usual ones."""
    # Multimodal models keep the language model in `text_config`.
    inner: Config = config.get("text_config") or config
    gpt2_names = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "n_inner": "intermediate_size",
    }
    return {gpt2_names.get(key, key): value for key, value in inner.items() if value is not None}


def unavailable_reason(source: str) -> str | None:
    """Return the reason why a run could not load this model; None if it is here or on a hub that answers."""
    if model_folder(source).exists() or source.count("/") != 1:
        return None
    reason = _from_hub(source)[1]
    if reason is not None:
        return reason
    is_cached = any(isinstance(try_to_load_from_cache(source, name), str) for name in _WEIGHTS)
    return None if is_cached else _hub_failure()


# Failures are cached with it: a plan asks for one model dozens of times, and each would wait for the network again.
@lru_cache(maxsize=64)
def _from_hub(source: str) -> tuple[Config | None, str | None]:
    """Return a configuration if there is one, and the reason if it is not the hub's own."""
    try:
        cached = try_to_load_from_cache(source, "config.json")
        reason = None if isinstance(cached, str) else _hub_failure()
        # A cached configuration is used without asking the hub: it works offline, and starts faster.
        if reason is None:
            path = cached if isinstance(cached, str) else hf_hub_download(source, "config.json")
            return read_object(Path(path)), None
    except ModelError as error:  # a damaged copy in the cache
        reason = str(error)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = _refusal(error)
    return KNOWN.get(source), reason


@contextmanager
def cache_alone_if_unreachable() -> Iterator[None]:
    """Let Hugging Face's libraries look into their caches alone if the hub does not answer; else they retry for minutes."""
    before = constants.HF_HUB_OFFLINE
    # The variable of the environment was read when the library was imported, so that setting it now would do nothing.
    constants.HF_HUB_OFFLINE = before or _hub_failure() is not None
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _refusal(error: Exception) -> str:
    name = type(error).__name__
    if name == "GatedRepoError":
        return f"{name}: ask for access on the model's page, then log in with `hf auth login`"
    return name


@lru_cache(maxsize=1)
def _hub_failure() -> str | None:
    """Return the reason why the hub cannot be used; None if it answers.

    Asked once per process, with a short timeout: the hub's own client would retry for half a minute.
    """
    # The user's own setting is not tested against the network.
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        # Any answer will do, an error of the hub too: the question is whether it can be reached.
        httpx.head(constants.ENDPOINT, timeout=_TIMEOUT_SECONDS)
    except (httpx.HTTPError, OSError) as error:
        return f"{constants.ENDPOINT} was not reached, {type(error).__name__}"
    return None

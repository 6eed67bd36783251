"""The `config.json` of a model: a shipped one, a folder, or from the hub. No torch.

In: a name. Out: the configuration, and for a hub name whose configuration could not be fetched but is known,
why: a plan then reckons with `KNOWN`, and a run is refused.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2 as httpx
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from dianoia.base.errors import ModelError
from dianoia.bases import SHIPPED, shipped_model
from dianoia.models.folder_check import read_config, read_object

_SECONDS = 5.0
"""How long the hub may take to answer before it counts as out of reach."""
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

Config = dict[str, Any]


def _known(
    hidden: int, layers: int, heads: int, kv_heads: int, inner: int, vocabulary: int, **more: Any
) -> Config:
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
        **more,
    }


_TIED = {"tie_word_embeddings": True}
_MATH = {"max_position_embeddings": 4096}
_QWEN3 = {"model_type": "qwen3", "max_position_embeddings": 32_768, **_TIED}
_LLAMA = {"model_type": "llama"}

KNOWN: dict[str, Config] = {
    "Qwen/Qwen2.5-1.5B": _known(1536, 28, 12, 2, 8960, 151_936, **_TIED),
    "Qwen/Qwen2.5-7B": _known(3584, 28, 28, 4, 18_944, 152_064),
    "Qwen/Qwen2.5-14B": _known(5120, 48, 40, 8, 13_824, 152_064),
    "Qwen/Qwen2.5-32B": _known(5120, 64, 40, 8, 27_648, 152_064),
    "Qwen/Qwen2.5-Math-1.5B": _known(1536, 28, 12, 2, 8960, 151_936, **_TIED, **_MATH),
    "Qwen/Qwen2.5-Math-7B": _known(3584, 28, 28, 4, 18_944, 152_064, **_MATH),
    "Qwen/Qwen3-0.6B-Base": _known(1024, 28, 16, 8, 3072, 151_936, **_QWEN3),
    "Qwen/Qwen3-1.7B-Base": _known(2048, 28, 16, 8, 6144, 151_936, **_QWEN3),
    "meta-llama/Llama-3.1-8B": _known(4096, 32, 32, 8, 14_336, 128_256, **_LLAMA),
    "meta-llama/Llama-3.3-70B-Instruct": _known(8192, 80, 64, 8, 28_672, 128_256, **_LLAMA),
}
"""Shapes of the models that the recipes and pages name, as in https://huggingface.co/NAME/blob/main/config.json;
the tables of the Qwen2.5 (arXiv 2412.15115), Qwen3 (arXiv 2505.09388) and Llama 3 (arXiv 2407.21783) reports
have them too."""


def model_config(where: str, source: str) -> Config:
    """The `config.json` of a shipped model, a folder or a hub name.

    Raises:
        ModelError: there is no such model; `where` names the table that asks for it.
    """
    folder = shipped_model(source) or Path(source).expanduser()
    if (folder / "config.json").is_file():
        try:
            return read_config(folder)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from None
    if source in SHIPPED or folder.exists() or source.startswith((".", "/", "~")):
        raise ModelError(
            f"{where}: the model {source!r} is not a Hugging Face folder on this machine (there is no "
            f"{folder / 'config.json'}); give the folder that holds config.json and model.safetensors"
        )
    if source.count("/") != 1:
        raise ModelError(
            f"{where}: {source!r} is neither an earlier stage, nor a shipped model "
            f"({', '.join(SHIPPED)}), nor a folder, nor a hub name such as Qwen/Qwen3-0.6B-Base"
        )
    config, missing = _from_hub(source)
    if config is None:
        raise ModelError(
            f"{where}: the model {source!r} is no folder here and cannot be fetched from the hub ({missing}); "
            "check the name and the connection, or give a folder"
        )
    return config


def text_config(config: Config) -> Config:
    """The part about the language model, under the names of today: GPT-2 has its own for the same things."""
    inner: Config = config.get("text_config") or config
    old = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
        "n_inner": "intermediate_size",
    }
    return {old.get(key, key): value for key, value in inner.items() if value is not None}


def out_of_reach(source: str) -> str | None:
    """Why a run could not have this model, in words; None where it is here or the hub has it to give."""
    if shipped_model(source) or Path(source).expanduser().exists() or source.count("/") != 1:
        return None
    missing = _from_hub(source)[1]
    if missing is not None:
        return missing
    here = any(isinstance(try_to_load_from_cache(source, name), str) for name in _WEIGHTS)
    return None if here else _hub_silent()


@lru_cache(maxsize=64)
def _from_hub(source: str) -> tuple[Config | None, str | None]:
    """A configuration, if there is one, and why it is not the hub's own, if it is not."""
    try:
        cached = try_to_load_from_cache(source, "config.json")
        silent = None if isinstance(cached, str) else _hub_silent()
        if silent is None:
            path = cached if isinstance(cached, str) else hf_hub_download(source, "config.json")
            return read_object(Path(path)), None
    except ModelError as error:  # a damaged copy in the cache
        silent = str(error)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        silent = _refusal(error)
    return KNOWN.get(source), silent


def _refusal(error: Exception) -> str:
    name = type(error).__name__
    if name == "GatedRepoError":
        return f"{name}: ask for access on the model's page, then log in with `hf auth login`"
    return name


@lru_cache(maxsize=1)
def _hub_silent() -> str | None:
    """Why the hub cannot be asked; None where it answers. Its own client would try for half a minute."""
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        httpx.head(constants.ENDPOINT, timeout=_SECONDS)
    except (httpx.HTTPError, OSError) as error:
        return f"{constants.ENDPOINT} was not reached, {type(error).__name__}"
    return None

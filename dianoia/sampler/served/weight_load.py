"""Has one server load a version of the weights: by path, all of them or an adapter; then proves it.

In: a connection and a version. Out: the server answers with it, or EndpointError. All of it may be repeated, on a server that was
interrupted anywhere in it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from dianoia.base.errors import EndpointError
from dianoia.base.records import Completion
from dianoia.sampler.served.connection import (
    NoAnswer,
    OtherWeights,
    Refused,
    ServerConnection,
    ServerSettings,
)
from dianoia.sampler.served.proof import Gap, Proof
from dianoia.sampler.served.token_route import ROUTE, TokenRequest, completion_of

_RESETS = 25
"""Attempts to empty the prefix cache, which fails while a request that ended a moment ago still holds blocks."""
_RESET_SECONDS = 0.2
_BASE_CAUSE = (
    "its own weights are not those that the adapters belong to",
    "start it from the model that the stage starts from",
)


@dataclass(frozen=True, slots=True)
class WeightVersion:
    """A version of the weights, ready to be loaded."""

    number: int
    """The learner's optimizer step."""
    label: str
    """Its name on the servers, unique to this process: nobody else's weights can be taken for it."""
    folder: Path
    proof: Proof
    kind: Literal["all", "adapter", "base"] = "all"
    """What is in the folder: all weights; an adapter, which servers load beside their own weights under the label; or the
    weights of a model with adapters, with which a server has to have been started."""

    @property
    def model(self) -> str | None:
        """The model to name in a request; None: the server's own weights."""
        return self.label if self.kind == "adapter" else None

    @property
    def expected(self) -> str:
        """The version that responses have to name; "" where they name that of the server's own weights."""
        return self.label if self.kind == "all" else ""


async def load(server: ServerConnection, version: WeightVersion) -> None:
    """Have a server load a version.

    Raises:
        EndpointError: it refuses.
        NoAnswer: it does not answer; it may have ended.
    """
    if version.kind == "base":
        return
    if version.kind == "adapter":
        await _load_adapter(server, version)
        return
    # Requests that are under way, which can only be somebody else's, end under the old weights.
    await server.call("/pause?mode=wait")
    try:
        await _reload(server, version)
        # Between load and label: blocks of the cache are keyed by tokens alone, and would mix both versions.
        await _reset_prefix_cache(server)
        # Last before requests go on: a server that ended in between answers with another label, and is found out.
        await server.call("/update_weight_version", {"new_version": version.label})
    except BaseException:
        # A server that others use must not stay paused; one that has ended has nothing to say to that.
        with suppress(NoAnswer):
            await server.call("/resume")
        raise
    await server.call("/resume")


async def _reload(server: ServerConnection, version: WeightVersion) -> None:
    arguments = {"weights_path": str(version.folder)}
    try:
        await server.call("/collective_rpc", {"method": "reload_weights", "kwargs": arguments})
    except NoAnswer as error:
        raise NoAnswer(
            f"{error} (while it loaded {version.folder}; vLLM's engine ends if it cannot read a folder, so servers have to see the "
            "folder of rollouts.weights under the same path)"
        ) from None


async def _reset_prefix_cache(server: ServerConnection) -> None:
    for _ in range(_RESETS):
        reply = await server.call("/reset_prefix_cache")
        if isinstance(reply, Mapping) and reply.get("success") is True:
            return
        await asyncio.sleep(_RESET_SECONDS)
    raise EndpointError(
        f"the server {server.url} does not empty its prefix cache (/reset_prefix_cache), so long prompts would be answered half "
        "from the old weights; does somebody else use it?"
    )


async def _load_adapter(server: ServerConnection, version: WeightVersion) -> None:
    body = {"lora_name": version.label, "lora_path": str(version.folder)}
    try:
        await server.call("/v1/load_lora_adapter", body)
    except EndpointError as error:
        # A repeated load: the label is of this process, so it is this adapter.
        if "already" not in str(error):
            raise


async def unload(server: ServerConnection, version: WeightVersion) -> None:
    """Have a server forget an adapter; nothing for other versions, which the next one replaces."""
    if version.kind == "adapter":
        await server.call("/v1/unload_lora_adapter", {"lora_name": version.label})


async def prove(
    server: ServerConnection,
    settings: ServerSettings,
    version: WeightVersion,
    before: Mapping[str, Tensor] | None,
) -> Gap:
    """Return the gap between a server's log-probabilities and those of a version; raise EndpointError if it is too large."""
    # One after another: the proof must not depend on what runs beside it.
    requests = version.proof.requests(settings.context)
    # The shortest prompt first, as `Proof.check` expects.
    answers = [(request, await draw_sample(server, version, request)) for request in requests]
    # In a thread: other servers go on meanwhile.
    cause = _BASE_CAUSE if version.kind == "base" else None
    return await asyncio.to_thread(
        version.proof.check, server.url, settings.dtype, answers, before, cause
    )


async def draw_sample(
    server: ServerConnection, version: WeightVersion, request: TokenRequest
) -> Completion:
    """Draw one sample. Raises NoAnswer and EndpointError."""
    try:
        reply = await server.call(ROUTE, request.body(version.model))
    except Refused as error:
        # A server that was restarted has no adapters.
        if version.kind == "adapter" and error.status == 404:
            raise OtherWeights(str(error)) from None
        raise
    return completion_of(server.url, reply, request, version.expected, version.number)

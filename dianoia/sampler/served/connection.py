"""One server of rollouts: its routes over HTTP, and its settings.

In: an address. Out: parsed replies, `NoAnswer` for what may succeed elsewhere or later, `EndpointError` for what a repeat would not
change. Every route that is used here may be repeated: drawing with a seed, and loads by path, leave the same state twice as once.
The environment's proxies are not used, and redirects are not followed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.base.errors import ConfigError, EndpointError
from dianoia.models.endpoint import Bounds, ExchangeFailed, Reply, certificates, post

_MAX_REPLY = 256 * 2**20
"""Bytes of a reply: about 100 per token."""
_CONNECT = 10.0
"""Seconds to connect."""
_SHORT = 30.0
"""Seconds for routes that only look something up; a busy server may be slow."""
# Status codes that say "later" or "elsewhere"; 500 too, since vLLM answers so once its engine has died.
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_SHOWN = 400

DEV_MODE = (
    "start vLLM with VLLM_SERVER_DEV_MODE=1 in its environment, or `dianoia serve` with --rollouts"
)


class NoAnswer(Exception):
    """A server gave no usable reply; another one might, or this one later. The message is the reason."""


class OtherWeights(NoAnswer):
    """A server answers with other weights than it was given: it was restarted, or loaded by somebody."""

    # A NoAnswer, so that the sample is drawn again; but it is counted apart, see `_Work.count_other_weights`.


class Refused(EndpointError):
    """A server refuses a request, and would again."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server was started, as far as it says so."""

    context: int | None
    """Most tokens of a prompt with its response."""
    dtype: str
    """`float32`, `bfloat16` or `float16`; of the weights."""
    model: str
    """The name under which it serves its own weights."""


class ServerConnection:
    """A client of one server. Its connections belong to one event loop: open it in each with `async with`."""

    def __init__(self, url: str, *, concurrency: int, timeout: float, key: str | None) -> None:
        """timeout: seconds of a long request, such as a response or a load. key: sent as Bearer token."""
        self.url, self.concurrency, self.timeout = url.rstrip("/"), concurrency, timeout
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> "ServerConnection":
        # Two more than there are requests: the state of a busy server can be asked for.
        limits = httpx2.Limits(max_connections=self.concurrency + 2)
        timeout = httpx2.Timeout(self.timeout, connect=_CONNECT)
        self._client = httpx2.AsyncClient(
            verify=certificates(), timeout=timeout, limits=limits, trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # Exchanges -----------------------------------------------------------------------------------

    async def call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST a body and return the parsed reply; None for an empty one. Raises NoAnswer and EndpointError."""
        return self._parsed(path, await self.exchange("POST", path, body, self.timeout))

    async def look_up(self, path: str) -> Any:
        """GET and return the parsed reply. Raises NoAnswer and EndpointError."""
        return self._parsed(path, await self.exchange("GET", path, None, _SHORT))

    async def exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float
    ) -> Reply:
        """Send a request and return the reply, whatever its status. Raises NoAnswer."""
        assert self._client is not None, "open the connection in this event loop"
        content = b"" if method == "GET" else json.dumps(body or {}).encode()
        bounds = Bounds(seconds, _MAX_REPLY)
        try:
            return await post(self._client, self.url + path, content, self._headers, bounds, method)
        except ExchangeFailed as error:
            raise NoAnswer(f"{self.url}{path}: {error}") from None

    def _parsed(self, path: str, reply: Reply) -> Any:
        if reply.status in _TEMPORARY:
            raise NoAnswer(f"{self.url}{path}: status {reply.status}: {_text(reply)}")
        # A redirect too: it is not followed, since the key would go to another host with it.
        if not 200 <= reply.status < 300:
            raise self.refusal(path, reply)
        if not reply.body.strip():
            return None
        try:
            return parse_json(reply.body)
        except UnreadableJSON:
            # Some routes answer with a plain sentence.
            return reply.text

    def refusal(self, path: str, reply: Reply) -> Refused:
        """Return the error for a status that a repeat would not change, with what to do about the usual ones."""
        route = path.partition("?")[0]
        text = _text(reply)
        if reply.status == 401:
            cure = "set rollouts.key_env to the environment variable with its key"
        elif reply.status == 403 and route.startswith("/inference"):
            cure = "start vLLM with --enable-scale-out, which opens the route for token ids"
        elif route.endswith("_lora_adapter"):
            cure = (
                "start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its environment and with --enable-lora, --max-loras 2 "
                'and --max-lora-rank of at least lora.rank; or set rollouts.lora = "merged"'
            )
        elif reply.status in (404, 405):
            cure = DEV_MODE
        else:
            cure = "see its log"
        message = (
            f"the server {self.url} refuses {route} with status {reply.status}: {text}; {cure}"
        )
        return Refused(message, reply.status)

    # State ---------------------------------------------------------------------------------------

    async def is_healthy(self) -> bool:
        """Return True if the server says that it works."""
        try:
            reply = await self.exchange("GET", "/health", None, _SHORT)
        except NoAnswer:
            return False
        return reply.status == 200

    async def settings(self) -> ServerSettings:
        """Return how the server was started.

        Raises:
            ConfigError: it was started in a way under which rollouts would be wrong, or would end it.
            EndpointError: it has not the routes.
            NoAnswer: it does not answer.
        """
        info = await self.look_up("/server_info?config_format=json")
        models = await self.look_up("/v1/models")
        try:
            # The names of vLLM's own objects, which no interface promises: one that is missing is told, never passed over.
            config = info["vllm_config"]
            model_config, scheduler = config["model_config"], config["scheduler_config"]
            device = str(config["device_config"].get("device"))
            entry = models["data"][0]
            settings = ServerSettings(
                model_config.get("max_model_len") or entry.get("max_model_len"),
                str(model_config.get("dtype")).removeprefix("torch."),
                str(entry["id"]),
            )
        except (LookupError, TypeError, AttributeError):
            raise EndpointError(
                f"{self.url}/server_info does not describe a server of rollouts; {DEV_MODE}"
            ) from None
        mode = model_config.get("logprobs_mode")
        if mode not in (None, "processed_logprobs"):
            raise ConfigError(
                f"the server {self.url} has --logprobs-mode {mode}: its log-probabilities leave the temperature out, so that "
                "importance weights would be wrong; start it with --logprobs-mode processed_logprobs"
            )
        if device == "cpu" and scheduler.get("enable_chunked_prefill"):
            raise ConfigError(
                f"the server {self.url} runs on a CPU with chunked prefill, and the first seeded prompt that is cut would end "
                "its engine (CPU Generator does not use offset); start it with --no-enable-chunked-prefill"
            )
        return settings


def _text(reply: Reply) -> str:
    """Return the message of an error, shortened."""
    text = reply.text
    try:
        value = json.loads(text)
        error = value.get("error", value)
        text = error if isinstance(error, str) else str(error.get("message") or error)
    except (ValueError, AttributeError):
        pass
    # On one line, since it becomes a part of a message.
    text = " ".join(text.split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."

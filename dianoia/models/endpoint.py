"""A client for chat completions of an OpenAI-compatible endpoint.

In: messages. Out: the text of the answer. Requests run concurrently up to a limit, and are repeated after temporary
failures. Every answer is cached in a folder, under a hash of model, messages and parameters, so that a stage that
resumes, or asks the same again, spends nothing. Not here: streaming, tools, several answers to one request.

The key is read from an environment variable when a request is sent. It is neither stored nor shown, even if the
endpoint repeats it. A reply that is no chat completion counts as a temporary failure.

The server is untrusted, so one exchange (`post`) is bounded in time and size, and JSON in depth. The time limit covers the
whole exchange, from the connection to the last byte: a server that sends a byte now and then, or `100 Continue` without
end, cannot stall the caller. The size limit holds before and after decompression. Redirects are not followed: the
request carries a key that is meant for one host.
"""

import asyncio
import base64
import hashlib
import json
import os
import ssl
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.base.errors import ConfigError, EndpointError
from dianoia.base.files import write_json
from dianoia.base.stopping import give_up_sampling_if_overdue
from dianoia.config import EndpointSettings

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""Lets zlib detect the format from the first bytes."""
_PLAIN = frozenset({"", "identity"})


class ExchangeFailed(Exception):
    """There is no usable reply; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on an exchange."""

    seconds: float
    """Time from the connection to the last byte."""
    size: int
    """Bytes of the body, before and after decompression."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of the server."""

    status: int
    headers: Mapping[str, str]
    """Lookup ignores the case of names."""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, for messages."""
        return self.body.decode("utf-8", "replace")


async def post(
    client: httpx2.AsyncClient,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    bounds: Bounds,
    method: str = "POST",
) -> Reply:
    """Send JSON and read the reply. Raises ExchangeFailed."""
    # "identity" asks for no compression. A server may compress all the same.
    all_headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    try:
        # httpx's own timeout bounds a silence between bytes, not the whole exchange.
        async with asyncio.timeout(bounds.seconds):
            request = client.stream(
                method, url, content=body, headers=all_headers, follow_redirects=False
            )
            async with request as response:
                raw = await _read(response, bounds.size)
                encoding = response.headers.get("content-encoding", "").strip().lower()
                return Reply(
                    response.status_code, response.headers, _decoded(raw, encoding, bounds.size)
                )
    except TimeoutError:
        raise ExchangeFailed(f"it took more than {bounds.seconds:g} seconds in all") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
        raise ExchangeFailed(f"{type(error).__name__} ({error})") from None


async def _read(response: httpx2.Response, size: int) -> bytes:
    """Read the raw body. Raises ExchangeFailed beyond `size` bytes."""
    # Raw bytes: httpx would decompress without a limit.
    parts, length = [], 0
    async for part in response.aiter_raw():
        length += len(part)
        if length > size:
            raise _too_long(size)
        parts.append(part)
    return b"".join(parts)


def _decoded(raw: bytes, encoding: str, size: int) -> bytes:
    """Decompress a body. Raises ExchangeFailed beyond `size` bytes, without expanding it further."""
    if encoding in _PLAIN or not raw:
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ExchangeFailed(f"a reply encoded as {encoding[:40]!r}, which was not requested")
    decompressor = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        # One byte more than the limit tells whether there would be more.
        body = decompressor.decompress(raw, size + 1)
    except zlib.error as error:
        raise ExchangeFailed(f"a reply that cannot be decompressed ({error})") from None
    if len(body) > size:
        raise _too_long(size)
    if not decompressor.eof:
        raise ExchangeFailed("a reply whose compressed data ends too early")
    return body


def _too_long(size: int) -> ExchangeFailed:
    return ExchangeFailed(f"a reply of more than {size // 2**20} MiB")


Messages = Sequence[dict[str, str]]
"""Messages with `role` and `content`, as the API takes them."""

_FIRST_WAIT = 0.5
"""Seconds before the first retry; they double with each retry."""
_MAX_WAIT = 60.0
_TEMPORARY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""
_TOTAL_TIMEOUTS = 5
"""Bound on a whole exchange, in multiples of `timeout`, which bounds a silence: some endpoints send blanks while
they work."""
_MAX_REPLY_BYTES = 16 * 2**20
_MAX_SHOWN = 300
_CHARACTERS_PER_TOKEN = 4
"""Estimate for an endpoint that does not count its tokens, or not plausibly."""
_MAX_TOKENS = 10**9
"""A larger count of tokens for one exchange is not plausible."""
_MIN_MASKED_KEY = 6
"""A shorter key is not masked in answers: a placeholder such as EMPTY is also a word."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the model."""

    text: str
    cut: bool
    """True if it reached the limit on tokens."""


def endpoint_key(settings: EndpointSettings) -> str | None:
    """Return the key in the environment variable `key_env`; None if the settings name none.

    Raises ConfigError if the variable is not set, or holds a key that cannot be sent.
    """
    if settings.key_env is None:
        return None
    key = sent_key(settings.key_env, settings.url)
    if len(key) >= _MIN_MASKED_KEY and key in settings.url:
        raise ConfigError(
            f"key_env = {settings.key_env!r}: url holds the key of this environment variable, and would be written "
            "to recipe.json; remove the key from url"
        )
    return key


def certificates() -> ssl.SSLContext:
    """Return the certificates that the environment names, for a client of httpx. Raises OSError if they cannot be read."""
    return _certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@lru_cache(maxsize=1)
def _certificates(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Return the certificates that the environment's SSL_CERT_FILE and SSL_CERT_DIR name, read once: it takes 15 ms.

    Raises OSError if they cannot be read.
    """
    return httpx2.create_ssl_context()


def sent_key(variable: str, receiver: str) -> str:
    """Return the key in an environment variable, for requests to `receiver`. Raises ConfigError for one that cannot be sent."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"key_env = {variable!r}: this environment variable is missing or empty, so {receiver} would "
            "refuse every request; export it, or remove key_env if no key is needed"
        )
    if not all("!" <= char <= "~" for char in key):
        raise ConfigError(
            f"key_env = {variable!r}: the key in this environment variable contains a line break, a blank or "
            "another character that cannot be sent (the key is not shown here); export it again without them"
        )
    return key


class Endpoint:
    """A client of one model. `cache` is the folder of its answers."""

    def __init__(self, settings: EndpointSettings, cache: Path) -> None:
        self.settings, self.cache = settings, cache
        self.requests, self.tokens = 0, 0
        self.bounds = Bounds(_TOTAL_TIMEOUTS * settings.timeout, _MAX_REPLY_BYTES)
        self._lock = threading.Lock()

    def ask(
        self, conversations: Sequence[Messages], repetitions: Sequence[int] | None = None
    ) -> list[Answer]:
        """Return the answers in order. Equal conversations share one request.

        `repetitions` are a part of the cache key: another number asks for another answer to the same conversation.

        Raises EndpointError if the endpoint refuses or cannot be reached, or the budget is spent. Answers received
        until then are in the cache.
        """
        numbers = repetitions or [0] * len(conversations)
        names = [self._name(*pair) for pair in zip(conversations, numbers, strict=True)]
        # asyncio.run() makes a new event loop per call; two at once in two threads would share the client.
        with self._lock:  # one event loop at a time
            answers = asyncio.run(self._all(dict(zip(names, conversations, strict=True))))
        return [answers[name] for name in names]

    async def _all(self, unique: Mapping[str, Messages]) -> dict[str, Answer]:
        """Return the answers by name. After a failure, requests under way finish, and no further one is sent."""
        answers: dict[str, Answer] = {}
        failures: list[Exception] = []
        # All workers take from one iterator, so each conversation is sent by exactly one of them.
        self._stopped, pending = asyncio.Event(), iter(unique.items())
        # Connections belong to one event loop, so the client lives as long as the call.
        async with self._connections() as self._client:
            workers = min(self.settings.concurrency, len(unique))
            work = (self._work(pending, answers, failures) for _ in range(workers))
            await asyncio.gather(*work)
        if failures:
            raise failures[0]
        return answers

    def _connections(self) -> httpx2.AsyncClient:
        """Return an HTTP client. Raises EndpointError if the environment's proxies or certificates are unusable."""
        limits = httpx2.Limits(max_connections=self.settings.concurrency)
        try:
            return httpx2.AsyncClient(
                verify=certificates(), timeout=self.settings.timeout, limits=limits
            )
        except (ValueError, OSError, ImportError, httpx2.InvalidURL) as error:
            raise EndpointError(
                f"{self._model_and_url()} cannot be reached: {self._masked(str(error))}; check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, "
                "NO_PROXY and SSL_CERT_FILE in the environment"
            ) from None

    async def _work(
        self,
        pending: Iterator[tuple[str, Messages]],
        answers: dict[str, Answer],
        failures: list[Exception],
    ) -> None:
        for name, messages in pending:
            try:
                give_up_sampling_if_overdue()  # the others under way finish, and their answers are in the cache
                answers[name] = await self._cached_answer(name, messages)
            # An exception that leaves a worker would cancel the requests of the others, which are paid for.
            except Exception as error:  # noqa: BLE001 - raised by `_all`, once the others have ended
                failures.append(error)
                self._stopped.set()
            if self._stopped.is_set():
                return

    async def _cached_answer(self, name: str, messages: Messages) -> Answer:
        file = self.cache / name[:2] / f"{name}.json"
        answer = _cached(file)
        if answer is None:
            answer = await self._answer(messages)
            write_json(file, asdict(answer))
        return answer

    def _name(self, messages: Messages, repetition: int) -> str:
        """Return the cache key of a request."""
        body = self._body(messages) | ({"repetition": repetition} if repetition else {})
        # Changing this text makes every cached answer unreachable.
        text = json.dumps(body, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def _body(self, messages: Messages) -> dict[str, Any]:
        return {
            "model": self.settings.model,
            "messages": list(messages),
            "temperature": self.settings.temperature,
            "max_tokens": self.settings.max_tokens,
        }

    async def _answer(self, messages: Messages) -> Answer:
        """Return the endpoint's answer, after as many attempts as the settings allow."""
        for attempt in range(self.settings.retries + 1):
            self._spend()
            answer, wait = await self._attempt(messages)
            if isinstance(answer, Answer):
                return answer
            is_last = attempt == self.settings.retries
            if is_last or await self._is_stopped_within(
                min(_MAX_WAIT, wait or _FIRST_WAIT * 2**attempt)
            ):
                break
        raise EndpointError(
            f"{self._model_and_url()} did not answer in {attempt + 1} attempts; the last one: {answer}. Answers so far are "
            "cached and cost nothing again: check that the endpoint works, then run the same command again"
        )

    async def _is_stopped_within(self, seconds: float) -> bool:
        """Wait before a retry. Return True as soon as another request fails for good."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _attempt(self, messages: Messages) -> tuple[Answer | str, float | None]:
        """Return the answer; or what went wrong, and the seconds that the endpoint asks to wait."""
        url = self.settings.url.rstrip("/") + "/chat/completions"
        # A lone surrogate in a prompt is replaced: UTF-8 cannot encode it.
        body = json.dumps(self._body(messages), ensure_ascii=False).encode("utf-8", "replace")
        try:
            reply = await post(self._client, url, body, self._headers(), self.bounds)
        except ExchangeFailed as error:
            return self._masked(str(error)), None
        if reply.status in _TEMPORARY:
            return self._excerpt(reply), _retry_after(reply.headers.get("retry-after"))
        # Any other status is for good: the same request would fail again.
        if not 200 <= reply.status < 300:
            raise EndpointError(self._refused(reply))
        return self._parsed(messages, reply), None

    def _parsed(self, messages: Messages, reply: Reply) -> Answer | str:
        """Return the answer in a reply and count its tokens; or what is wrong with the reply."""
        try:
            value = parse_json(reply.body)
            choice = value["choices"][0]
            text = choice["message"]["content"]
            cut = choice.get("finish_reason") == "length"
            usage = value.get("usage")
        except UnreadableJSON as error:
            return f"a reply that is no chat completion ({error}): {self._excerpt(reply)}"
        except (LookupError, TypeError, AttributeError):
            return f"a reply that is no chat completion: {self._excerpt(reply)}"
        if not isinstance(text, str | None):
            return f"a reply that is no chat completion: {self._excerpt(reply)}"
        text = text or ""
        if any("\ud800" <= char <= "\udfff" for char in text):
            # A lone surrogate cannot be encoded as UTF-8.
            return "a reply whose content holds half of a surrogate pair"
        prompt = sum(len(message["content"]) for message in messages)
        self.tokens += _tokens(usage) or max(1, (prompt + len(text)) // _CHARACTERS_PER_TOKEN)
        return Answer(self._masked(text, _MIN_MASKED_KEY), cut)

    def _headers(self) -> dict[str, str]:
        key = endpoint_key(self.settings)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _masked(self, text: str, min_length: int = 1) -> str:
        """Replace the key, which some endpoints repeat, plain or encoded. Keys below `min_length` stay."""
        key = endpoint_key(self.settings)
        if key is None or len(key) < min_length:
            return text
        encoded = base64.b64encode(key.encode()).decode()
        # Plain, in a URL, in an encoded header, and the same without padding.
        for form in (key, quote(key, safe=""), encoded, encoded.rstrip("=")):
            text = text.replace(form, "***")
        return text

    def _excerpt(self, reply: Reply) -> str:
        """Return the status and the beginning of a reply. The key is masked first: a cut key would not be recognized."""
        return f"status {reply.status}, {self._masked(reply.text)[:_MAX_SHOWN]!r}"

    def _refused(self, reply: Reply) -> str:
        advice = {
            401: "check the key in the variable that key_env names",
            403: "check the key in the variable that key_env names",
            404: "check url (it ends before /chat/completions) and model",
        }
        action = advice.get(reply.status, "check model, max_tokens and the endpoint's limits")
        if 300 <= reply.status < 400:
            target = self._masked(reply.headers.get("location", ""))[:_MAX_SHOWN]
            action = (
                f"it redirects to {target!r}, and the key is sent to the host in url only; if the address is right, "
                "use it as url"
            )
        return f"{self._model_and_url()} refuses the request: {self._excerpt(reply)}; {action}"

    def _model_and_url(self) -> str:
        return f"{self.settings.model} at {self.settings.url}"

    def _spend(self) -> None:
        """Count a request before it is sent. Raises EndpointError if the budget is spent."""
        # Requests are counted before they are sent, tokens after: several may be under way when a budget ends.
        for unit, used, budget in (
            ("requests", self.requests, self.settings.budget_requests),
            ("tokens", self.tokens, self.settings.budget_tokens),
        ):
            if budget is not None and used >= budget:
                raise EndpointError(self._spent(unit, used, budget))
        self.requests += 1

    def _spent(self, unit: str, used: int, budget: int) -> str:
        return (
            f"{self._model_and_url()}: the budget is spent, {used:,} {unit} of budget_{unit} = {budget}; answers so "
            "far are cached and cost nothing again. Run the same command to spend the same budget once more, or "
            f"raise budget_{unit}: the stage resumes with the answers it has"
        )


def _cached(file: Path) -> Answer | None:
    """Return a cached answer; None if there is none, or the file is damaged."""
    if not file.is_file():
        return None
    # A file that a crash has damaged counts as missing: the request is sent again.
    try:
        fields = parse_json(file.read_bytes())
    except UnreadableJSON:
        return None
    if not isinstance(fields, dict):
        return None
    types = {name: type(value) for name, value in fields.items()}
    return Answer(**fields) if types == {"text": str, "cut": bool} else None


def _tokens(usage: object) -> int | None:
    """Return the tokens that an endpoint counts; None if it gives no count, or an implausible one."""
    count = usage.get("total_tokens") if isinstance(usage, dict) else None
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    # `type`, as True is an int too.
    return count if type(count) is int and 0 < count <= _MAX_TOKENS else None


def _retry_after(header: str | None) -> float | None:
    """Return the seconds in a Retry-After header; None if it holds a date or nothing."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return None

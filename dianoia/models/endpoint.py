"""A model behind an OpenAI-compatible endpoint, asked for chat completions.

In: messages. Out: the text of the answer. Requests run at the same time up to a limit, are repeated after
failures that pass, and are answered once: every answer lies in a folder, under a hash of model, messages and
parameters, so that a stage that goes on, or asks the same again, spends nothing. Left out: streaming, tools,
several answers to one request.

The key is read from an environment variable when a request is sent; it is neither stored nor shown, also where the
endpoint repeats it. A reply is bounded in size, depth and time (`models.http_exchange`), and one that is no chat completion
is a failure that may pass.
"""

import asyncio
import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.base.errors import ConfigError, EndpointError
from dianoia.base.files import write_json
from dianoia.config import EndpointSettings
from dianoia.models.http_exchange import Bounds, ExchangeFailed, Reply, post

Messages = Sequence[dict[str, str]]
"""`role` and `content`, as the API takes them."""

_FIRST_WAIT = 0.5
"""Seconds before the first repetition; they double from one to the next."""
_LONGEST_WAIT = 60.0
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
_WHOLE = 5
"""Seconds of a whole exchange, in those of silence: some endpoints send blanks while they work."""
_MOST_BYTES = 16 * 2**20
"""Of a reply."""
_SHOWN_CHARS = 300
_CHARS_A_TOKEN = 4
"""Guess where the endpoint does not count its tokens, or not believably."""
_MOST_TOKENS = 10**9
"""Of one exchange, as far as a count is believed."""
_LEAST_MASKED = 6
"""Characters of a key that is masked in answers: a stand-in such as EMPTY is also a word."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote."""

    text: str
    cut: bool
    """It reached the limit on tokens."""


def endpoint_key(settings: EndpointSettings) -> str | None:
    """The key in the environment. Raises ConfigError if the variable that `key_env` names is not set."""
    if settings.key_env is None:
        return None
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise ConfigError(
            f"key_env = {settings.key_env!r}: there is no such environment variable (or it is empty), so "
            f"{settings.url} would refuse every request; export it, or remove key_env if no key is needed"
        )
    if not all("!" <= char <= "~" for char in key):
        raise ConfigError(
            f"key_env = {settings.key_env!r}: the key in this environment variable holds a line break, a blank or "
            "another character that cannot be sent (the key is not shown here); export it again, without it"
        )
    if len(key) >= _LEAST_MASKED and key in settings.url:
        raise ConfigError(
            f"key_env = {settings.key_env!r}: url holds the key of this environment variable, and would be written "
            "to recipe.json; take it out of url"
        )
    return key


class Endpoint:
    """Asks one model. `cache` is the folder of its answers."""

    def __init__(self, settings: EndpointSettings, cache: Path) -> None:
        self.settings, self.cache = settings, cache
        self.requests, self.tokens = 0, 0
        self.bounds = Bounds(_WHOLE * settings.timeout, _MOST_BYTES)
        self._lock = threading.Lock()

    def ask(
        self, conversations: Sequence[Messages], repetitions: Sequence[int] | None = None
    ) -> list[Answer]:
        """The answers, in order; equal conversations are asked once.

        `repetitions` says of each how often it was asked before, where another answer to the same is wanted:
        a number that is new is a request that is new.

        Raises EndpointError when the endpoint refuses, stays away, or the budget is spent. What was answered
        until then is in the cache.
        """
        again = repetitions or [0] * len(conversations)
        names = [self._name(*one) for one in zip(conversations, again, strict=True)]
        with self._lock:  # one event loop at a time
            answers = asyncio.run(self._all(dict(zip(names, conversations, strict=True))))
        return [answers[name] for name in names]

    async def _all(self, unique: Mapping[str, Messages]) -> dict[str, Answer]:
        """The answers by name; after the first failure those under way are waited for, and no other is asked."""
        answers: dict[str, Answer] = {}
        failures: list[Exception] = []
        self._stopped, waiting = asyncio.Event(), iter(unique.items())
        async with self._connections() as self._client:
            workers = min(self.settings.concurrency, len(unique))
            work = (self._work(waiting, answers, failures) for _ in range(workers))
            await asyncio.gather(*work)
        if failures:
            raise failures[0]
        return answers

    def _connections(self) -> httpx2.AsyncClient:
        """A client; raises EndpointError where the environment's proxies or certificates cannot be used."""
        limits = httpx2.Limits(max_connections=self.settings.concurrency)
        try:
            return httpx2.AsyncClient(timeout=self.settings.timeout, limits=limits)
        except (ValueError, OSError, ImportError, httpx2.InvalidURL) as error:
            raise EndpointError(
                f"{self._who()} cannot be asked: {self._masked(str(error))}; check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, "
                "NO_PROXY and SSL_CERT_FILE in the environment"
            ) from None

    async def _work(
        self,
        waiting: Iterator[tuple[str, Messages]],
        answers: dict[str, Answer],
        failures: list[Exception],
    ) -> None:
        for name, messages in waiting:
            try:
                answers[name] = await self._one(name, messages)
            except Exception as error:  # noqa: BLE001 - raised by `_all`, once the others have ended
                failures.append(error)
                self._stopped.set()
            if self._stopped.is_set():
                return

    async def _one(self, name: str, messages: Messages) -> Answer:
        file = self.cache / name[:2] / f"{name}.json"
        answer = _cached(file)
        if answer is None:
            answer = await self._answer(messages)
            write_json(file, asdict(answer))
        return answer

    def _name(self, messages: Messages, repetition: int) -> str:
        body = self._body(messages) | ({"repetition": repetition} if repetition else {})
        text = json.dumps(body, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def _body(self, messages: Messages) -> dict[str, Any]:
        chosen = self.settings
        return {
            "model": chosen.model,
            "messages": list(messages),
            "temperature": chosen.temperature,
            "max_tokens": chosen.max_tokens,
        }

    # Sending -------------------------------------------------------------------------------------

    async def _answer(self, messages: Messages) -> Answer:
        """The endpoint's answer, after as many attempts as allowed."""
        for attempt in range(self.settings.retries + 1):
            self._spend()
            answer, wait = await self._attempt(messages)
            if isinstance(answer, Answer):
                return answer
            last = attempt == self.settings.retries
            if last or await self._stops(min(_LONGEST_WAIT, wait or _FIRST_WAIT * 2**attempt)):
                break
        raise EndpointError(
            f"{self._who()} did not answer in {attempt + 1} attempts; the last one: {answer}. What was answered is "
            "kept and costs nothing again: see that the endpoint works and run the same command again"
        )

    async def _stops(self, seconds: float) -> bool:
        """Wait before a repetition; whether another request has failed meanwhile."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _attempt(self, messages: Messages) -> tuple[Answer | str, float | None]:
        """The answer, or what went wrong and how many seconds the endpoint asks to wait."""
        url = self.settings.url.rstrip("/") + "/chat/completions"
        body = json.dumps(self._body(messages), ensure_ascii=False).encode("utf-8", "replace")
        try:
            reply = await post(self._client, url, body, self._headers(), self.bounds)
        except ExchangeFailed as error:
            return self._masked(str(error)), None
        if reply.status in _PASSING:
            return self._told(reply), _asked_wait(reply.headers.get("retry-after"))
        if not 200 <= reply.status < 300:
            raise EndpointError(self._refused(reply))
        return self._parsed(messages, reply), None

    def _parsed(self, messages: Messages, reply: Reply) -> Answer | str:
        """The answer in a reply, its tokens counted; what is wrong with a reply that holds none."""
        try:
            value = parse_json(reply.body)
            choice = value["choices"][0]
            text = choice["message"]["content"]
            cut = choice.get("finish_reason") == "length"
            usage = value.get("usage")
        except UnreadableJSON as error:
            return f"a reply that is no chat completion ({error}): {self._told(reply)}"
        except (LookupError, TypeError, AttributeError):
            return f"a reply that is no chat completion: {self._told(reply)}"
        if not isinstance(text, str | None):
            return f"a reply that is no chat completion: {self._told(reply)}"
        text = text or ""
        if any("\ud800" <= char <= "\udfff" for char in text):
            return "a reply whose content holds half a character"
        read = sum(len(message["content"]) for message in messages)
        self.tokens += _tokens(usage) or max(1, (read + len(text)) // _CHARS_A_TOKEN)
        return Answer(self._masked(text, _LEAST_MASKED), cut)

    # The key -------------------------------------------------------------------------------------

    def _headers(self) -> dict[str, str]:
        key = endpoint_key(self.settings)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _masked(self, text: str, least: int = 1) -> str:
        """A text without the key, which some endpoints repeat, as it is or as it travels."""
        key = endpoint_key(self.settings)
        if key is None or len(key) < least:
            return text
        encoded = base64.b64encode(key.encode()).decode()
        for form in (key, quote(key, safe=""), encoded, encoded.rstrip("=")):
            text = text.replace(form, "***")
        return text

    # Messages ------------------------------------------------------------------------------------

    def _told(self, reply: Reply) -> str:
        """Status and beginning of a reply; the key goes before the text is cut, which might cut it too."""
        return f"status {reply.status}, {self._masked(reply.text)[:_SHOWN_CHARS]!r}"

    def _refused(self, reply: Reply) -> str:
        advice = {
            401: "check the key in the variable that key_env names",
            403: "check the key in the variable that key_env names",
            404: "check url (it ends before /chat/completions) and model",
        }
        todo = advice.get(reply.status, "check model, max_tokens and the endpoint's limits")
        if 300 <= reply.status < 400:
            target = self._masked(reply.headers.get("location", ""))[:_SHOWN_CHARS]
            todo = (
                f"it sends the request on to {target!r}, and the key is meant for this host alone; if that is right, "
                "write it into url"
            )
        return f"{self._who()} refuses the request: {self._told(reply)}; {todo}"

    def _who(self) -> str:
        return f"{self.settings.model} at {self.settings.url}"

    # Budget --------------------------------------------------------------------------------------

    def _spend(self) -> None:
        """Count a request that is about to be sent, or refuse to send it."""
        for name, used, most in (
            ("requests", self.requests, self.settings.budget_requests),
            ("tokens", self.tokens, self.settings.budget_tokens),
        ):
            if most is not None and used >= most:
                raise EndpointError(self._spent(name, used, most))
        self.requests += 1

    def _spent(self, name: str, used: int, most: int) -> str:
        return (
            f"{self._who()}: the budget is spent, {used:,} {name} of budget_{name} = {most}; what was "
            "answered is kept and costs nothing again. Run the same command to spend as much once more, or "
            f"raise budget_{name}: the stage goes on with what it has"
        )


def _cached(file: Path) -> Answer | None:
    """An answer that was kept; None where there is none, or the file is damaged."""
    if not file.is_file():
        return None
    try:
        kept = parse_json(file.read_bytes())
    except UnreadableJSON:
        return None
    if not isinstance(kept, dict) or {name: type(value) for name, value in kept.items()} != {
        "text": str,
        "cut": bool,
    }:
        return None
    return Answer(**kept)


def _tokens(usage: object) -> int | None:
    """The tokens that an endpoint counts; None where it does not, or says what cannot be."""
    count = usage.get("total_tokens") if isinstance(usage, dict) else None
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    return count if type(count) is int and 0 < count <= _MOST_TOKENS else None


def _asked_wait(header: str | None) -> float | None:
    """Seconds of a Retry-After header; None where it holds a date or nothing."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return None

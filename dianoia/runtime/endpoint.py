"""A model behind an OpenAI-compatible endpoint, asked for chat completions.

In: messages. Out: the text of the answer. Requests run at the same time up to a limit, are repeated after
failures that pass, and are answered once: every answer lies in a folder, under a hash of model, messages and
parameters, so that a stage that goes on, or asks the same again, spends nothing. Left out: streaming, tools,
several answers to one request.

The key is read from an environment variable when a request is sent; it is neither stored nor shown.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2

from dianoia.base.config import EndpointSettings
from dianoia.base.errors import ConfigError, EndpointError
from dianoia.base.files import read_json, write_json

Messages = Sequence[dict[str, str]]
"""`role` and `content`, as the API takes them."""

_FIRST_WAIT = 0.5
"""Seconds before the first repetition; they double from one to the next."""
_LONGEST_WAIT = 60.0
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
_SHOWN_CHARS = 300
_CHARS_A_TOKEN = 4
"""Guess where the endpoint does not count its tokens."""


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
    return key


class Endpoint:
    """Asks one model. `cache` is the folder of its answers."""

    def __init__(self, settings: EndpointSettings, cache: Path) -> None:
        self.settings, self.cache = settings, cache
        self.requests, self.tokens = 0, 0
        self._lock, self._stopped = threading.Lock(), threading.Event()

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
        limits = httpx2.Limits(max_connections=self.settings.concurrency)
        with httpx2.Client(timeout=self.settings.timeout, limits=limits) as self._client:
            answers = self._all(dict(zip(names, conversations, strict=True)))
        return [answers[name] for name in names]

    def _all(self, unique: Mapping[str, Messages]) -> dict[str, Answer]:
        self._stopped.clear()
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            futures = {name: pool.submit(self._one, name, unique[name]) for name in unique}
            try:
                for future in as_completed(futures.values()):
                    future.result()  # the first failure ends the rest
            except BaseException:
                self._stopped.set()  # whoever waits for a repetition gives up
                pool.shutdown(cancel_futures=True)
                raise
        return {name: future.result() for name, future in futures.items()}

    def _one(self, name: str, messages: Messages) -> Answer:
        file = self.cache / name[:2] / f"{name}.json"
        if file.exists():
            return Answer(**read_json(file))
        answer = self._answer(self._reply(messages))
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

    def _reply(self, messages: Messages) -> dict[str, Any]:
        """The endpoint's reply, after as many attempts as allowed."""
        for attempt in range(self.settings.retries + 1):
            self._spend()
            found, wait = self._attempt(messages)
            if isinstance(found, dict):
                return found
            last = attempt == self.settings.retries
            if last or self._stopped.wait(min(_LONGEST_WAIT, wait or _FIRST_WAIT * 2**attempt)):
                break
        raise EndpointError(
            f"{self._who()} did not answer in {attempt + 1} attempts; the last one: {found}. What was answered is "
            "kept and costs nothing again: see that the endpoint works and run the same command again"
        )

    def _attempt(self, messages: Messages) -> tuple[dict[str, Any] | str, float | None]:
        """The reply, or what went wrong and how many seconds the endpoint asks to wait."""
        try:
            response = self._client.post(
                self.settings.url.rstrip("/") + "/chat/completions",
                json=self._body(messages),
                headers=self._headers(),
            )
        except httpx2.TransportError as error:
            return f"{type(error).__name__} ({error})", None
        if response.status_code in _PASSING:
            return self._told(response), _asked_wait(response.headers.get("retry-after"))
        if not response.is_success:
            raise EndpointError(self._refused(response))
        return self._parsed(response), None

    def _parsed(self, response: httpx2.Response) -> dict[str, Any] | str:
        try:
            reply = response.json()
            content = reply["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            content = reply = {}
        if not isinstance(content, str | None):
            return f"a reply that is no chat completion: {self._told(response)}"
        found: dict[str, Any] = reply
        return found

    def _headers(self) -> dict[str, str]:
        key = endpoint_key(self.settings)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _told(self, response: httpx2.Response) -> str:
        """Status and beginning of a reply, without the key, which some endpoints repeat."""
        key = endpoint_key(self.settings)
        text = response.text.replace(key, "***") if key else response.text
        return f"status {response.status_code}, {text[:_SHOWN_CHARS]!r}"

    def _refused(self, response: httpx2.Response) -> str:
        advice = {
            401: "check the key in the variable that key_env names",
            403: "check the key in the variable that key_env names",
            404: "check url (it ends before /chat/completions) and model",
        }
        todo = advice.get(response.status_code, "check model, max_tokens and the endpoint's limits")
        return f"{self._who()} refuses the request: {self._told(response)}; {todo}"

    def _who(self) -> str:
        return f"{self.settings.model} at {self.settings.url}"

    def _answer(self, reply: dict[str, Any]) -> Answer:
        choice = reply["choices"][0]
        text = choice["message"]["content"] or ""
        used = (reply.get("usage") or {}).get("total_tokens") or len(text) // _CHARS_A_TOKEN
        with self._lock:
            self.tokens += used
        return Answer(text, choice.get("finish_reason") == "length")

    # Budget --------------------------------------------------------------------------------------

    def _spend(self) -> None:
        """Count a request that is about to be sent, or refuse to send it."""
        with self._lock:
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


def _asked_wait(header: str | None) -> float | None:
    """Seconds of a Retry-After header; None where it holds a date or nothing."""
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return None

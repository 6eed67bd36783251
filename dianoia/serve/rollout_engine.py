"""What a server of rollouts does, without HTTP: draws samples by seed, pauses, and takes new weights from a folder.

In: a loaded model. Out: completions with their log-probabilities, the same bits as in a training process under the same seed. All calls
come from one event loop; sessions decode in threads of their own. Weights change only while nothing is drawn.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dianoia.base.errors import ModelError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.inference.live_engine import CONTEXT
from dianoia.inference.loaded_model import Model
from dianoia.inference.model_line import open_session
from dianoia.learner.lora import PEFT_PREFIX, merged_weight
from dianoia.sampler.draw import key_of
from dianoia.sampler.interface import Sampler, WeightUpdate
from dianoia.sampler.native.engine import NativeSampler
from dianoia.serve.api_errors import ApiError, unknown_model

_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
START_VERSION = "default"
"""Version of the weights until somebody names another, as vLLM calls it."""


class RolloutEngine:
    """One model and its adapters. Close it to end its threads."""

    def __init__(self, model: Model, name: str, *, slots: int, context: int | None = None) -> None:
        """Serve a model.

        slots: samples decoded at a time. context: most tokens of a prompt with its response; None: the model's positions, up to `CONTEXT`."""
        self.name, self.config = name, model.config
        limits = (model.positions, context or CONTEXT)
        self.context = min(limit for limit in limits if limit is not None)
        self.stop_ids = model.stop_ids
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.weight_version = START_VERSION
        self._model, self._slots = model, slots
        # The first line is the model's own weights; those behind it are adapters, in the order in which they came.
        self._lines: dict[str, _Line] = {name: _Line(model.sampler, self.context)}
        self._tensors: dict[str, Tensor] | None = None
        self._running = asyncio.Event()
        self._running.set()
        self._under_way = 0
        self._changing = asyncio.Lock()
        self._loads = 0

    def serve_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """See `running.Closable`: all calls come from this loop, so there is nothing to note."""

    def close(self) -> None:
        """End all sessions; samples under way are aborted. Called in the event loop, or where there is none."""
        for line in self._lines.values():
            # First: a session that is closed hands out what it has, which is no whole response.
            line.abort()
            line.close()

    @property
    def models(self) -> list[str]:
        """The model, then its adapters."""
        return list(self._lines)

    # Samples -------------------------------------------------------------------------------------

    async def draw(
        self, model: str, prompt_ids: tuple[int, ...], params: SamplingParams, seed: int
    ) -> tuple[Completion | None, str]:
        """Draw a sample; return it, None if it was aborted, and the version of its weights.

        Raises ApiError for what cannot be drawn. Waits while the server is paused.
        """
        self._check(model, prompt_ids, params)
        await self._running.wait()
        line = self._lines.get(model)
        if line is None:  # it was unloaded meanwhile
            raise unknown_model(model, self.models)
        # Read without an `await` before the sample is counted: from then on no weights change, so that it names what draws.
        version = self.weight_version
        with self._counted():
            request = Request(prompt_ids, 1, key_of(seed))
            completion = await line.draw(request, params)
        return completion, version

    def _check(self, model: str, prompt_ids: tuple[int, ...], params: SamplingParams) -> None:
        if model not in self._lines:
            raise unknown_model(model, self.models)
        rows = self._model.sampler.vocabulary
        # An id beyond the embedding table would read foreign memory.
        stranger = next((token for token in prompt_ids if not 0 <= token < rows), None)
        if stranger is not None:
            raise ApiError(400, f"Token id {stranger} is out of vocabulary: 0 to {rows - 1}.")
        room = self.context - len(prompt_ids)
        if params.max_tokens > room:
            raise ApiError(
                400,
                f"The prompt has {len(prompt_ids)} tokens and max_tokens is {params.max_tokens}, and the server takes "
                f"{self.context} in all.",
                field="max_tokens",
                code="context_length_exceeded",
            )

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    # Pauses --------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Return True while new requests wait."""
        return not self._running.is_set()

    async def pause(self, mode: str) -> None:
        """Let new requests wait; those under way end (`wait`) or are aborted (`abort`). Raises ApiError for another mode."""
        if mode not in ("wait", "abort"):
            raise ApiError(
                400, f"mode {mode[:40]!r}: this server has wait and abort.", field="mode"
            )
        # First, so that what is under way only becomes less while it is waited for.
        self._running.clear()
        if mode == "abort":
            for line in self._lines.values():
                line.abort()
        while self._under_way:
            await asyncio.sleep(0.005)

    def resume(self) -> None:
        """Serve requests again."""
        self._running.set()

    def reset_prefix_cache(self) -> bool:
        """Return True: there is none, since the prompt is read for each request."""
        return True

    def description(self) -> dict[str, Any]:
        """Return what a client looks at in vLLM's description of its configuration."""
        return {
            "model_config": {
                "max_model_len": self.context,
                "dtype": f"torch.{self.dtype}",
                "logprobs_mode": "processed_logprobs",
            },
            "scheduler_config": {"enable_chunked_prefill": False},
            "device_config": {"device": None},
        }

    # Weights -------------------------------------------------------------------------------------

    async def reload(self, folder: Path) -> None:
        """Take all weights from a folder. Raises ApiError (400) for one that cannot be used, and 409 while samples are drawn."""
        async with self._idle():
            tensors = await asyncio.to_thread(self._read, folder)
            # A number of our own: a sampler copies weights only if their version is new, whatever a client calls them.
            self._loads += 1
            line = self._lines[self.name]
            await asyncio.to_thread(line.load, WeightUpdate(self._loads, tensors))
            # Only once they are in use: adapters are summed with these, and must not be with weights that were refused.
            self._tensors = tensors

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Serve the model with an adapter in PEFT's format beside it, under a name of its own. Raises ApiError."""
        # One at a time: of two loads of one name the second would replace a line whose session nobody could close, and weights
        # that are reloaded meanwhile would not be those that the adapter is summed with.
        async with self._changing:
            if name in self._lines:
                raise ApiError(400, f"The adapter {name[:100]!r} was already loaded.")
            own = self._tensors
            if own is None:
                own = await asyncio.to_thread(self._read, Path(self._model.checkpoint.source))
                self._tensors = own
            merged = await asyncio.to_thread(_merged, own, folder)
            sampler = await asyncio.to_thread(self._sampler_of, merged)
            self._lines[name] = _Line(sampler, self.context)

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter; its samples under way are aborted. Raises ApiError (404) if there is none of the name."""
        if name == self.name or name not in self._lines:
            raise unknown_model(name, self.models[1:])
        line = self._lines.pop(name)
        # As in `close`: a response that is cut off must not look like one that has ended.
        line.abort()
        await asyncio.to_thread(line.close)

    def _sampler_of(self, tensors: Mapping[str, Tensor]) -> Sampler:
        sampler = self._model.sampler
        if not isinstance(sampler, NativeSampler):
            raise ApiError(
                400, "This server has adapters for architectures of the native sampler alone."
            )
        # A whole model per adapter: sums are read as plain weights, so that its tokens are those of a training process.
        copy = NativeSampler(self.config, slots=self._slots, dtype=getattr(torch, self.dtype))
        copy.load(WeightUpdate(0, tensors))
        copy.pull()
        return copy

    @asynccontextmanager
    async def _idle(self) -> AsyncIterator[None]:
        """In the block, nothing is drawn, and nobody else changes weights. Raises ApiError (409) while samples are drawn."""
        async with self._changing:
            if self._under_way:
                raise ApiError(
                    409,
                    f"{self._under_way} samples are being drawn; pause the server first (/pause).",
                )
            # A client that has paused the server resumes it itself, once it has also named the version.
            was_paused = self.is_paused
            self._running.clear()
            try:
                yield
            finally:
                if not was_paused:
                    self._running.set()

    def _read(self, folder: Path) -> dict[str, Tensor]:
        """Return the tensors of a folder. Raises ApiError unless they are those of this model."""
        tensors = _tensors_of(folder)
        if self.config.get_text_config().tie_word_embeddings:
            head = tensors.get(_HEAD)
            if head is not None and not torch.equal(head, tensors[_EMBEDDING]):
                raise ApiError(
                    400,
                    f"{folder}: its output head is not its embedding, and this server was started from a model whose head is tied "
                    "to the embedding; start it from a folder with tie_word_embeddings false.",
                )
        return tensors


class _Line:
    """One set of weights: a sampler and its session, which is opened when it is first needed."""

    def __init__(self, sampler: Sampler, context: int) -> None:
        self._sampler, self._context = sampler, context
        self._session: Any = None
        self._opening = asyncio.Lock()
        self._handles: dict[Any, asyncio.Future[Completion | None]] = {}

    async def draw(self, request: Request, params: SamplingParams) -> Completion | None:
        """Draw one sample; None if it was aborted. A caller that is cancelled frees the slot."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Completion | None] = loop.create_future()
        # Two first samples at a time must not open two sessions, of which one would never be closed.
        async with self._opening:
            if self._session is None:
                self._session = await asyncio.to_thread(open_session, self._sampler, self._context)
        handle = self._session.submit(request, params, listener=_Ended(loop, future))
        self._handles[handle] = future
        try:
            # A caller that is cancelled cancels this future with it, so that `_Ended` finds it done and passes over it.
            return await future
        except asyncio.CancelledError:
            handle.cancel()
            raise
        finally:
            del self._handles[handle]

    def abort(self) -> None:
        """End all samples without a completion."""
        for handle, future in self._handles.items():
            if not future.done():
                future.set_result(None)
                handle.cancel()

    def load(self, update: WeightUpdate) -> None:
        """Take new weights; nothing is drawn meanwhile. Raises ApiError (400) for others than the model's."""
        try:
            self._sampler.load(update)
        except ModelError as error:
            raise ApiError(400, str(error)) from None
        # A session keeps the weights that it was opened with.
        self.close()
        self._sampler.pull()

    def close(self) -> None:
        """End the session."""
        session, self._session = self._session, None
        if session is not None:
            session.close()


class _Ended:
    """Listens to a sample's end, from the threads of a session."""

    wants_tokens = False
    """See `Listener`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Completion | None]"
    ) -> None:
        self._loop, self._future = loop, future

    def tokens(self, sample: int, ids: object, logprobs: object) -> None:
        """Pass over tokens: the completion has all of them."""

    def ended(self, sample: int, completion: Completion) -> None:
        """See `Listener`."""
        self._set(lambda: self._future.set_result(completion))

    def failed(self, error: BaseException) -> None:
        """See `Listener`."""
        self._set(lambda: self._future.set_exception(RuntimeError(f"the session failed: {error}")))

    def _set(self, action: Any) -> None:
        # Called in a thread of the session, and a future belongs to its event loop, so the loop has to set it.
        def act() -> None:
            if not self._future.done():
                action()

        try:
            self._loop.call_soon_threadsafe(act)
        except RuntimeError:
            return  # the loop has ended, and nobody waits


# Folders -----------------------------------------------------------------------------------------


def _tensors_of(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of the weight files in a folder. Raises ApiError (400) if it cannot be read."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        raise ApiError(400, f"{folder}: there is no folder with weights under this path.")
    tensors: dict[str, Tensor] = {}
    try:
        for file in files:
            with safe_open(file, framework="pt") as content:
                tensors |= {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise ApiError(400, f"{folder}: the weights cannot be read: {error}.") from None
    return tensors


def _merged(own: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Return weights with an adapter's sums: W + (alpha / r) B A. Raises ApiError (400) for a folder that holds none."""
    tensors = _tensors_of(folder)
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        scale = config["lora_alpha"] / config["r"]
        merged = dict(own)
        for name, A in tensors.items():
            layer = name.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight")
            if name.endswith(".lora_A.weight"):
                B = tensors[name.replace(".lora_A.", ".lora_B.")]
                weight = own[f"{layer}.weight"]
                merged[f"{layer}.weight"] = merged_weight(weight, (A, B), scale)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise ApiError(400, f"{folder}: this is no adapter of the model: {error}.") from None
    return merged

"""What is served: models by name, loaded when they are first asked, over one live engine.

In: checkpoints. Out: a `Model` by the name that a request gives, submitted generations, and the figures of the moment, in the text
format that Prometheus reads.
"""

import asyncio
import secrets
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from dianoia.base.errors import ConfigError, ModelError, UserError, nearest
from dianoia.base.records import SamplingParams
from dianoia.inference.checkpoints import Checkpoint
from dianoia.inference.generation import Generation, GenerationRequest
from dianoia.inference.live_engine import Engine, EngineFull
from dianoia.inference.loaded_model import MAX_TOKENS, Model, load
from dianoia.serve.api_errors import ApiError, unknown_model
from dianoia.serve.request_types import ChatRequest, CompletionRequest
from dianoia.serve.token_texts import TokenTexts

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of histograms, in seconds."""

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms by name and labels. The names are few; labels must be, too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counters: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, dict[Labels, list[float]]] = defaultdict(dict)

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counters[name][tuple(sorted(labels.items()))] += amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        with self._lock:
            empty = [0.0] * (len(_BOUNDS) + 2)
            # Counts per bucket, then those beyond all bounds, then the sum.
            values = self._histograms[name].setdefault(tuple(sorted(labels.items())), empty)
            # To the left: a duration that equals a bound belongs to its bucket, which Prometheus reads as "at most" (le).
            values[bisect_left(_BOUNDS, seconds)] += 1
            values[-1] += seconds

    def text(self, gauges: Mapping[str, Mapping[Labels, float]]) -> str:
        """Return everything, with gauges of the moment."""
        with self._lock:
            # Written under the lock, so that the counts of a histogram and its sum belong together.
            lines = [*self._lines(gauges)]
        return "\n".join(lines) + "\n"

    def _lines(self, gauges: Mapping[str, Mapping[Labels, float]]) -> Iterator[str]:
        for metric_type, families in (("counter", self._counters), ("gauge", gauges)):
            for name, values in families.items():
                yield f"# TYPE dianoia_{name} {metric_type}"
                for labels, value in values.items():
                    yield f"dianoia_{name}{_written(labels)} {value:g}"
        for name, histograms in self._histograms.items():
            yield f"# TYPE dianoia_{name} histogram"
            for labels, counts in histograms.items():
                # Buckets of Prometheus are cumulative: each counts everything up to its bound.
                total = 0.0
                # Not strict: the last of the counts is the sum, which has no bound.
                for bound, count in zip((*map(str, _BOUNDS), "+Inf"), counts, strict=False):
                    total += count
                    yield f"dianoia_{name}_bucket{_written((*labels, ('le', bound)))} {total:g}"
                yield f"dianoia_{name}_sum{_written(labels)} {counts[-1]:g}"
                yield f"dianoia_{name}_count{_written(labels)} {total:g}"


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, value in labels
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"


_BASE = "base"
_SEED_BITS = 32


@dataclass(frozen=True, slots=True)
class Options:
    """How models are served."""

    max_waiting: int = 256
    """Samples that wait per model."""
    context: int | None = None
    """Most tokens of a prompt and its response; None: the model's."""
    timeout: float = 600.0
    """Seconds that a request may take."""
    slots: int = 64
    """Samples decoded at a time, per model."""
    device: str | None = None
    dtype: str | None = None


def served_name(checkpoint: Checkpoint) -> str:
    """Return the name under which a checkpoint is served: of its stage, and `base` for the base of a run."""
    return _BASE if _BASE in checkpoint.aliases else checkpoint.name


class Service:
    """Models by name, over one engine. Close it to end the engine's threads."""

    def __init__(self, checkpoints: Sequence[Checkpoint], default: str, options: Options) -> None:
        """default: the served name of the model that is asked if a request names none."""
        self.checkpoints = {served_name(checkpoint): checkpoint for checkpoint in checkpoints}
        self.default, self.options = default, options
        self.metrics = Metrics()
        self.created = int(time.time())
        self._aliases = {
            alias: name
            for name, checkpoint in self.checkpoints.items()
            for alias in (*checkpoint.aliases, checkpoint.name)
        }
        self._models: dict[str, Model] = {}
        self._texts: dict[str, TokenTexts] = {}
        # Guards `_models`: two first requests at a time must not load one model twice.
        self._loading = threading.Lock()
        self.engine = Engine({}, max_waiting=options.max_waiting, context=options.context)

    def serve_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """See `running.Closable`."""
        self.engine.serve_in(loop)

    def close(self) -> None:
        """Cancel all requests and end the threads."""
        self.engine.close()

    def name_of(self, requested: str | None) -> str:
        """Return the name of the model that a request asks for. Raises ApiError (404) for an unknown one."""
        name = self.default if requested is None else requested
        name = name if name in self.checkpoints else self._aliases.get(name, name)
        if name not in self.checkpoints:
            raise unknown_model(name, self.checkpoints, nearest(name[:100], self.checkpoints))
        return name

    def model(self, name: str) -> Model:
        """Return a model, loaded now if nobody has asked it before; blocks. Raises ApiError (500) if it cannot be loaded."""
        with self._loading:
            if name not in self._models:
                options = self.options
                try:
                    model = load(
                        self.checkpoints[name],
                        device=options.device,
                        dtype=options.dtype,
                        slots=options.slots,
                    )
                except (ModelError, ConfigError) as error:
                    raise ApiError(500, str(error), code="model_not_loaded") from error
                # Before it is listed: a request may come as soon as the name is there.
                self.engine.add(name, model)
                self._models[name] = model
            return self._models[name]

    def loaded_model(self, name: str) -> Model | None:
        """Return a model if it is loaded; never blocks."""
        # Without the lock, which is held for seconds while a model loads; this is called in the event loop.
        return self._models.get(name)

    def token_texts(self, name: str) -> TokenTexts:
        """Return the texts of the tokens of a loaded model."""
        model = self._models[name]
        # Made once: a request should not read the tokenizer again. Twice, by two threads, is no error.
        if name not in self._texts:
            self._texts[name] = TokenTexts(model.tokenizer, model.decode)
        return self._texts[name]

    def load_default(self) -> None:
        """Load the default model. Raises ModelError or ConfigError, as `inference.loaded_model.load`."""
        try:
            self.model(self.default)
        except ApiError as error:
            # The command prints the error itself, not as an answer to a client.
            raise error.__cause__ or error from None

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the models in memory."""
        return tuple(self._models)

    def submit(self, name: str, request: GenerationRequest) -> Generation:
        """Begin to generate. Raises ApiError: 400 for what cannot be served, 429 if the queue is full."""
        try:
            return self.engine.submit(name, request)
        except EngineFull as error:
            headers = {"Retry-After": str(error.retry_after)}
            raise ApiError(429, str(error), code="queue_full", headers=headers) from None
        except UserError as error:
            raise ApiError(400, str(error)) from None

    def sampling_params(
        self,
        model: Model,
        name: str,
        request: ChatRequest | CompletionRequest,
        prompt_tokens: int,
        max_tokens: int | None,
    ) -> SamplingParams:
        """Return the sampling parameters of a request: its own, else the model's defaults.

        Raises ApiError (400) for a prompt, or a prompt with `max_tokens`, that is longer than the context.
        """
        context = self.engine.context(name)
        room = context - prompt_tokens
        if room < 1:
            raise ApiError(
                400,
                f"The prompt has {prompt_tokens:,} tokens, and the model {name!r} takes {context:,} with the answer. Shorten it.",
                code="context_length_exceeded",
            )
        if max_tokens is not None and max_tokens > room:
            raise ApiError(
                400,
                f"The prompt has {prompt_tokens:,} tokens and max_tokens is {max_tokens:,}, and the model {name!r} takes "
                f"{context:,} in all. Set max_tokens to {room:,} or less.",
                field="max_tokens",
                code="context_length_exceeded",
            )
        defaults = model.defaults
        top_k = defaults.top_k if request.top_k is None else request.top_k
        return SamplingParams(
            max_tokens=min(MAX_TOKENS, room) if max_tokens is None else max_tokens,
            stop_ids=frozenset() if request.ignore_eos else model.prompts.stop_ids,
            temperature=_or(request.temperature, defaults.temperature),
            top_p=_or(request.top_p, defaults.top_p),
            # As many as there are tokens, or more, are all of them.
            top_k=0 if top_k >= model.sampler.vocabulary else max(0, top_k),
        )

    def gauges(self) -> dict[str, dict[Labels, float]]:
        """Return the figures of the moment, by name and model."""
        stats = {name: self.engine.stats(name) for name in self.loaded}

        def labelled(figure: str) -> dict[Labels, float]:
            return {
                (("model", name),): getattr(engine_stats, figure)
                for name, engine_stats in stats.items()
            }

        return {
            "samples_running": labelled("running"),
            "samples_waiting": labelled("waiting"),
            "slots": labelled("slots"),
        }


def drawn_seed(seed: int | None) -> int:
    """Return a request's seed, or a random one."""
    return secrets.randbits(_SEED_BITS) if seed is None else seed


def _or(value: float | None, default: float) -> float:
    return default if value is None else value

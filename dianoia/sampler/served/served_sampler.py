"""The served sampler: implements `interface.Sampler` over servers of vLLM, or of `dianoia serve --rollouts`.

In: token ids and weights as any sampler. Out: completions, drawn by servers. A sample's seed is that of the native sampler, so a server of
ours draws the same tokens, and any server draws the same ones again. Each version of the weights is written as a folder, loaded by every
server and proved before a request is sent (`weight_load`, `proof`). Not here: which server draws what (`fleet`).
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from dianoia.base.errors import ConfigError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.config import LoRASettings, RolloutSettings
from dianoia.learner.lora import AdaptedWeights, MergedWeights
from dianoia.sampler.interface import (
    OnFinish,
    SamplerStats,
    WeightUpdate,
    check_requests,
    params_of,
)
from dianoia.sampler.served.connection import ServerConnection
from dianoia.sampler.served.fleet import Fleet
from dianoia.sampler.served.processes import ServedModel, ServerProcesses
from dianoia.sampler.served.proof import (
    ChangedWeights,
    Proof,
    changed_adapters,
)
from dianoia.sampler.served.streamed_model import StreamedModel
from dianoia.sampler.served.token_route import TokenRequest, sample_seed
from dianoia.sampler.served.weight_folders import WeightFolders
from dianoia.sampler.served.weight_load import WeightVersion

Joining = list[tuple[WeightVersion, Mapping[str, Tensor] | None]]
"""Versions that a server loads when it joins, each with the weights before it."""


class ServedSampler:
    """A sampler whose engine is a fleet of servers. Close it to end servers that it has started, and to remove weights."""

    def __init__(
        self,
        config: PretrainedConfig,
        tokenizer: PreTrainedTokenizerBase,
        start: Mapping[str, Tensor],
        settings: RolloutSettings,
        *,
        folder: Path,
        name: str,
        dtype: torch.dtype,
        max_tokens: int,
        key: str | None = None,
        lora: LoRASettings | None = None,
        on_cpu: bool = True,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start the servers of the settings, if they are to be started.

        Args:
            start: the weights that servers are started with.
            folder: of the stage: logs of servers, and weights where shared memory has no room.
            name: of the stage, in the labels of versions.
            dtype: of the weights on the servers.
            max_tokens: of the longest response.
            key: of the servers.
            lora: the adapters that the weights will have.
            report: takes a line for people.

        Raises:
            ConfigError: the servers cannot be started.
            MachineFault: there is no room for two versions of the weights.
        """
        self._config = config.get_text_config()
        self._settings, self._report = settings, report
        self._model = StreamedModel(config)
        self._adapts = lora is not None and settings.lora == "adapter"
        root = Path(settings.weights).expanduser().absolute() if settings.weights else None
        self._folders = WeightFolders(
            config, self._model.parameters, tokenizer, root, folder.absolute(), dtype
        )
        self._label = f"{name}-{os.getpid()}-{os.urandom(4).hex()}"
        self._positions: int | None = getattr(self._config, "max_position_embeddings", None)
        self._update: WeightUpdate | None = None
        self._version: WeightVersion | None = None
        self._published = 0
        self._stats = SamplerStats()
        self._processes: ServerProcesses | None = None
        self._trials: dict[str, Joining] = {}
        """What joining servers load before a version, by its label."""
        self._lock = threading.Lock()
        connections = self._connections(
            start, folder, dtype, max_tokens, lora if self._adapts else None, on_cpu, key
        )
        self._fleet = Fleet(
            connections,
            patience=settings.patience,
            joining=self._joining,
            ended=self._ended,
            report=report,
        )

    def _connections(
        self,
        start: Mapping[str, Tensor],
        folder: Path,
        dtype: torch.dtype,
        max_tokens: int,
        lora: LoRASettings | None,
        on_cpu: bool,
        key: str | None,
    ) -> list[ServerConnection]:
        """Connect to the servers of the settings, or to those that are started first."""
        concurrency, timeout = self._settings.concurrency, self._settings.timeout
        try:
            urls = self._settings.servers or self._start(
                start, folder, dtype, max_tokens, lora, on_cpu
            )
            return [
                ServerConnection(url, concurrency=concurrency, timeout=timeout, key=key)
                for url in urls
            ]
        except BaseException:
            # `close` is not called on an object whose construction fails, and a version in shared memory would stay.
            self._folders.close()
            raise

    def _start(
        self,
        weights: Mapping[str, Tensor],
        folder: Path,
        dtype: torch.dtype,
        max_tokens: int,
        lora: LoRASettings | None,
        on_cpu: bool,
    ) -> list[str]:
        """Start the servers on a folder of the start weights, and return their addresses."""
        start = self._folders.write("start", weights, with_tokenizer=True)
        model = ServedModel(
            start,
            str(dtype).removeprefix("torch."),
            self._positions,
            max_tokens,
            0 if lora is None else lora.rank,
            on_cpu,
        )
        self._processes = ServerProcesses(self._settings, model, folder)
        logs = ", ".join(str(log) for log in self._processes.logs.values())
        self._report(f"starts {self._settings.count} server(s) of rollouts; log: {logs}")
        return self._processes.urls

    def _ended(self, url: str) -> str | None:
        return None if self._processes is None else self._processes.ended(url)

    def close(self) -> None:
        """End servers that were started, and remove all weights. A call in another thread ends with an error."""
        self._fleet.close(self._version)
        if self._processes is not None:
            self._processes.close()
        self._folders.close()

    @property
    def stats(self) -> SamplerStats:
        """Statistics of the last `generate`; servers do not tell prefill from decoding, nor their steps."""
        return self._stats

    @property
    def vocabulary(self) -> int:
        """See `interface.Sampler.vocabulary`."""
        size: int = self._config.vocab_size
        return size

    # Weights -------------------------------------------------------------------------------------

    def load(self, update: WeightUpdate) -> None:
        """See `interface.Sampler.load`."""
        served = None if self._version is None else self._version.number
        self._update = update if update.version != served else None

    def pull(self) -> int:
        """See `interface.Sampler.pull`: writes the version, and has every server load and prove it."""
        update, self._update = self._update, None
        if update is not None:
            try:
                self._publish(update)
            except BaseException:
                self._update = update  # a caller that goes on would otherwise draw with old weights
                raise
        assert self._version is not None, "load() gives the sampler its weights; call it first"
        return self._version.number

    def _publish(self, update: WeightUpdate) -> None:
        old, is_first = self._version, self._version is None
        version = self._new_version(update.version, update.tensors)
        # Read lazily, tensor by tensor, and only if a proof fails: so the old folder has to stay until the load is over.
        before = None if old is None or old.kind != "all" else self._folders.read(old.folder)
        # Servers that were started a moment ago take a while.
        patience = self._settings.start_seconds if is_first and self._processes else None
        self._fleet.load(version, before, old, patience)
        # Only now: after an error the version before is still the one in use, and its folder is kept.
        self._version = version
        self._tidy(version)

    def _tidy(self, version: WeightVersion) -> None:
        """Remove every folder but that of the version in use."""
        self._trials.clear()
        self._folders.remove_others(version.folder)

    def _new_version(self, number: int, weights: Mapping[str, Tensor]) -> WeightVersion:
        """Write a version: as an adapter, where the weights have adapters and servers get them so."""
        self._published += 1
        # The count makes the path new even if the same step is published again after an error, see `weight_folders`.
        label = f"{self._label}-{number}-{self._published}"
        adapted = weights.adapted() if isinstance(weights, MergedWeights) else weights
        if self._adapts and isinstance(adapted, AdaptedWeights):
            return self._adapter(label, number, adapted)
        return WeightVersion(
            number, label, self._folders.write(label, weights), self._proof(weights)
        )

    def _adapter(self, label: str, number: int, weights: AdaptedWeights) -> WeightVersion:
        base = str(self._config.name_or_path or "")
        folder = self._folders.write_adapter(label, weights.adapters, base)
        return WeightVersion(number, label, folder, self._proof(weights), "adapter")

    def _proof(self, weights: Mapping[str, Tensor]) -> Proof:
        return Proof(self._model, self._config, weights)

    def _joining(self, version: WeightVersion) -> Joining:
        """Return what a server loads and proves when it joins, before a version: weights that are far from it.

        Where servers get adapters: first that its own weights are those that the adapters belong to.
        """
        # Called in threads, for several servers at a time: they share the folders.
        with self._lock:
            if version.label not in self._trials:
                self._trials[version.label] = self._trial_of(version)
            return self._trials[version.label]

    def _trial_of(self, version: WeightVersion) -> Joining:
        weights, label = version.proof.weights, f"{version.label}-trial"
        if version.kind == "adapter":
            assert isinstance(weights, AdaptedWeights)
            base = WeightVersion(0, label, version.folder, self._proof(weights.frozen), "base")
            return [(base, None), (self._adapter(label, 0, changed_adapters(weights)), None)]
        # Before the version itself, which may differ from what the server has by less than it rounds.
        changed = ChangedWeights(weights, self._model.is_tied)
        folder = self._folders.write(label, changed)
        return [(WeightVersion(0, label, folder, self._proof(changed)), weights)]

    # Samples -------------------------------------------------------------------------------------

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """See `interface.Sampler.generate`.

        Log-probabilities of truncated (top-p, top-k) and greedy samples are NaN: a server's are not those of the contract.
        Raises EndpointError without any server, and for one that has not the weights that it was given.
        """
        check_requests(requests, params, self._positions)
        self.pull()
        version = self._version
        assert version is not None
        self._check_context(requests, params)
        # Samples are sent, not requests: each has a seed of its own, and goes to whichever server is free.
        places = [
            (number, sample)
            for number, request in enumerate(requests)
            for sample in range(request.samples)
        ]
        completions: list[list[Completion | None]] = [[None] * r.samples for r in requests]
        start = time.perf_counter()

        def done(index: int, completion: Completion) -> None:
            number, sample = places[index]
            # Called in the event loop of `draw` alone, so that no lock is needed.
            completions[number][sample] = completion
            if on_finish is not None:
                on_finish(number, sample, completion)

        token_requests = [
            TokenRequest(
                requests[number].prompt_ids,
                params_of(requests[number], params),
                sample_seed(requests[number].key, sample),
            )
            for number, sample in places
        ]
        self._fleet.draw(token_requests, version, done)
        # Again: servers that came back while samples were drawn have had trial folders written.
        self._tidy(version)
        # No None is left, since `draw` returns once every sample is there; this says so to the type checker.
        whole = [[c for c in row if c is not None] for row in completions]
        self._stats = SamplerStats(
            tokens=sum(len(completion.ids) for row in whole for completion in row),
            seconds_decode=time.perf_counter() - start,
            weights_version=version.number,
        )
        return whole

    def _check_context(self, requests: Sequence[Request], params: SamplingParams) -> None:
        """Raise ConfigError for a request that a server would cut short without a word."""
        context = self._fleet.context
        if context is None:
            return
        for index, request in enumerate(requests):
            limit = params_of(request, params).max_tokens
            if len(request.prompt_ids) + limit > context:
                raise ConfigError(
                    f"request {index} has {len(request.prompt_ids)} prompt tokens and max_tokens = {limit}, and the servers take "
                    f"{context} in all (--max-model-len); start them with more, lower sampling.max_tokens, or shorten the prompt"
                )

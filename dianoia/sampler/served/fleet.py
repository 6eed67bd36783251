"""Servers that draw samples together: weights to all of them, samples to whichever is free, and what happens when one is lost.

In: a version of the weights, then requests. Out: completions, whichever server draws them. A sample depends on its seed and weights
alone, so those of a lost server are drawn elsewhere, the same. A server that comes back, or was restarted, serves only after it
has loaded and proved the version anew. Without any server the call waits for one for a while, then ends with a message.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from torch import Tensor

from dianoia.base.errors import EndpointError
from dianoia.base.records import Completion
from dianoia.base.stopping import give_up_sampling_if_overdue
from dianoia.sampler.served.connection import (
    NoAnswer,
    OtherWeights,
    ServerConnection,
    ServerSettings,
)
from dianoia.sampler.served.token_route import TokenRequest
from dianoia.sampler.served.weight_load import WeightVersion, draw_sample, load, prove, unload

_POLL_SECONDS = 0.1
"""Time between two looks at signals and at time limits."""
_REJOIN_SECONDS = 1.0
"""Time between two attempts to bring a server back."""
_MAX_ATTEMPTS = 6
"""Attempts at one sample, before the run ends: something about it may end servers."""
_MAX_OTHER_WEIGHTS = 3
"""Times that a server may turn out to have other weights within one call, before the run ends."""

OnDone = Callable[[int, Completion], None]
"""Called with (number of the request, completion) as samples end."""
Joining = Callable[[WeightVersion], Sequence[tuple[WeightVersion, Mapping[str, Tensor] | None]]]
"""Returns what a server has to load and prove before a version, when it joins: versions, and the weights before each."""
Ended = Callable[[str], str | None]
"""Returns why the server at an address cannot come back; None if it can."""


class Member:
    """One server, and what is known of it."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.settings: ServerSettings | None = None
        """None until the server has joined, and again once it is lost."""
        self.loaded = ""
        """Label of the version that it has proved."""
        self.reason = "it was not asked yet"
        """Why it does not serve."""
        self.is_loading = False
        """It answers, and loads weights."""
        self.is_gone = False
        """It cannot come back."""

    @property
    def url(self) -> str:
        """Its address."""
        return self.connection.url

    def lose(self, reason: str) -> None:
        """Take note that it does not serve: it has to join anew."""
        self.settings, self.loaded, self.reason = None, "", reason


class Fleet:
    """All servers of a sampler."""

    def __init__(
        self,
        connections: Sequence[ServerConnection],
        *,
        patience: float,
        joining: Joining,
        ended: Ended,
        report: Callable[[str], None],
    ) -> None:
        """patience: seconds without any server after which a call ends. report: takes a line for people."""
        self.members = [Member(connection) for connection in connections]
        self._patience, self._joining, self._ended = patience, joining, ended
        self._report = report
        self._is_closed = False
        # Connections belong to one event loop at a time, and `close` may come from another thread than a call.
        self._turn = threading.Lock()

    def close(self, version: WeightVersion | None = None) -> None:
        """End a call of another thread, with an error, and have servers forget an adapter."""
        # Before the turn is waited for: the call that holds it looks at this, and ends.
        self._is_closed = True
        if version is not None and version.kind == "adapter":
            with self._turn:
                asyncio.run(self._forget_everywhere(version))

    async def _forget_everywhere(self, version: WeightVersion) -> None:
        async with self._open():
            members = [member for member in self.members if member.loaded]
            # Whatever a server says: the stage is over.
            await asyncio.gather(
                *(self._forget(member, version) for member in members), return_exceptions=True
            )

    @property
    def context(self) -> int | None:
        """Most tokens of a prompt with its response that every server takes; None if none says so."""
        limits = [
            member.settings.context
            for member in self.members
            if member.settings is not None and member.settings.context is not None
        ]
        return min(limits, default=None)

    # Weights -------------------------------------------------------------------------------------

    def load(
        self,
        version: WeightVersion,
        before: Mapping[str, Tensor] | None,
        old: WeightVersion | None,
        patience: float | None = None,
    ) -> None:
        """Have every server load and prove a version; those that do not answer are lost, unless all are.

        Args:
            before: the weights of the version before, to name what a server has kept.
            old: an adapter to forget afterwards.
            patience: seconds that servers which were started have to answer; None: those to wait for one to come back.

        Raises:
            EndpointError: a server refuses, or has not the weights that it was given; or none answers.
            ConfigError: a server was started in a way that cannot be used.
        """
        wait = _Wait(self._patience, "patience")
        if patience is not None:
            wait = _Wait(patience, "start_seconds")
        with self._turn:
            asyncio.run(self._load(version, before, old, wait))

    async def _load(
        self,
        version: WeightVersion,
        before: Mapping[str, Tensor] | None,
        old: WeightVersion | None,
        wait: "_Wait",
    ) -> None:
        began = time.monotonic()
        # The connections end with the event loop of this call; the next call opens them in a loop of its own.
        async with self._open():
            while True:
                await asyncio.gather(
                    *(self._ready(member, version, before) for member in self.members)
                )
                # One server is enough to go on. A lost one is brought back by `_serve`, with the version of the time.
                ready = [member for member in self.members if member.loaded == version.label]
                if ready:
                    break
                self._end_without_servers(time.monotonic() - began, wait)
                self._end_if_closed()
                give_up_sampling_if_overdue()
                await asyncio.sleep(_POLL_SECONDS)
            if old is not None:
                await asyncio.gather(*(self._forget(member, old) for member in ready))

    async def _forget(self, member: Member, old: WeightVersion) -> None:
        try:
            await unload(member.connection, old)
        except NoAnswer as error:
            member.lose(str(error))

    async def _ready(
        self, member: Member, version: WeightVersion, before: Mapping[str, Tensor] | None
    ) -> bool:
        """Have a server join if it has not, load and prove a version; return False, with a reason, if it does not answer."""
        ended = self._ended(member.url)
        if ended is not None:
            member.lose(ended)
            member.is_gone = True
            return False
        # Proved once per version: a server that was restarted since is found out by its next answer, see `draw_sample`.
        if member.loaded == version.label:
            return True
        try:
            settings = member.settings
            steps = [(version, before)]
            if settings is None:
                settings = await member.connection.settings()
                # Only after it has answered: a server that loads for minutes must not count as gone, and one that is
                # silent must.
                member.is_loading = True
                # In a thread: it writes a whole version, and the other servers draw meanwhile.
                joining = await asyncio.to_thread(self._joining, version)
                steps = [*joining, (version, joining[-1][0].proof.weights if joining else None)]
            for step, weights in steps:
                await load(member.connection, step)
                await prove(member.connection, settings, step, weights)
            # Once the version itself is proved. vLLM holds few adapters at a time, so the trial must not keep a place.
            for step, _ in steps[:-1]:
                await unload(member.connection, step)
        except NoAnswer as error:
            member.lose(str(error))
            return False
        finally:
            member.is_loading = False
        # Last: a label here says that requests may be sent.
        member.settings, member.loaded, member.reason = settings, version.label, ""
        return True

    # Samples -------------------------------------------------------------------------------------

    def draw(
        self, requests: Sequence[TokenRequest], version: WeightVersion, on_done: OnDone
    ) -> None:
        """Draw every request once, with a version that `load` has loaded.

        Raises:
            EndpointError: as `load`; or a sample could not be drawn.
            Stopped: sampling was given up after a signal.
        """
        with self._turn:
            asyncio.run(self._draw(requests, version, on_done))

    async def _draw(
        self, requests: Sequence[TokenRequest], version: WeightVersion, on_done: OnDone
    ) -> None:
        async with self._open():
            work = _Work(requests, on_done)
            # One task per server, which ends by itself only if the server cannot come back.
            tasks = [
                asyncio.create_task(self._serve(member, version, work)) for member in self.members
            ]
            try:
                await self._watch(work, tasks)
            finally:
                for task in tasks:
                    # A cancelled worker puts its sample back, which nobody takes: either all are there, or the call
                    # ends with an error.
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, work: "_Work", tasks: Sequence["asyncio.Task[None]"]) -> None:
        """Wait until all samples are there, somebody gives up, or nobody is left."""
        served, wait = time.monotonic(), _Wait(self._patience, "patience")
        while work.left:
            with suppress(TimeoutError):
                await asyncio.wait_for(work.finished.wait(), _POLL_SECONDS)
            give_up_sampling_if_overdue()
            self._end_if_closed()
            for task in tasks:
                if task.done():
                    # Raises what has ended a task, such as a refusal; without that the loop would wait for samples for ever.
                    task.result()
            # Looked at every _POLL_SECONDS seconds, so the time counts from the moment at which the last server was lost.
            if any(member.settings is not None or member.is_loading for member in self.members):
                served = time.monotonic()
            else:
                self._end_without_servers(time.monotonic() - served, wait)

    async def _serve(self, member: Member, version: WeightVersion, work: "_Work") -> None:
        """Let a server draw; bring it back whenever it is lost, until the task is cancelled or it cannot come back."""
        was_lost = False
        while not member.is_gone:
            if not await self._ready(member, version, None):
                await asyncio.sleep(_REJOIN_SECONDS)
                was_lost = True
                continue
            if was_lost:
                self._report(f"the server {member.url} draws again, with weights that were proved")
            # A new event for each time that the server serves: workers of the time before have ended, and cannot set it.
            lost = asyncio.Event()
            workers = [
                asyncio.create_task(self._work(member, version, work, lost))
                for _ in range(member.connection.concurrency)
            ]
            try:
                await _lost_or_failed(lost, workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
            self._report(
                f"the server {member.url} is lost ({member.reason}); its samples are drawn by others, the same"
            )
            was_lost = True

    async def _work(
        self, member: Member, version: WeightVersion, work: "_Work", lost: asyncio.Event
    ) -> None:
        """Draw one sample after another on a server."""
        while not lost.is_set():
            number = await work.queue.get()
            try:
                completion = await draw_sample(member.connection, version, work.requests[number])
            except NoAnswer as error:
                # Before the server is asked for its health, which takes a while: another server may draw the sample now.
                work.put_back(number, error)
                if await self._is_lost(member, work, error):
                    lost.set()
                else:
                    await asyncio.sleep(_POLL_SECONDS)
            except asyncio.CancelledError:
                work.queue.put_nowait(number)
                raise
            else:
                work.done(number, completion)

    async def _is_lost(self, member: Member, work: "_Work", error: NoAnswer) -> bool:
        """Return True, and take note, if a server has to join anew."""
        # Another worker has noticed.
        if not member.loaded:
            return True
        if isinstance(error, OtherWeights):
            work.count_other_weights(member, error)
        # A request may fail alone, for its length or by a timeout, on a server that serves all others.
        elif await member.connection.is_healthy():
            return False
        member.lose(str(error))
        return True

    # Ends ----------------------------------------------------------------------------------------

    def _end_without_servers(self, waited: float, wait: "_Wait") -> None:
        """Raise EndpointError if no server can come back, or the time to wait for one is over."""
        if all(member.is_gone for member in self.members):
            cause = "and none can come back"
        elif waited > wait.seconds:
            cause = f"after {wait.seconds:g} s of waiting (rollouts.{wait.key})"
        else:
            return
        reasons = "\n".join(f"  {member.url}: {member.reason}" for member in self.members)
        raise EndpointError(
            f"no server of rollouts is left, {cause}:\n{reasons}\n"
            "Start them again; the same command then resumes from the last state"
        )

    def _end_if_closed(self) -> None:
        if self._is_closed:
            raise EndpointError("the stage has ended, and nobody needs these samples")

    def _open(self) -> "_Open":
        return _Open([member.connection for member in self.members])


@dataclass(frozen=True, slots=True)
class _Wait:
    """How long a call goes on without any server."""

    seconds: float
    key: str
    """Of the `rollouts` table, which sets it."""


class _Open:
    """In the block, connections can be used in the event loop of the block."""

    def __init__(self, connections: Sequence[ServerConnection]) -> None:
        self._connections, self._stack = connections, AsyncExitStack()

    async def __aenter__(self) -> None:
        for connection in self._connections:
            await self._stack.enter_async_context(connection)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


class _Work:
    """The samples of one call: which wait, and how many are left."""

    def __init__(self, requests: Sequence[TokenRequest], on_done: OnDone) -> None:
        self.requests, self._on_done = requests, on_done
        self.left = len(requests)
        self.finished = asyncio.Event()
        # By number: samples of one prompt go out together, which prefix caches like, and those that came back go first.
        self.queue: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
        for number in range(len(requests)):
            self.queue.put_nowait(number)
        self._attempts = [0] * len(requests)
        self._other_weights: dict[str, int] = {}

    def done(self, number: int, completion: Completion) -> None:
        """Take a completion."""
        self.left -= 1
        self._on_done(number, completion)
        if not self.left:
            self.finished.set()

    def put_back(self, number: int, error: NoAnswer) -> None:
        """Let a sample be drawn again. Raises EndpointError after too many attempts."""
        self._attempts[number] += 1
        if self._attempts[number] >= _MAX_ATTEMPTS:
            raise EndpointError(
                f"a response could not be drawn in {_MAX_ATTEMPTS} attempts; the last one: {error}. Raise rollouts.timeout if responses "
                "take longer; the same command resumes from the last state"
            )
        self.queue.put_nowait(number)

    def count_other_weights(self, member: Member, error: OtherWeights) -> None:
        """Raise EndpointError if a server has other weights again and again: another run loads it too."""
        times = self._other_weights[member.url] = self._other_weights.get(member.url, 0) + 1
        if times >= _MAX_OTHER_WEIGHTS:
            raise EndpointError(
                f"the server {member.url} had other weights than it was given, {times} times: {error}; another run loads weights into "
                "it too. Give each run servers of its own"
            )


async def _lost_or_failed(lost: asyncio.Event, workers: Sequence["asyncio.Task[None]"]) -> None:
    """Wait until a server is lost or a worker has failed, and raise the failure."""
    waiting = asyncio.ensure_future(lost.wait())
    try:
        done, _ = await asyncio.wait([waiting, *workers], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task is not waiting and task.exception() is not None:
                task.result()
        if not lost.is_set():
            await waiting
    finally:
        waiting.cancel()

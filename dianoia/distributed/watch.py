"""Beats: every rank counts on in the store that the ranks share, and watches others do so.

A rank that hangs, because it was stopped or its machine does not answer, would let the others wait for as long as a wait may
take, since a long computation looks no different to them. Its beats come from a thread of their own, so that only a process
that no longer runs is silent. Rank 0 watches all ranks and the others watch rank 0, so that the traffic grows with the number
of ranks and not with its square.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]

BEAT_SECONDS = 1.0
"""Time between two beats."""
SILENT_SECONDS = 15.0
"""Silence after which a rank counts as hanging. A busy machine delays a beat by seconds."""
_STORE_SECONDS = 5.0
"""Longest wait for an answer of the store."""
_FAILURE_SECONDS = 1.0
"""Time that a rank whose exchange broke off waits for another one to say why it has failed."""
_FAILED = "failed"


class Failure(NamedTuple):
    """What a rank reported before it ended."""

    rank: int
    point: str
    """What it did: `score in step 12`."""
    text: str


class Watch:
    """The beats of this rank, and its view of the others."""

    def __init__(
        self,
        connect: Callable[[timedelta], Store],
        rank: int,
        size: int,
        on_silence: Callable[[str], object],
    ) -> None:
        """Begin to beat. `connect` opens a connection to the store; `on_silence` gets a message, in a thread, at most once."""
        # A connection of its own: a store answers one request of a connection after the other.
        self._store = connect(timedelta(seconds=_STORE_SECONDS))
        self._rank, self._size, self._on_silence = rank, size, on_silence
        self.point = "start"
        """What this rank does, for the messages of others."""
        self._others = [r for r in range(size) if r != rank] if rank == 0 else [0]
        self._last: dict[int, bytes] = {}
        self._silence = dict.fromkeys(self._others, 0.0)
        self._points: dict[int, str] = {}
        self._closed = threading.Event()
        self._number = 0
        self._beat()
        self._threads = [
            threading.Thread(target=target, name="ranks", daemon=True)
            for target in (self._beat_and_watch, self._watch_store)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop beating: this rank is done."""
        self._closed.set()
        for thread in self._threads:
            thread.join(2 * BEAT_SECONDS)

    # Beats ---------------------------------------------------------------------------------------

    def _beat_and_watch(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            try:
                self._beat()
                self._count_silence(self._others)
            except dist.DistNetworkError:
                # The store has ended with rank 0, or the network is down. A rank whose exchange breaks off notices at once; one
                # that computes, or whose exchange knows nothing of it, is ended by `_watch_store`.
                return
            except dist.DistStoreError:  # no answer in time, which `_watch_store` counts
                continue
            silent = [rank for rank, seconds in self._silence.items() if seconds > SILENT_SECONDS]
            if silent:
                self._report_silence(silent[0])

    def _watch_store(self) -> None:
        """Notice that the store does not answer: some of its requests wait without a limit for a process that is stopped."""
        number, seconds = 0, 0.0
        while not self._closed.wait(BEAT_SECONDS):
            seconds = 0.0 if number != self._number else seconds + BEAT_SECONDS
            number = self._number
            if seconds > SILENT_SECONDS:
                self._report_silence(0)

    def _report_silence(self, rank: int) -> None:
        """Report a silent rank, once, unless this rank is done."""
        if not self._closed.is_set():
            self._closed.set()
            self._on_silence(self.silence_message(rank))

    def _beat(self) -> None:
        self._number += 1
        self._store.set(_key(self._rank), json.dumps([self._number, self.point]))

    def _count_silence(self, others: Sequence[int]) -> None:
        """Count for how many beats of this rank the others have not beaten."""
        beats = self._beats(others)
        for rank in others:
            # Its own beats are the clock: a machine that sleeps for a while stops it too.
            heard = beats.get(rank) not in (None, self._last.get(rank))
            self._silence[rank] = 0.0 if heard else self._silence[rank] + BEAT_SECONDS
        self._last |= beats

    def _beats(self, others: Sequence[int]) -> dict[int, bytes]:
        """Return the last beat of each of the ranks that has begun to beat."""
        begun = [rank for rank in others if self._store.check([_key(rank)])]
        if not begun:
            return {}
        beats = dict(zip(begun, self._store.multi_get([_key(r) for r in begun]), strict=True))
        for rank, beat in beats.items():
            self._points[rank] = json.loads(beat)[1]
        return beats

    # After a failure -----------------------------------------------------------------------------

    def silence_message(self, rank: int) -> str:
        """Return the message on a rank that has not been heard for too long."""
        resume = "The same command resumes from the last state"
        if rank == self._rank:
            return (
                f"rank {rank} of {self._size} has not reached the store of the ranks for {SILENT_SECONDS:.0f} seconds "
                f"({self.point}), so its network is down or its launcher has ended. {resume}"
            )
        # A beat may be a second old, and ranks keep step with one another.
        heard = self._points.get(rank, "nothing")
        return (
            f"rank {rank} of {self._size} has not answered for {SILENT_SECONDS:.0f} seconds (last heard of: {heard}; rank "
            f"{self._rank} itself: {self.point}), so it hangs or its machine cannot be reached. {resume}"
        )

    def report(self, text: str) -> None:
        """Tell the other ranks why this one ends."""
        failure = json.dumps([self._rank, self.point, text])
        self._store.compare_set(_FAILED, "", failure)

    def failure(self) -> Failure | None:
        """Return what a rank has reported, after waiting a moment for it; None if nothing was."""
        deadline = time.monotonic() + _FAILURE_SECONDS
        while time.monotonic() < deadline:
            if self._store.check([_FAILED]):
                return Failure(*json.loads(self._store.get(_FAILED)))
            time.sleep(0.05)
        return None

    def ended(self) -> Mapping[int, str]:
        """Return the ranks that do not beat any more, with what each did; waits for several beats."""
        others = [rank for rank in range(self._size) if rank != self._rank]
        before = self._beats(others)
        # Two beats at least; on a busy machine as many as it takes until all but one have come.
        for _ in range(6):
            time.sleep(BEAT_SECONDS)
            now = self._beats(others)
            silent = {r: self._points.get(r, "start") for r in others if now.get(r) == before.get(r)}  # fmt: skip
            if len(silent) <= 1:
                break
        return silent


def _key(rank: int) -> str:
    return f"beat/{rank}"
